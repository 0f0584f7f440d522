"""Small rules of English for messages: singular and plural, ``a`` and ``an``, lists."""

from __future__ import annotations

from collections.abc import Sequence

AN = ("a", "e", "i", "o", "u", "8", "11", "18", "hour", "honest", "nd")
"""How words begin that follow ``an``."""

A = ("uni", "use", "usa", "utf", "uu", "eu", "one", "once")
"""Beginnings that are spelt with a vowel and spoken with a consonant."""


def count(amount: float, noun: str, plural: str = "") -> str:
    """An amount with its noun.

    Args:
        amount: The amount.
        noun: The noun in the singular.
        plural: Its plural, where that is not the noun with an ``s``.

    >>> count(1, "trial"), count(2000, "trial"), count(0, "GPU"), count(2, "study", "studies")
    ('1 trial', '2,000 trials', '0 GPUs', '2 studies')
    """
    return f"{amount:,} {noun if amount == 1 else plural or noun + 's'}"


def a(noun: str) -> str:
    """A noun with its article.

    >>> a("int"), a("float"), a("user attribute"), a("hour"), a("list")
    ('an int', 'a float', 'a user attribute', 'an hour', 'a list')
    """
    word = noun.lower()
    return f"{'an' if word.startswith(AN) and not word.startswith(A) else 'a'} {noun}"


def listed(words: Sequence[str]) -> str:
    """The words as a list in a sentence.

    >>> listed(["a"]), listed(["a", "b", "c"])
    ('a', 'a, b and c')
    """
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else "".join(words)


def named(noun: str, names: Sequence[str]) -> str:
    """The things with these names.

    >>> named("pool", ["cpu"]), named("pool", ["cpu", "gpu"])
    ('pool cpu', 'the pools cpu and gpu')
    """
    return f"{noun} {names[0]}" if len(names) == 1 else f"the {noun}s {listed(names)}"
