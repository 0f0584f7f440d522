"""What ``suggest_*`` takes: names, ranges and choices of every kind, refused where a study file refuses them."""

from __future__ import annotations

import enum
import json
import math
import re
import warnings

import numpy as np
import pytest
from optuna.distributions import json_to_distribution

from pilotune.pipeline.trial.offline import OfflineConnection, offline_trial


class Kind(str, enum.Enum):  # noqa: UP042 (its str() is not its value)
    A = "a"


class Silent:
    def __str__(self):
        raise RuntimeError("no")


def asked(suggest, **values):
    """A trial's value, and what the driver was asked for: names and distributions."""
    connection = OfflineConnection(values=values)
    questions = []
    answer = connection.suggest
    connection.suggest = lambda name, form: (questions.append((name, json_to_distribution(form))), answer(name, form))[
        1
    ]
    trial = offline_trial(connection=connection)
    return suggest(trial), questions, trial


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("lr", "lr"), (0, "0"), (None, "None"), ((1, 2), "(1, 2)"), (2.5, "2.5"), (True, "True"), (Kind.A, "a")),
        *((np.str_("lr"), "lr"), (np.int64(3), "3"), (b"lr", "b'lr'"), ("", "")),
    ],
)
def test_a_name_is_its_text(name, text):
    value, questions, trial = asked(lambda trial: trial.suggest_int(name, 3, 9))
    assert (value, [asked for asked, _ in questions]) == (3, [text])
    assert trial.suggest_int(name, 3, 9) == trial.suggest_int(text, 3, 9) == 3
    assert (trial.params, len(questions)) == ({text: 3}, 1)
    assert type(next(iter(trial.params))) is str


def test_a_name_without_a_text_is_a_type_error():
    for call in (
        lambda trial: trial.suggest_int(Silent(), 3, 9),
        lambda trial: trial.set_user_attr(Silent(), 1),
        lambda trial: trial.set_system_attr(Silent(), 1),
    ):
        with pytest.raises(TypeError, match="a name must be a text, and this Silent has none"):
            call(offline_trial())


