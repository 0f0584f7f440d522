"""Measures a support vector machine on scikit-learn's handwritten digits, by cross-validation.

A plain function that does not import Pilotune. Inactive parameters (`degree` of a linear kernel) are left out of the
call, so they need a default.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC


def train(C: float, kernel: str, gamma: float = 1e-3, degree: int = 3, folds: int = 3) -> dict[str, float]:
    """Return the mean accuracy over ``folds`` folds, and its standard deviation, which becomes a user attribute."""
    images, digits = load_digits(return_X_y=True)
    classifier = SVC(C=C, kernel=kernel, gamma=gamma, degree=degree, max_iter=20_000)
    splits = StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_score(classifier, images, digits, cv=splits)
    return {"value": float(scores.mean()), "spread": float(scores.std())}
