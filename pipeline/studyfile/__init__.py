"""What the user asked for: the study file, read, checked, and planned."""

from ..named import Named
from .load import StudyFile, load_study_file
from .schema import NAME, Budget, StartFrom, TrialOptions

__all__ = ["NAME", "Budget", "Named", "StartFrom", "StudyFile", "TrialOptions", "load_study_file"]
