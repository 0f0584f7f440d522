"""Anything that an objective returns, a command writes or a constraint says becomes a value, or a readable error."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotune.pipeline.expressions import Constraint
from pilotune.pipeline.trial.protocol import STEP_LIMIT, Outcome
from pilotune.pipeline.trial.values import jsonable
from pilotune.pipeline.worker.command.reports import Reader, ReportFile, StdoutPattern
from pilotune.pipeline.worker.objective.result import ValueProblem, read_result

from ...support.fuzzing import HUGE, clear, deep, fuzzed, mutated, numbers, plain, readable, rubbish, scribbled, texts

# -- what an objective returns ----------------------------------------------------------------------------------------


class Liar:
    """Claims to be a number, a sequence and text, and is none of them."""

    def __init__(self, *lies: str):
        for name in lies:
            if name in ("item", "tolist"):
                setattr(self, name, self._fail)
        self.lies = lies

    def _fail(self, *_: Any) -> Any:
        raise RuntimeError("not me")

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return type(self)
        return object.__getattribute__(self, name)

    def __float__(self) -> float:
        return self._fail() if "float" in self.lies else math.nan

    def __len__(self) -> int:
        return self._fail() if "len" in self.lies else 10**9

    def __iter__(self) -> Any:
        return self._fail() if "iter" in self.lies else iter(())

    def __repr__(self) -> str:
        return self._fail() if "repr" in self.lies else "\ud800\0" * 10_000


def looped() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


ODD = st.one_of(
    st.builds(
        lambda lies: Liar(*lies), st.lists(st.sampled_from(("float", "len", "iter", "repr", "item")), max_size=4)
    ),
    st.sampled_from(
        (
            b"1",
            bytearray(b"1"),
            1j,
            {1, 2},
            range(3),
            object(),
            type,
            print,
            deep(900),
            deep(5000),
            10**5000,
            numpy.float32(0.5),
            numpy.float64("nan"),
            numpy.array(1.0),
            numpy.array([1.0, 2.0]),
            numpy.bool_(True),
            numpy.array([[1.0]]),
            numpy.array(["a"]),
            numpy.array([]),
            numpy.datetime64("NaT"),
            numpy.int64(3),
        )
    ).map(lambda value: value),
    st.just(None).map(lambda _: looped()),
)
RETURNED = st.one_of(
    plain(),
    ODD,
    st.lists(st.one_of(plain(), ODD), max_size=3),
    st.tuples(numbers(), numbers()),
    st.dictionaries(
        st.one_of(st.sampled_from(("value", "values", "accuracy", "seconds")), plain().filter(lambda k: k == k)),
        st.one_of(plain(), ODD, st.lists(numbers(), max_size=3)),
        max_size=4,
    ),
)


@given(RETURNED, st.integers(1, 2))
@fuzzed(150)
def test_whatever_an_objective_returns(returned, n_values) -> None:
    metrics = ["accuracy", "seconds"][:n_values]
    try:
        result = read_result(returned, n_values, metrics)
    except ValueProblem as problem:
        clear(problem)
        return
    assert len(result.values) == n_values
    assert all(type(value) is float and math.isfinite(value) for value in result.values)
    outcome = Outcome("0.1.c", 0, 1, "complete", result.values, user_attrs=result.user_attrs)
    assert Outcome.from_dict(json.loads(json.dumps(outcome.to_dict()))).values == result.values


@given(st.one_of(RETURNED, rubbish()))
@fuzzed(80)
def test_any_attribute_has_a_json_that_fits_into_others(value) -> None:
    kept = jsonable(value)
    wrapped = json.dumps({"outcome": {"user_attrs": {"key": kept}}})
    assert len(wrapped) < 30_000_000
    assert json.loads(wrapped)["outcome"]["user_attrs"]["key"] == kept or "NaN" in wrapped


# -- what a command writes --------------------------------------------------------------------------------------------


def told(reader: Reader, path: Path, pieces: list[bytes]) -> None:
    """Read a file that grows by these pieces: it gives reports that can be sent, and one problem at most."""
    path.write_bytes(b"")
    reports = []
    for piece in pieces:
        with path.open("ab") as file:
            file.write(piece)
        reports += reader.read()
    reports += reader.read(last=True)
    for report in reports:
        assert 0 <= report.step < STEP_LIMIT
        assert type(report.step) is int
        assert type(report.value) is float
    assert not reader.problem or readable(reader.problem), reader.problem
    if reader.final is not None:
        try:
            read_result(reader.final, 1)
        except ValueProblem as problem:
            clear(problem)


def in_pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[start:end] for start, end in itertools.pairwise(places)]


LINES = st.one_of(
    st.builds(lambda step, value: json.dumps({"step": step, "value": value}), st.one_of(numbers(), plain()), numbers()),
    mutated({"step": 1, "value": 0.5}).map(json.dumps),
    mutated({"value": 0.5, "note": ["x"]}).map(json.dumps),
    rubbish().map(json.dumps),
    st.sampled_from(
        ("[" * 50_000, '{"a":' * 50_000, "{}", '{"step": 1e400, "value": 1}', '{"value": 1' + "0" * 5000 + "}")
    ),
    texts(),
)


@given(st.lists(LINES, max_size=4), st.lists(st.integers(0, 10**6), max_size=3), st.booleans())
@fuzzed(80)
def test_any_report_file(tmp_path_factory, lines, cuts, ends) -> None:
    path = tmp_path_factory.getbasetemp() / "reports.jsonl"
    data = "\n".join(lines).encode("utf-8", "surrogatepass") + b"\n" * ends
    told(ReportFile(path), path, in_pieces(data, cuts))


PATTERNS = st.sampled_from(
    (
        r"acc=(?P<value>\S+)",
        r"(?P<step>\S+) (?P<value>\S*)",
        r"(?P<value>)",
        r"(?P<value>-?[\d.e]+)?",
        r"step (?P<step>\d+)?.*?v=(?P<value>.*)",
    )
)
SHOWN = st.one_of(
    st.builds("acc={}".format, plain().map(str)),
    st.builds("{} {}".format, st.sampled_from((1, 1e10, "1e400", "nan", "-1", "٣")), numbers().map(str)),
    st.builds("step {} v={}".format, st.integers(-1, 2**33), st.sampled_from(("1", "nan", "1_0", "", "٣", "inf"))),
    texts(),
)


@given(PATTERNS, st.lists(SHOWN, max_size=5), st.lists(st.integers(0, 10**6), max_size=3))
@fuzzed(80)
def test_any_standard_output(tmp_path_factory, pattern, lines, cuts) -> None:
    path = tmp_path_factory.getbasetemp() / "stdout.txt"
    told(StdoutPattern(path, pattern), path, in_pieces("\n".join(lines).encode("utf-8", "surrogatepass"), cuts))


# -- constraints ------------------------------------------------------------------------------------------------------

NAMES = {
    "x": 0.5,
    "n": 3,
    "s": "sgd",
    "none": None,
    "flag": True,
    "many": [1, 2],
    "big": 2**62,
    "_pow": 1,
    "__builtins__": 1,
    "len": 5,
}
ATOMS = st.one_of(
    st.sampled_from(
        (*NAMES, "true", "1e308", "0", "-1", "2", "64", "1000000000", "'text'", "''", "None", "[1, 'a']", "()")
    ),
    st.sampled_from(HUGE).map(lambda number: str(number) if abs(number) < 10**400 else "10 ** 400"),
)


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(
        ("+", "-", "*", "/", "//", "%", "**", "<", "==", "in", "not in", "is", "and", "or", "@", "<<")
    )
    calls = st.sampled_from(("min", "max", "abs", "round", "len", "log", "log2", "log10", "exp", "sqrt", "str", "eval"))
    return st.one_of(
        st.builds("({} {} {})".format, inner, operators, inner),
        st.builds("{}({})".format, calls, inner),
        st.builds("{}({}, {})".format, calls, inner, inner),
        st.builds("(not {})".format, inner),
        st.builds("(-{})".format, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("{}.{}".format, inner, st.sampled_from(("real", "__class__", "format"))),
        st.builds("{}[{}]".format, inner, inner),
        st.builds("(lambda: {})".format, inner),
        st.builds("[{} for x in {}]".format, inner, inner),
    )


EXPRESSIONS = st.one_of(
    st.recursive(ATOMS, combined, max_leaves=12),
    st.builds("{} <= {}".format, st.recursive(ATOMS, combined, max_leaves=8), ATOMS),
    st.sampled_from(("x * n <= 12 and s in ('sgd', 'adamw')", "x < 1 or len(s) > 2")).flatmap(scribbled),
    texts(),
)


def held(text: str) -> bool | None:
    """The result of a constraint; None if it is refused with a readable error."""
    try:
        constraint = Constraint(text)
    except ValueError as error:
        clear(error)
        return None
    assert set(constraint.names).isdisjoint({"eval", "str"}) or "eval" in text or "str" in text
    try:
        return constraint.holds(NAMES)
    except TypeError as error:
        clear(error)
        return None


@given(EXPRESSIONS)
@fuzzed(150)
def test_any_constraint_is_true_or_false_or_refused(text) -> None:
    assert held(text) in (True, False, None)


@pytest.mark.parametrize(
    "text",
    [
        "round(n, -10000000000) == 0",
        "round(n, -(10 ** 60)) < 1",
        "10 ** 10 ** 10 > 1",
        "((n ** 64) ** 64) ** 64 > 1",
        " * ".join(["(10 ** 64)"] * 2000) + " > 0",
        "n" + " + n" * 20_000 + " > 0",
        "(" * 500 + "n" + ")" * 500 + " > 0",
        "not " * 5000 + "flag",
        "-" * 5000 + "n > 0",
        "[" * 90 + "]" * 90 + " == n",
        "n > 0 and " * 5000 + "flag",
        "'%999999999d' % n == 's'",
        "'a' * 10000000000 == s",
        "[1] * 10000000000 == many",
        "many + many * 1000000000 == many",
        "max(many, key=eval) > 0",
        "len((n,) * 10000000000) > 0",
    ],
)
def test_a_constraint_that_would_take_for_ever_does_not(text) -> None:
    from ...support.fuzzing import watchdog

    with watchdog():
        assert held(text) in (True, False, None)


def test_reserved_names_cannot_be_used() -> None:
    assert re.search("names", repr(Constraint("len > 2").names)) is None
