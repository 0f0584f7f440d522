"""Ensembles of a study's models: choosing members from stored predictions, and scoring what they predict together.

::

    from pilotune import ensemble

    loss = ensemble.Nll(mean, std, y)                 # the models' predictions for rows that none was trained with
    weights = ensemble.greedy(loss, members=8)
    print(ensemble.nll(mean_test, std_test, y_test, weights))

Arrays have the models as their first axis. Needs NumPy and SciPy; nothing of PyTorch.
"""

from .pipeline.ensemble.combined import ClassPrediction, Prediction, moments, quantile
from .pipeline.ensemble.losses import Accuracy, Crps, LogLoss, Nll, Rmse
from .pipeline.ensemble.scores import accuracy, calibration, coverage, crps, log_loss, nll, nll_matched, rmse
from .pipeline.ensemble.selection import greedy, top_k

__all__ = [
    "Accuracy",
    "ClassPrediction",
    "Crps",
    "LogLoss",
    "Nll",
    "Prediction",
    "Rmse",
    "accuracy",
    "calibration",
    "coverage",
    "crps",
    "greedy",
    "log_loss",
    "moments",
    "nll",
    "nll_matched",
    "quantile",
    "rmse",
    "top_k",
]
