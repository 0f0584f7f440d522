"""What objectives return, report and set: every form of a number, and sentences for what is none."""

from __future__ import annotations

import collections
import decimal
import fractions
import math
import re
import types

import numpy as np
import pytest

from pilotune.pipeline.trial.values import as_float, as_step, jsonable
from pilotune.pipeline.worker.objective.result import COMMAND, ValueProblem, read_result


class Silent:
    def __repr__(self):
        raise RuntimeError("no")


class Huge:
    def __float__(self):
        raise OverflowError("no")


NUMBERS = [
    (1, 1.0),
    (np.float16(0.5), 0.5),
    (np.int8(3), 3.0),
    (np.array(0.5), 0.5),
    (decimal.Decimal("0.25"), 0.25),
    (fractions.Fraction(1, 4), 0.25),
    (2**53 + 1, 2.0**53),
    (-0.0, 0.0),
]
NO_NUMBERS = [None, "0.5", b"1", True, np.True_, 1j, np.complex128(1), np.array(1j), object(), {}, [1, 2], Silent()]
TOO_LARGE = [10**400, -(10**400), Huge(), 10**5000]


@pytest.mark.parametrize(("value", "number"), NUMBERS)
def test_numbers_of_every_kind_are_values_and_reports(value, number):
    assert read_result(value, 1).values == [number]
    assert as_float(value) == number


@pytest.mark.parametrize("value", [*NO_NUMBERS, *TOO_LARGE], ids=lambda value: type(value).__name__)
def test_what_is_no_number_is_refused_in_a_sentence(value):
    with pytest.raises(ValueProblem):
        read_result(value, 1)
    with pytest.raises(TypeError, match=r"report\(\) needs a number as value, got .+"):
        as_float(value)


@pytest.mark.parametrize("value", TOO_LARGE, ids=lambda value: type(value).__name__)
def test_a_number_beyond_a_float_is_too_large(value):
    with pytest.raises(ValueProblem, match="the objective's value is too large: "):
        read_result(value, 1)


@pytest.mark.parametrize(
    "value", [math.inf, -math.inf, math.nan, np.float32("inf"), decimal.Decimal("NaN"), 1e308 * 10]
)
def test_values_are_finite_and_reports_may_be_anything(value):
    with pytest.raises(ValueProblem, match="not a finite number"):
        read_result(value, 1)
    assert not math.isfinite(as_float(value))


@pytest.mark.parametrize(
    "step", [3, 3.0, np.int64(3), np.float32(3), np.array(3), decimal.Decimal(3), fractions.Fraction(3)]
)
def test_steps_are_whole_numbers_of_any_kind(step):
    assert as_step(step) == 3


@pytest.mark.parametrize(
    "step", [None, "3", True, np.True_, 3j, np.complex64(3), 0.5, -1, 2**31, 10**400, math.nan, math.inf, [], Silent()]
)
def test_other_steps_are_refused_in_a_sentence(step):
    with pytest.raises((TypeError, ValueError), match=r"report\(\) needs a whole number .*as step, got .+"):
        as_step(step)


# -- several directions -----------------------------------------------------------------------------------------------

SEQUENCES = [
    (1, 2),
    [1, 2],
    np.array([1, 2]),
    range(1, 3),
    collections.deque([1, 2]),
    [np.float32(1), decimal.Decimal(2)],
]
UNORDERED = [{1, 2}, frozenset({1.0, 2.0}), {1: 0, 2: 0}.keys(), {0: 1, 1: 2}.values(), {1: 2}.items()]
ONE_SHOT = [iter([1, 2]), (value for value in (1, 2)), map(float, (1, 2)), zip((1, 2), (3, 4), strict=True)]


@pytest.mark.parametrize("returned", SEQUENCES, ids=lambda value: type(value).__name__)
def test_ordered_sequences_are_several_values(returned):
    assert read_result(returned, 2).values == [1.0, 2.0]
    assert read_result({"values": returned}, 2).values == [1.0, 2.0]


@pytest.mark.parametrize("returned", [*UNORDERED, *ONE_SHOT], ids=lambda value: type(value).__name__)
@pytest.mark.parametrize("within", [False, True])
def test_what_has_no_order_or_can_be_read_once_is_refused(returned, within):
    with pytest.raises(ValueProblem, match=r"; give a list with 2 values, in the order of the directions") as caught:
        read_result({"values": returned} if within else returned, 2)
    assert str(caught.value).startswith("'values' in the returned dict is" if within else "the objective returned")
    assert ("a set has no order" in str(caught.value)) == isinstance(returned, collections.abc.Set)


