"""Ensembles of a study's models: what ``pilotune ensemble`` has chosen, and the selection and the scores by themselves.

::

    from pilotune import ensemble

    found = ensemble.load("best-of-houses").predict(x)
    print(found.mean, found.aleatoric, found.epistemic, found.interval(0.9))

    loss = ensemble.Nll(mean, std, y)                 # the models' predictions for rows that none was trained with
    weights = ensemble.greedy(loss, members=8)
    print(ensemble.nll(mean_test, std_test, y_test, weights))

Arrays have the models as their first axis. Needs NumPy and SciPy; PyTorch where members do.
"""

from .pipeline.ensemble.combined import ClassPrediction, Prediction, moments, quantile
from .pipeline.ensemble.losses import Accuracy, Crps, LogLoss, Nll, Rmse
from .pipeline.ensemble.saved import Ensemble, load
from .pipeline.ensemble.scores import (
    accuracy,
    calibration,
    coverage,
    crps,
    log_loss,
    nll,
    nll_matched,
    reliability,
    rmse,
)
from .pipeline.ensemble.selection import greedy, top_k

__all__ = [
    "Accuracy",
    "ClassPrediction",
    "Crps",
    "Ensemble",
    "LogLoss",
    "Nll",
    "Prediction",
    "Rmse",
    "accuracy",
    "calibration",
    "coverage",
    "crps",
    "greedy",
    "load",
    "log_loss",
    "moments",
    "nll",
    "nll_matched",
    "quantile",
    "reliability",
    "rmse",
    "top_k",
]
