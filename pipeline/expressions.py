"""Constraints and sizes as text: a small, safe expression language over parameters and constants.

An expression is parsed by Python, and everything but a short list of syntax nodes is refused; so a study file cannot
run code. Operations whose result could fill the memory go through functions that bound it.
"""

from __future__ import annotations

import ast
import functools
import keyword
import math
import re
from collections.abc import Callable, Collection, Mapping
from types import CodeType
from typing import Any

from ..fields import shown
from .expression_errors import NoResult, WrongKind, in_words

LONGEST, LARGEST, DEEPEST = 20_000, 2_000, 100
"""Most characters, nodes and levels of nesting of an expression: Python's own compiler recurses into each level."""

DIGITS = 400
"""Most digits to round to: a float has no more, and rounding an integer to many would fill the memory."""


def _rounded(number: float, digits: int = 0) -> float:
    if abs(digits) > DIGITS:
        raise NoResult(f"round takes at most {DIGITS} digits")
    return round(number, digits) if digits else round(number)


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min, "max": max, "abs": abs, "round": _rounded, "len": len, "log": math.log, "log2": math.log2,
    "log10": math.log10, "exp": math.exp, "sqrt": math.sqrt,
}  # fmt: skip

WORDS = frozenset({"true", "false", "True", "False", "None", "__builtins__", *FUNCTIONS})
"""Names that mean something in every expression, so that no parameter can be used there by one of them."""

_NODES = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE,
    ast.In, ast.NotIn, ast.Is, ast.IsNot, ast.Name, ast.Load, ast.Constant, ast.Tuple, ast.List, ast.Call, ast.IfExp,
)  # fmt: skip


class NoValue(ValueError):
    """An expression has no value for these parameters. The message is the end of a sentence that begins with it."""


class _Text:
    """An expression as text. Equal texts make equal expressions. Can be pickled."""

    _condition = False

    def __init__(self, text: str):
        self.text = text
        self.names, self.texts, self._code = _compile(text, self._condition)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.text!r})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text,)


class Expression(_Text):
    """A number that follows from parameters and constants, such as ``4 * ranks``.

    Args:
        text: The expression, in the language of :class:`Constraint`.

    Attributes:
        names: The parameters and constants that it names, sorted.
        texts: The texts in it.

    Raises:
        ValueError: It is not such an expression. The message completes a sentence that begins with the text.

    Example:
        >>> Expression("4 * ranks if wide else 1").value({"ranks": 2, "wide": True})
        8
        >>> Expression("4 * ranks if wide else 1").value({"wide": False})  # ranks is not needed then
        1
    """

    def value(self, values: Mapping[str, Any]) -> float:
        """Its value.

        Args:
            values: Of parameters and constants. It may lack those that the expression does not come to.

        Raises:
            NoValue: It needs an inactive parameter, divides by zero, or is no finite number.
        """
        try:
            found = eval(self._code, {**values, **_LANGUAGE})
        except NameError as error:
            raise NoValue(f"needs '{error.name}', which is inactive") from None
        except (ArithmeticError, ValueError, TypeError) as error:
            raise NoValue(f"cannot be evaluated: {in_words(error)}") from None
        if isinstance(found, bool) or not isinstance(found, int | float):
            raise NoValue(f"is {shown(found)}, which is no number")
        if not math.isfinite(found):
            raise NoValue(f"is {found}, which is no finite number")
        return found


class Choice(_Text):
    """A name, or a list of names, that follows from parameters and constants, such as ``gpu if layers > 3 else cpu``.

    Args:
        text: The expression, in the language of :class:`Constraint`.
        known: The parameters and constants. Every other name in the text stands for itself.

    Attributes:
        names: The parameters and constants that it names, sorted.
        bare: The names that stand for themselves, sorted.
        results: Those of ``names`` whose value may be the result, as ``a`` and ``b`` in ``a if c else b``.
        operands: Those of ``bare`` that are never the result: something is computed or compared with them.

    Raises:
        ValueError: It is not such an expression. The message completes a sentence that begins with the text.

    Example:
        >>> choice = Choice("gpu if layers > 3 else [cpu, gpu]", known=["layers"])
        >>> choice.value({"layers": 5}), choice.value({"layers": 1})
        (('gpu',), ('cpu', 'gpu'))
    """

    def __init__(self, text: str, known: Collection[str]):
        super().__init__(text)
        self._known = tuple(known)
        self.bare = tuple(name for name in self.names if name not in self._known)
        self.names = tuple(name for name in self.names if name in self._known)
        results = _results(ast.parse(text.strip(), mode="eval").body)
        self.results = frozenset(self.names) & results
        self.operands = tuple(name for name in self.bare if name not in results)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.text, self._known)

    def value(self, values: Mapping[str, Any]) -> tuple[str, ...]:
        """The names, at least one.

        Args:
            values: Of parameters and constants. It may lack those that the expression does not come to.

        Raises:
            NoValue: It needs an inactive parameter, or is no name and no list of names.
        """
        try:
            found = eval(self._code, {**values, **dict(zip(self.bare, self.bare, strict=True)), **_LANGUAGE})
        except NameError as error:
            raise NoValue(f"needs '{error.name}', which is inactive") from None
        except (ArithmeticError, ValueError, TypeError) as error:
            raise NoValue(f"cannot be evaluated: {in_words(error)}") from None
        names = [found] if isinstance(found, str) else found
        if not isinstance(names, list) or not names or not all(isinstance(each, str) and each for each in names):
            raise NoValue(f"is {shown(found)}, which is no name and no list of names")
        return tuple(dict.fromkeys(names))


