"""Says in plain words why an expression has no value. Python's own words are about its types and its source."""

from __future__ import annotations

import re

KINDS = {
    "int": "a number",
    "float": "a number",
    "str": "text",
    "list": "a list",
    "dict": "a mapping",
    "bool": "true or false",
    "NoneType": "null",
}
"""Python's name of a type -> what an expression calls its values."""

PATTERNS = (
    (r"'(\S+)' not supported between instances of '(\w+)' and '(\w+)'", "`{}` compares {} with {}"),
    (r"unsupported operand type\(s\) for (\S+): '(\w+)' and '(\w+)'", "`{}` cannot take {} and {}"),
    (r"can only (concatenate) (\w+) \(not \"(\w+)\"\) to", "`+` cannot take {1} and {2}"),
    (r"bad operand type for unary (\S+): '(\w+)'", "`{}` cannot take {}"),
    (r"bad operand type for (\w+)\(\): '(\w+)'", "{} cannot take {}"),
    (r"type (\w+) doesn't define __round__", "round cannot take {}"),
    (r"must be real number, not (\w+)", "a function of numbers cannot take {}"),
    (r"object of type '(\w+)' has no len", "len cannot take {}"),
    (r"argument of type '(\w+)' is not", "`in` looks into a list or a text, and not into {}"),
    (r"requires string as left operand, not (\w+)", "`in` looks for text in a text, and not for {}"),
    (r"'(\w+)' object is not iterable", "min and max take several values or a list, and not {}"),
    (r"argument", "a function has too few or too many values"),
)
"""Python's message on values of the wrong kind -> the same in an expression's words, with the kinds filled in."""


class NoResult(ValueError):
    """An operation has no result for these values. The message is for users."""


class WrongKind(TypeError):
    """An operation does not take values of this kind. The message is for users."""


def in_words(error: BaseException) -> str:
    """Why an expression cannot be evaluated.

    Args:
        error: What its evaluation has raised.

    Example:
        >>> def said(text):
        ...     try:
        ...         eval(text)
        ...     except Exception as error:
        ...         return in_words(error)
        >>> said("3 > 'a'"), said("1 / 0")
        ('`>` compares a number with text', 'it divides by zero')
        >>> said("1e300 ** 2"), said("-'a'")
        ('a number in it is too large', '`-` cannot take text')
    """
    if isinstance(error, NoResult | WrongKind):
        return str(error)
    if isinstance(error, ZeroDivisionError):
        return "it divides by zero"
    if isinstance(error, OverflowError):
        return "a number in it is too large"
    if isinstance(error, TypeError):
        return _of_kinds(str(error))
    if isinstance(error, ValueError):
        empty = "empty" in str(error)
        return "min and max of nothing have no value" if empty else "it takes a logarithm or a root that does not exist"
    return "it has no value"


def _of_kinds(message: str) -> str:
    for pattern, sentence in PATTERNS:
        if found := re.search(pattern, message):
            return sentence.format(*(KINDS.get(each, each) for each in found.groups()))
    return "it uses a value of the wrong kind"
