"""An expression without a value says so in plain words, without those of Python."""

from __future__ import annotations

import re

import pytest

from pilotune.pipeline.expressions import Expression, NoValue

VALUES = {"n": 1, "t": "a", "v": [1], "none": None}

SAID = {
    "n > 'a'": "`>` compares a number with text",
    "n < v": "`<` compares a number with a list",
    "n >= none": "`>=` compares a number with null",
    "min(n, t)": "`<` compares text with a number",
    "n + t": "`+` cannot take a number and text",
    "t + n": "`+` cannot take text and a number",
    "v + n": "`+` cannot take a list and a number",
    "n // t": "`//` cannot take a number and text",
    "n * t": "`*` takes numbers only",
    "-t": "`-` cannot take text",
    "abs(t)": "abs cannot take text",
    "round(t)": "round cannot take text",
    "log(t)": "a function of numbers cannot take text",
    "len(n)": "len cannot take a number",
    "n in 3": "`in` looks into a list or a text, and not into a number",
    "n in t": "`in` looks for text in a text, and not for a number",
    "min(n)": "min and max take several values or a list, and not a number",
    "min()": "a function has too few or too many values",
    "log(1, 2, 3)": "a function has too few or too many values",
    "max([])": "min and max of nothing have no value",
    "log(0)": "it takes a logarithm or a root that does not exist",
    "sqrt(-1)": "it takes a logarithm or a root that does not exist",
    "(-8) ** 0.5": "it takes a root of a negative number",
    "round(1.5, 999)": "round takes at most 400 digits",
    "1 / 0": "it divides by zero",
    "0 ** -1": "it divides by zero",
    "1e300 ** 2": "a number in it is too large",
    "exp(1e4)": "a number in it is too large",
    "round(1e400)": "a number in it is too large",
}

PYTHON = re.compile(r"instance|operand|object|argument|str\b|int\b|float|NoneType|\(\)|Errno|\(34")


@pytest.mark.parametrize("text", SAID)
def test_what_is_wrong_is_said_in_the_words_of_expressions(text: str) -> None:
    with pytest.raises(NoValue) as caught:
        Expression(text).value(VALUES)
    assert str(caught.value) == f"cannot be evaluated: {SAID[text]}"
    assert not PYTHON.search(str(caught.value))
