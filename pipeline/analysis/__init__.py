"""What came out of a study: tables, the best trial, exports, importance. Reads the database, never writes it."""

from .best import best_params, best_trials
from .export import FORMATS, export, format_of, strict
from .importance import EVALUATORS, importances
from .reading import StudyData, nearest, read_study, safe_url, study_names
from .summary import Summary, summarize
from .tables import PAUSED, STATES, Row, columns, dataframe, row_of, rows

__all__ = [
    "EVALUATORS",
    "FORMATS",
    "PAUSED",
    "STATES",
    "Row",
    "StudyData",
    "Summary",
    "best_params",
    "best_trials",
    "columns",
    "dataframe",
    "export",
    "format_of",
    "importances",
    "nearest",
    "read_study",
    "row_of",
    "rows",
    "safe_url",
    "strict",
    "study_names",
    "summarize",
]
