"""Messages say ``1 trial`` and ``an int``: no text puts a number before a plural, or ``a`` before a name, by itself."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import pilotune
from pilotune.grammar import a, count

PACKAGE = Path(pilotune.__file__).parent
ROOMS = ("pipeline", "providers", "objectives")

NOUNS = (
    "trials workers blocks nodes cores GPUs jobs times values directions configurations points hosts files campaigns "
    "steps attempts executors ranks epochs studies errors lines items parameters objectives failures choices rows "
    "parts devices hours minutes brackets runs"
)
PLURAL = re.compile(rf" ({NOUNS.replace(' ', '|')})\b")

MORE_THAN_ONE = {
    "the grid has {…} points": "more than the largest grid",
    "{…} points; ": "more than the largest grid",
    "{…} trials on the Pareto front": "one is shown otherwise",
    "{…} trials of ": "several are on the Pareto front",
    "{…} trials have the number ": "a number is given twice",
    "{…} trials of this number": "the same",
    "{…} trials have begun, but the largest budget": "more than a budget",
    "{…} trials have begun, {…}": "more than a budget",
    "{…} files have an outcome of this attempt": "more than one",
    "{…} values": "of the number of directions",
    "{…} directions": "one is said otherwise",
    "{…} directions cannot prune": "of studies with several",
    "{…} directions cannot have a target": "of studies with several",
    "{…} nodes, but the command runs on the first": "of trials with several",
    "{…} executors before it failed": "a constant, 3",
    "{…} blocks": "of a range, or one is said otherwise",
    "{…} nodes": "one is left out",
    "{…} ranks": "of trials with several",
    "{…} times": "a constant",
    "{…} driver jobs": "a constant",
    "{…} attempts, but {…} that wait or run": "of an invariant, not for users",
    "{…} attempts of {…} trials": "the same",
    "the campaign is ending, and {…} trials": "the same",
    "the campaign has finished with {…} attempts": "the same",
    "{…} trials/": "a rate",
    "{…} runs; its workers": "a verb",
    "{…} workers are": "one is said otherwise",
    "{…} trials of {…} at a time": "several",
    "{…} trials are on the Pareto front": "several",
    "first {…} trials": "one is said otherwise",
    "{…} GPUs; write": "the number is that of the pools",
    "{…} trials without improvement were counted": "of an invariant, not for users",
    "{…} configurations that were drawn": "a constant",
    "{…} trials, but the budget is": "ten or more",
    "{…} runs ": "a verb",
    "{…} of the {…} points": "of several",
    "the {…} points": "one is said otherwise",
    "{…} parts": "of a GPU that is said to have several",
}
"""Beginnings of texts in which the number is never 1, and why."""


def texts() -> Iterator[tuple[str, str]]:
    """Each f-string of the package, with ``{…}`` for what is filled in, and where it is."""
    paths = [*PACKAGE.glob("*.py"), *(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))]
    for path in sorted(paths):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{…}" for part in node.values]
                yield "".join(map(str, parts)), f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_no_text_puts_a_number_before_a_plural() -> None:
    found = []
    for text, place in texts():
        for match in re.finditer(r"\{…\}" + PLURAL.pattern, text):
            rest = text[match.start() :]
            if not any(rest.startswith(known) or text.startswith(known) for known in MORE_THAN_ONE):
                found.append(f"{place}: {rest[:70]}")
    assert not found, "use grammar.count, or add why it is never 1:\n" + "\n".join(found)


def test_no_text_writes_an_s_in_brackets() -> None:
    assert not [f"{place}: {text}" for text, place in texts() if re.search(r"\w\(s\)", text)]


def test_no_text_puts_a_before_the_name_of_a_type() -> None:
    kinds = re.compile(r"\b[Aa]n? \{type\(")
    paths = [*PACKAGE.glob("*.py"), *(path for room in ROOMS for path in (PACKAGE / room).rglob("*.py"))]
    assert not [str(path) for path in paths if kinds.search(path.read_text())]


@pytest.mark.parametrize(
    ("amount", "words"), [(0, "0 trials"), (1, "1 trial"), (2, "2 trials"), (12345, "12,345 trials")]
)
def test_a_count_has_its_noun_in_singular_or_plural(amount: int, words: str) -> None:
    assert count(amount, "trial") == words


@pytest.mark.parametrize(
    ("noun", "words"),
    [
        ("int", "an int"),
        ("ndarray", "an ndarray"),
        ("object", "an object"),
        ("UserDict", "a UserDict"),
        ("OSError", "an OSError"),
        ("str", "a str"),
        ("UUID", "a UUID"),
        ("error", "an error"),
        ("8-core node", "an 8-core node"),
    ],
)
def test_the_article_fits_the_noun(noun: str, words: str) -> None:
    assert a(noun) == words