@pytest.mark.parametrize("name", ["x" * 513, "a\0b", "\ud800"])
def test_an_attribute_that_no_database_keeps_is_said_to_be_left_out(name):
    trial = offline_trial()
    with pytest.warns(UserWarning, match="cannot be kept in a database and is left out"):
        trial.set_user_attr(name, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trial.set_user_attr("ü" * 512, 1)


REFUSED = [
    (lambda t: t.suggest_float("x", -1e308, 1e308), "the range from -1e+308 to 1e+308 is too large for 64-bit numbers"),
    (lambda t: t.suggest_float("x", 0, math.inf), "both ends must be finite numbers, but they are 0.0 and inf"),
    (lambda t: t.suggest_float("x", math.nan, 1), "both ends must be finite numbers, but they are nan and 1.0"),
    (lambda t: t.suggest_float("x", 0, 10**400), "`high` must be a finite number of 64 bits"),
    (lambda t: t.suggest_float("x", 1, 0), "low 1.0 is above high 0.0"),
    (lambda t: t.suggest_float("x", 0, 1, log=True), "low must be above 0 on a log scale, but is 0.0"),
    (lambda t: t.suggest_float("x", 1, 2, log=True, step=0.5), "a log scale cannot have a step"),
    (lambda t: t.suggest_float("x", 0, 1, step=0), "`step` must be above 0, but is 0.0"),
    (lambda t: t.suggest_float("x", 0, 1, step=math.inf), "`step` must be above 0 and finite, but is inf"),
    (lambda t: t.suggest_float("x", 0, 1, step=1e-9), "a step of 1e-09 is too small for the range from 0.0 to 1.0"),
    (lambda t: t.suggest_float("x", "a", 1), "`low` must be a number, got 'a'"),
    (lambda t: t.suggest_float("x", None, 1), "`low` must be a number, got None"),
    (lambda t: t.suggest_float("x", 0, Silent()), "`high` must be a number, got <"),
    (lambda t: t.suggest_int("x", 0, 2**53 + 2), "whole numbers are exact only up to 9007199254740992"),
    (lambda t: t.suggest_int("x", 0, 10**400), "whole numbers are exact only up to 9007199254740992"),
    (lambda t: t.suggest_int("x", 0, math.inf), "`high` must be a finite number of 64 bits"),
    (lambda t: t.suggest_int("x", math.nan, 1), "`low` must be a number, got nan"),
    (lambda t: t.suggest_int("x", 0, 4, log=True), "low must be above 0 on a log scale, but is 0"),
    (lambda t: t.suggest_int("x", 1, 4, step=2, log=True), "a log scale cannot have a step"),
    (lambda t: t.suggest_int("x", 0, 4, step=0), "`step` must be above 0, but is 0"),
    (lambda t: t.suggest_int("x", -(2**53), 2**53, step=2), "a range with a step is at most 9007199254740992 wide"),
    (lambda t: t.suggest_categorical("x", []), "there must be at least one choice"),
    (lambda t: t.suggest_categorical("x", [len]), "choices must be None, bool, int, float, str, or lists or dict"),
    (lambda t: t.suggest_categorical("x", [[len]]), "choices must be None, bool, int, float, str, or lists or dict"),
    (lambda t: t.suggest_categorical("x", [{1, 2}]), "choices must be None, bool, int, float, str, or lists or dict"),
    (lambda t: t.suggest_categorical("x", [{(1, 2): 3}]), "choices must be None, bool, int, float, str, or lists or"),
    (lambda t: t.suggest_categorical("x", [np.array([1, 2])]), "choices must be None, bool, int, float, str, or lists"),
    (lambda t: t.suggest_categorical("x", [[1], "[1]"]), "two choices are kept as the same text in a database, '[1]'"),
    (lambda t: t.suggest_categorical("x", [[1], (1,)]), "two choices are kept as the same text in a database, '[1]'"),
]


@pytest.mark.parametrize(("suggest", "words"), REFUSED)
def test_what_a_study_file_refuses_is_refused_with_the_parameter_s_name(suggest, words):
    with pytest.raises(ValueError, match=f"^parameter 'x': {re.escape(words)}") as caught:
        asked(suggest)
    assert type(caught.value) is ValueError


CHOICES = [
    [[2, 2, 2], [16, 8, 1]],
    [(1, 2), (3,)],
    [{"a": [1, {"b": None}]}, {}],
    [[2, 2], "[3]", None, 4],
    [[], "x"],
    [np.int64(3), np.float32(0.5), np.True_],
    np.array([1, 2, 3]),
    [[np.int64(1), np.float64(0.5)], [2]],
    [Kind.A, "b"],
    [True, 1, 1.0],
    [math.nan, math.inf],
    ["\ud800", "\0"],
    [[1.0], [1]],
]


@pytest.mark.parametrize("choices", CHOICES, ids=repr)
def test_a_choice_comes_back_as_the_very_object(choices):
    given = list(choices)
    kept = asked(lambda trial: trial.suggest_categorical("k", given))[1][0][1].choices
    assert len(kept) == len(given)
    assert all(choice is None or isinstance(choice, bool | int | float | str) for choice in kept)
    for stored, choice in zip(kept, given, strict=True):
        value, _, trial = asked(lambda trial: trial.suggest_categorical("k", given), k=json.loads(json.dumps(stored)))
        assert value is choice
        assert trial.params["k"] is choice
        assert trial.suggest_categorical("k", given) is choice


@pytest.mark.parametrize("choices", [[[2, 2], [16, 8]], ["a", None]])
def test_a_later_attempt_gets_the_object_from_what_was_stored(choices):
    trial = offline_trial(
        {"k": json.dumps(choices[0]) if isinstance(choices[0], list) else choices[0]}, defines_space=True
    )
    assert trial.suggest_categorical("k", choices) is choices[0]
    assert trial.params["k"] is choices[0]
