"""An objective written for Optuna alone. Run it with `python objective.py`, or on many workers with Pilotune."""

import numpy as np
import optuna
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.model_selection import train_test_split


def objective(trial: optuna.Trial) -> float:
    x, y = load_digits(return_X_y=True)
    x_train, x_valid, y_train, y_valid = train_test_split(x / 16, y, test_size=0.25, random_state=0)

    name = trial.suggest_categorical("classifier", ["SGD", "RandomForest"])
    if name == "RandomForest":
        depth = trial.suggest_int("max_depth", 2, 32, log=True)
        model = RandomForestClassifier(max_depth=depth, n_estimators=10, warm_start=True, random_state=0)
    else:
        alpha = trial.suggest_float("alpha", 1e-6, 1e-1, log=True)
        loss = trial.suggest_categorical("loss", ["hinge", "log_loss", "modified_huber"])
        model = SGDClassifier(alpha=alpha, loss=loss, random_state=0)

    for step in range(10):
        if name == "RandomForest":
            model.set_params(n_estimators=10 * (step + 1))
            model.fit(x_train, y_train)
        else:
            model.partial_fit(x_train, y_train, classes=np.arange(10))
        accuracy = model.score(x_valid, y_valid)
        trial.report(accuracy, step)
        if trial.should_prune():
            raise optuna.TrialPruned()

    trial.set_user_attr("training_images", len(y_train))
    return accuracy


if __name__ == "__main__":
    study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner())
    study.optimize(objective, n_trials=20)
    print(study.best_params, study.best_value)