def _results(node: ast.expr) -> set[str]:
    """The names whose values an expression may have, or have in a list."""
    if isinstance(node, ast.IfExp):
        return _results(node.body) | _results(node.orelse)
    if isinstance(node, ast.BoolOp):
        return set().union(*map(_results, node.values))
    if isinstance(node, ast.List | ast.Tuple):
        return set().union(*map(_results, node.elts))
    return {node.id} if isinstance(node, ast.Name) else set()


class Constraint(_Text):
    """A condition on parameters and constants, such as ``layers * units <= 512``.

    An expression may contain names, numbers, text, lists, ``true`` and ``false``, arithmetic, comparisons, ``and``,
    ``or``, ``not``, ``in``, ``a if b else c``, and the functions min, max, abs, round, len, log, log2, log10, exp and
    sqrt; nothing else, so no attributes and no other calls.

    Args:
        text: The expression: a comparison, or several joined by ``and``, ``or`` and ``not``.

    Attributes:
        names: The parameters and constants that it names, sorted.
        texts: The texts in it.

    Raises:
        ValueError: It is not such an expression. The message completes a sentence that begins with the text.

    Example:
        >>> constraint = Constraint("layers * units <= 512 and optimizer in ['sgd', 'adamw']")
        >>> constraint.names
        ('layers', 'optimizer', 'units')
        >>> constraint.holds({"layers": 4, "units": 256, "optimizer": "sgd"})
        False
        >>> constraint.holds({"layers": 4, "optimizer": "sgd"})  # units is inactive
        True
        >>> Constraint("open('x') == 1")
        Traceback (most recent call last):
        ValueError: may not call 'open'; only min, max, abs, round, len, log, log2, log10, exp, sqrt
    """

    _condition = True

    def holds(self, values: Mapping[str, Any]) -> bool:
        """Whether the constraint is met.

        Args:
            values: Of parameters and constants. A name without a value is an inactive parameter: the constraint is met.

        Returns:
            False also where the expression has no value for these, as after a division by zero or the log of 0.

        Raises:
            TypeError: It mixes numbers and text.
        """
        if any(name not in values for name in self.names):
            return True
        try:
            return bool(eval(self._code, {**values, **_LANGUAGE}))
        except (ArithmeticError, ValueError):
            return False


def _power(base: Any, exponent: Any) -> Any:
    """``base ** exponent``; in floating point where an integer result could have millions of digits."""
    _numbers(base, exponent, "**")
    result = base**exponent if abs(exponent) <= 64 and abs(base) <= 1e6 else float(base) ** float(exponent)
    if isinstance(result, complex):
        raise NoResult("it takes a root of a negative number")
    return result


def _times(left: Any, right: Any) -> Any:
    _numbers(left, right, "*")
    return left * right


def _modulo(left: Any, right: Any) -> Any:
    _numbers(left, right, "%")
    return left % right


def _numbers(left: Any, right: Any, operator: str) -> None:
    """Refuse text, which these operators repeat and format, to any size."""
    if not isinstance(left, int | float) or not isinstance(right, int | float):
        raise WrongKind(f"`{operator}` takes numbers only")


_LANGUAGE: dict[str, Any] = {
    "__builtins__": {}, "**": _power, "*": _times, "%": _modulo, "true": True, "false": False, **FUNCTIONS,
}  # fmt: skip
"""What names mean besides those of parameters. The functions in place of operators have names that no parameter has."""


