"""Cross-validated accuracy of a support vector machine on scikit-learn's handwritten digits.

A plain function: nothing of Pilotune is imported. Parameters that a configuration does not have (`degree` of a linear
kernel) are left out of the call, so they have a default.
"""

from sklearn.datasets import load_digits
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.svm import SVC


def train(C: float, kernel: str, gamma: float = 1e-3, degree: int = 3, folds: int = 3) -> dict[str, float]:
    """The mean accuracy over ``folds`` folds; its spread is kept with the trial as a user attribute."""
    images, digits = load_digits(return_X_y=True)
    classifier = SVC(C=C, kernel=kernel, gamma=gamma, degree=degree, max_iter=20_000)
    splits = StratifiedKFold(folds, shuffle=True, random_state=0)
    scores = cross_val_score(classifier, images, digits, cv=splits)
    return {"value": float(scores.mean()), "spread": float(scores.std())}
