"""Strategies of hostile values and broken files for the fuzz tests, and their settings.

``PILOTUNE_FUZZ=5000`` runs each fuzz test with 5,000 examples, which differ from run to run.
"""

from __future__ import annotations

import copy
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import yaml
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pilotune.errors import UserError

from .sizes import at_size

LONGER = int(os.environ.get("PILOTUNE_FUZZ", "0"))

WATCHDOG = 10.0
"""Seconds of CPU time after which an example counts as hung. By the clock it may take 30 times as long."""


class Hung(BaseException):
    """Raised in an example that does not end. It is no Exception, so that the tested code does not catch it."""


@contextmanager
def watchdog() -> Iterator[None]:
    def bark(*_: object) -> None:
        raise Hung(f"not done after {WATCHDOG:.0f} s of computing")

    before = [signal.signal(number, bark) for number in (signal.SIGPROF, signal.SIGALRM)]
    signal.setitimer(signal.ITIMER_PROF, WATCHDOG)
    signal.setitimer(signal.ITIMER_REAL, 30 * WATCHDOG)
    try:
        yield
    finally:
        for timer in (signal.ITIMER_PROF, signal.ITIMER_REAL):
            signal.setitimer(timer, 0)
        for number, handler in zip((signal.SIGPROF, signal.SIGALRM), before, strict=True):
            signal.signal(number, handler)