class _Guard(ast.NodeTransformer):
    """Replaces ``**``, ``*`` and ``%`` by calls of functions whose results are bounded, and tuples by lists.

    A study file has lists only, and in Python no list equals a tuple.
    """

    def visit_Tuple(self, node: ast.Tuple) -> ast.AST:
        self.generic_visit(node)
        return ast.copy_location(ast.List(elts=node.elts, ctx=node.ctx), node)

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        name = {ast.Pow: "**", ast.Mult: "*", ast.Mod: "%"}.get(type(node.op))
        if name is None:
            return node
        call = ast.Call(func=ast.Name(id=name, ctx=ast.Load()), args=[node.left, node.right], keywords=[])
        return ast.copy_location(call, node)


@functools.lru_cache(maxsize=256)
def _compile(text: str, condition: bool) -> tuple[tuple[str, ...], tuple[str, ...], CodeType]:
    if len(text) > LONGEST:
        raise ValueError("is too long for an expression")
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = "; equality is written ==" if _assigns(text) else ""
        said = error.msg.split(".")[0] if isinstance(error, SyntaxError) else str(error)
        raise ValueError(f"is not an expression: {said}{hint}") from None
    _refuse_endless(tree)
    _refuse_others(tree)
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    names = sorted({node.id for node in found} - {"true", "false"})
    if (
        condition
        and not isinstance(tree.body, ast.Compare | ast.BoolOp | ast.Name)
        and not (isinstance(tree.body, ast.UnaryOp) and isinstance(tree.body.op, ast.Not))
    ):
        raise ValueError("is not a comparison; write one, as in layers * units <= 512")
    constants = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
    texts = tuple(value for value in constants if isinstance(value, str))
    guarded = ast.fix_missing_locations(_Guard().visit(tree))
    return tuple(names), texts, compile(guarded, "<expression>", "eval")


def _refuse_endless(tree: ast.Expression) -> None:
    """Refuse expressions that are too large or nested too deeply, on which Python's own compiler recurses too far."""
    count, level, depth = 0, [tree.body], 0
    while level and depth <= DEEPEST and count <= LARGEST:
        count, depth = count + len(level), depth + 1
        level = [part for node in level for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr)]
    if level:
        raise ValueError("has too many parts or is nested too deeply for an expression")


def _refuse_others(tree: ast.Expression) -> None:
    """Refuse all syntax but that of :class:`Constraint`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (
            not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS or node.keywords
        ):
            raise ValueError(f"may not call '{ast.unparse(node.func)}'; only {', '.join(FUNCTIONS)}")
        if not isinstance(node, _NODES):
            what = ast.unparse(node) if isinstance(node, ast.expr) else type(node).__name__
            raise ValueError(
                f"may not hold '{what}'; only names, numbers, text, arithmetic, comparisons, and, or, not, in"
            )
        if isinstance(node, ast.Constant) and not isinstance(node.value, int | float | str | None):
            raise ValueError(f"may not hold '{ast.unparse(node)}'; only numbers and text")


def _assigns(text: str) -> bool:
    """Whether there is a single ``=`` in the text, which was probably meant as ``==``."""
    return any(
        mark == "=" and text[i - 1 : i] not in ("=", "<", ">", "!") and text[i + 1 : i + 2] != "="
        for i, mark in enumerate(text)
    )


_QUOTED = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\"""")
"""A text in an expression."""

_OPERATORS = frozenset({"and", "or", "not", "in", "is", "if", "else"})
"""Python's keywords that an expression may have."""


def unusable(name: str, text: str, *, parsed: bool = True) -> str:
    """Why an expression cannot mean a parameter by its name, where it seems to.

    Args:
        name: The parameter's or constant's.
        text: The expression.
        parsed: It is one, so that ``in`` and the like are its operators.

    Returns:
        The end of a sentence; empty where the expression does not have the name, or can have it.

    >>> unusable("max", "max <= 3"), unusable("max", "max(a, b) <= 3")
    ("'max' is a word of the expression language; rename the parameter to use it in one", '')
    >>> unusable("lr-decay", "lr-decay < 0.1")
    "names with '-' cannot be used in an expression; rename it lr_decay"
    """
    odd = sorted({character for character in name if not (character.isalnum() or character == "_")})
    word = name in WORDS or (keyword.iskeyword(name) and not (parsed and name in _OPERATORS))
    if not odd and not word:
        return ""
    called = r"(?!\s*\()" if name in FUNCTIONS else ""
    if not re.search(rf"(?<![\w.]){re.escape(name)}(?!\w){called}", _QUOTED.sub("''", text)):
        return ""
    if word:
        return f"'{name}' is a word of the expression language; rename the parameter to use it in one"
    marks = " and ".join(f"'{mark}'" for mark in odd)
    return f"names with {marks} cannot be used in an expression; rename it {re.sub(r'[^A-Za-z0-9_]', '_', name)}"
