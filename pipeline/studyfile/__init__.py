"""The study file: what the user asked for, read, checked, and laid out as a plan."""

from ..registry_args import Named
from .load import load_study_file
from .plan import Plan, format_size, plan, render_plan
from .rank_counts import SizeProblem
from .schema import Budget, StartFrom, TrialOptions
from .sizes import TrialSizes
from .study_file import StudyFile
from .terminator import make_terminator, terminator_in_words
from .user_parts import Callback, check_user_parts, make_callbacks

__all__ = [
    "Budget",
    "Callback",
    "Named",
    "Plan",
    "SizeProblem",
    "StartFrom",
    "StudyFile",
    "TrialOptions",
    "TrialSizes",
    "check_user_parts",
    "format_size",
    "load_study_file",
    "make_callbacks",
    "make_terminator",
    "plan",
    "render_plan",
    "terminator_in_words",
]