def fuzzed(examples: int) -> Callable[[Any], Any]:
    """Decorator below ``@given``: run a third of ``examples`` examples (four times ``examples`` in ``make test-all``).

    They are the same ones each time, and each is limited by the watchdog.
    """
    profile = settings(
        max_examples=LONGER or at_size(max(10, examples // 3), 4 * examples),
        derandomize=not LONGER,
        deadline=None,
        database=None,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )

    def mark(test: Callable[..., None]) -> Any:
        @wraps(test)
        def watched(*args: Any, **kwargs: Any) -> None:
            with watchdog():
                test(*args, **kwargs)

        return profile(watched)

    return mark


# -- values -----------------------------------------------------------------------------------------------------------

HUGE = (2**31, 2**53 + 1, 2**63, -(2**63) - 1, 10**400, -(10**400))
ENDLESS = "ENDLESS"  # in a file it becomes a whole number that Python does not write out
NASTY_TEXT = (
    "", " ", "\0", "a\0b", "\ud800", "caf\udce9", "\n", "\r\n", "\x1b[31m", "\u2028", "\ufeff", "..", "../x", "-", "--",
    "~", "$HOME", "${HOME}", "${NOT_SET_AT_ALL}", "${X:-}", "$(touch x)", "%s", "{lr}", "{}", "{", "'", '"', "\\",
    "a" * 5000, "nan", "inf", "-inf", "1e999", "0x10", "1_000", "00", "true", "null", "[", "]", "<<", "*a", "&a",
    "!!python/name:os", ENDLESS, "é", "日本", "\U0001f600", "a.b", "a[0]", "_", "__builtins__", "name", "pilotune:exit",
    "１２", "²", "٣",
)  # fmt: skip


def deep(levels: int, leaf: Any = 1) -> Any:
    """``levels`` lists around ``leaf``, one in the other."""
    for _ in range(levels):
        leaf = [leaf]
    return leaf


def texts() -> st.SearchStrategy[str]:
    """Text of all kinds, including lone surrogates and NUL."""
    return st.one_of(st.sampled_from(NASTY_TEXT), st.text(st.characters(exclude_categories=()), max_size=20))


def numbers() -> st.SearchStrategy[Any]:
    """Numbers, including those that fit into no fixed size."""
    return st.one_of(st.integers(-5, 50), st.sampled_from(HUGE), st.floats(), st.floats(-10, 10))


def plain() -> st.SearchStrategy[Any]:
    return st.one_of(st.none(), st.booleans(), numbers(), texts())


def rubbish() -> st.SearchStrategy[Any]:
    """Any value that JSON or YAML can express."""
    return st.recursive(
        plain(),
        lambda inner: st.one_of(
            st.lists(inner, max_size=4), st.dictionaries(texts(), inner, max_size=4), st.integers(50, 150).map(deep)
        ),
        max_leaves=8,
    )


# -- valid data, then changed -----------------------------------------------------------------------------------------


def places(data: Any, above: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values in nested data."""
    found = [above] if above else []
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    for key, value in items:
        found += places(value, (*above, key))
    return found


def value_at(data: Any, path: tuple[Any, ...]) -> Any:
    for key in path:
        data = data[key]
    return data


@st.composite
def mutated(draw: st.DrawFn, data: Any, values: st.SearchStrategy[Any] | None = None, most: int = 3) -> Any:
    """``data`` with one to ``most`` changes: a value replaced, removed, copied or wrapped, or a key added.

    ``values``: replacements to use besides rubbish.
    """
    data = copy.deepcopy(data)
    strange = rubbish() if values is None else st.one_of(values, rubbish())
    for _ in range(draw(st.integers(1, most))):
        paths = places(data)
        if not paths:
            break
        path = draw(st.sampled_from(paths))
        around, key = value_at(data, path[:-1]), path[-1]
        change = draw(st.sampled_from(("replace", "replace", "take away", "copy here", "add", "wrap")))
        if change == "replace":
            around[key] = copy.deepcopy(draw(strange))
        elif change == "take away":
            del around[key]
        elif change == "copy here":
            around[key] = copy.deepcopy(value_at(data, draw(st.sampled_from(paths))))
        elif change == "wrap":
            around[key] = draw(st.sampled_from((lambda v: [v], lambda v: {"name": v}, lambda v: [v, v])))(around[key])
        elif isinstance(around, dict):
            around[draw(texts())] = copy.deepcopy(draw(strange))
        else:
            around.insert(0, copy.deepcopy(draw(strange)))
    return data


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def as_yaml(data: Any) -> str:
    """Data as YAML. What YAML cannot express raises yaml.YAMLError or RecursionError."""
    text: str = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None)
    return text.replace(ENDLESS, "0x" + "f" * 5000)


MARKS = ("\t", " ", "\n", ":", "- ", "{", "}", "[", "]", "'", '"', "#", "&a ", "*a", "!!int ", "!x ", "|", ">", "\0",
         "---\n", "<<: ", "? ", "%", "@", "\ud800", "\x85", "\u2028", "null", "0x")  # fmt: skip


@st.composite
def scribbled(draw: st.DrawFn, text: str) -> str:
    """Text with up to four editing errors: a piece lost, doubled or moved, a character inserted, or the end cut off."""
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 30)))
        slip = draw(st.sampled_from(("lose", "double", "move", "add", "cut")))
        if slip == "lose":
            text = text[:at] + text[end:]
        elif slip == "double":
            text = text[:end] + text[at:end] + text[end:]
        elif slip == "move":
            rest, to = text[:at] + text[end:], draw(st.integers(0, len(text)))
            text = rest[:to] + text[at:end] + rest[to:]
        elif slip == "add":
            text = text[:at] + draw(st.one_of(st.sampled_from(MARKS), texts())) + text[at:]
        else:
            text = text[: max(at, len(text) // 2)]
    return text


# -- checks ----------------------------------------------------------------------------------------------------


def clear(error: BaseException, begins: str = "") -> None:
    """Assert that the message of an error is readable."""
    said = str(error)
    assert readable(said), said
    assert said.startswith(begins)


def placed(error: UserError, path: Path) -> None:
    """Assert that an error is readable and names the line of the file, or the setting."""
    clear(error)
    if str(error.file or "").startswith("--set"):
        return
    assert error.file == path, str(error)
    assert error.line or "empty" in str(error), str(error)
    assert (error.line or 1) <= path.read_bytes().count(b"\n") + 2, str(error)


def readable(sentence: str) -> bool:
    """Whether a terminal shows a sentence as it is: no control characters, no lone surrogates, not too long."""
    return all(line.isprintable() for line in sentence.splitlines()) and 0 < len(sentence) < 3000
