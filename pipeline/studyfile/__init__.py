"""The study file: what the user asked for, read, checked, and laid out as a plan."""

from ..registry_args import Named
from .load import StudyFile, load_study_file
from .plan import Plan, format_size, plan, render_plan
from .schema import Budget, StartFrom, TrialOptions

__all__ = [
    "Budget",
    "Named",
    "Plan",
    "StartFrom",
    "StudyFile",
    "TrialOptions",
    "format_size",
    "load_study_file",
    "plan",
    "render_plan",
]
