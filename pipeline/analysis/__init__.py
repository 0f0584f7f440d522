"""Results of a study: tables, the best trial, exports, importances. Reads the database, and never writes to it.

Example::

    from pilotune.pipeline.analysis import best_trials, dataframe, read_study

    data = read_study("sqlite:///study.db", "digits")
    best_trials(data)[0].params
    dataframe(data)
"""

from .best import best_params, best_trials, certainty
from .costs import StudyCost, cost_sentences, study_cost
from .evaluators import EVALUATORS
from .export import FORMATS, export, export_reports, format_of, strict, table_bytes
from .importance import Importances, importances, measure
from .reading import StudyData, nearest, read_study, safe_url, stored_study, study_names
from .schedule import Stage, schedule_of
from .summary import Summary, certainty_json, summarize
from .tables import Row, columns, dataframe, row_of, rows
from .trial_facts import INTERRUPTED, PAUSED, STATES

__all__ = [
    "EVALUATORS",
    "FORMATS",
    "INTERRUPTED",
    "PAUSED",
    "STATES",
    "Importances",
    "Row",
    "Stage",
    "StudyCost",
    "StudyData",
    "Summary",
    "best_params",
    "best_trials",
    "certainty",
    "certainty_json",
    "columns",
    "cost_sentences",
    "dataframe",
    "export",
    "export_reports",
    "format_of",
    "importances",
    "measure",
    "nearest",
    "read_study",
    "row_of",
    "rows",
    "safe_url",
    "schedule_of",
    "stored_study",
    "strict",
    "study_cost",
    "study_names",
    "summarize",
    "table_bytes",
]