@pytest.mark.parametrize("returned", [{0.5}, (x for x in [0.5]), {0.5: 1}.keys(), bytearray(b"1"), memoryview(b"1")])
def test_a_set_of_one_value_is_no_value(returned):
    with pytest.raises(ValueProblem, match="not a number"):
        read_result(returned, 1)


# -- dictionaries -----------------------------------------------------------------------------------------------------

DICTS = [
    ({}, (), "the objective returned an empty dict; it needs 'value', 'values' or the metrics by name"),
    ({}, ("acc",), "the objective returned an empty dict; it needs 'value', 'values' or the metrics 'acc'"),
    ({"acc": 1}, (), "the objective returned a dict with 'acc'; it needs 'value', 'values' or the metrics by name"),
    (
        {"loss": 1},
        ("acc",),
        "the objective returned a dict with 'loss'; it needs 'value', 'values' or the metrics 'acc'",
    ),
    ({"value": None}, (), "'value' in the returned dict is None"),
    ({"values": None}, (), "'values' in the returned dict is None"),
    ({"values": []}, (), "the objective returned 0 values where the study has one direction"),
    ({"value": math.nan}, (), "the objective's value is nan, not a finite number"),
    ({"value": "0.5"}, (), "the objective's value is '0.5' (str), not a number"),
    ({"acc": None}, ("acc",), "the value of 'acc' is None, not a number"),
    (types.MappingProxyType({"value": None}), (), "'value' in the returned dict is None"),
]


@pytest.mark.parametrize(("returned", "metrics", "words"), DICTS)
def test_a_dict_without_a_value_is_a_sentence(returned, metrics, words):
    with pytest.raises(ValueProblem, match=f"^{re.escape(words)}$"):
        read_result(returned, 1, metrics)


@pytest.mark.parametrize(
    ("returned", "metrics", "values", "attributes"),
    [
        ({"loss": 0.1, "value": 100.0}, ["loss"], [0.1], {"value": 100.0}),
        ({"loss": 0.1, "values": [1, 2]}, ["loss"], [0.1], {"values": [1, 2]}),
        ({"a": 1.0, "value": 2.0, "b": 3}, ["value", "a"], [2.0, 1.0], {"b": 3}),
        ({"value": 1, "values": [2]}, ["values"], [2.0], {"value": 1}),
        ({"value": 2.0}, ["loss"], [2.0], {}),
        ({"a": 1, "values": [2, 3]}, ["a", "b"], [2.0, 3.0], {"a": 1}),
    ],
)
def test_metrics_by_name_win_over_value_and_values(returned, metrics, values, attributes):
    result = read_result(returned, len(metrics), metrics)
    assert (result.values, result.user_attrs) == (values, attributes)


def test_value_and_values_together_are_refused():
    for metrics in ([], ["loss"]):
        with pytest.raises(ValueProblem, match="a dict with both 'value' and 'values'; give one of them"):
            read_result({"value": 1.0, "values": [2.0]}, 1, metrics)


def test_a_command_s_words_are_its_own():
    for returned, words in [
        ({"value": None}, "'value' in the last report is null"),
        ({}, "the command reported an empty dict; it needs 'value', 'values' or the metrics by name"),
        ({"value": math.nan}, "the command's value is nan, not a finite number"),
        ({"values": [1, 2]}, "the command reported 2 values where the study has one direction"),
    ]:
        with pytest.raises(ValueProblem, match=f"^{re.escape(words)}$"):
            read_result(returned, 1, (), COMMAND)


# -- user attributes --------------------------------------------------------------------------------------------------

ATTRIBUTES = [
    ([np.float32(0.5), np.int64(3), np.True_], [0.5, 3, True]),
    ({"shape": (1, 2), "model": object}, {"shape": [1, 2], "model": "<class 'object'>"}),
    ({1: 2, None: 3}, {"1": 2, "null": 3}),
    ({(1, 2): 3}, "{(1, 2): 3}"),
    ({1, 2}, "{1, 2}"),
    (np.array([1, 2]), [1, 2]),
    (1 + 2j, "(1+2j)"),
    (Silent(), "a Silent that cannot be shown"),
    ([Silent()], ["a Silent that cannot be shown"]),
    (10**5000, "an int that cannot be shown"),
    (b"\xff", "b'\\xff'"),
    ("\ud800\0\n", "\ud800\0\n"),
]


@pytest.mark.parametrize(("value", "kept"), ATTRIBUTES, ids=lambda value: type(value).__name__)
def test_attributes_are_kept_in_json_s_terms_as_far_as_they_have_any(value, kept):
    assert jsonable(value) == kept
