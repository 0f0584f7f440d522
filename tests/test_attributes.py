"""Every key of the database is defined in ``attributes.py`` only, once, with a docstring."""

import ast
from collections import Counter
from itertools import pairwise
from pathlib import Path

from pilotune.pipeline import attributes

ROOT = Path(attributes.__file__).parents[1]
PACKAGES = ("pipeline", "providers", "objectives")


def literals(file: Path) -> list[str]:
    """The string literals of a file that begin like a key, parts of f-strings included; messages have a blank there."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            text = node.value
            if text.startswith(attributes.PREFIX) and not text.startswith(attributes.PREFIX + " "):
                found.append(text)
    return found


def test_no_other_module_spells_out_a_key() -> None:
    files = [file for package in PACKAGES for file in (ROOT / package).rglob("*.py")]
    assert len(files) > 100
    spelt = {str(file.relative_to(ROOT)): texts for file in [*files, *ROOT.glob("*.py")] if (texts := literals(file))}
    assert list(spelt) == ["pipeline/attributes.py"]


def test_every_key_has_one_name_and_a_docstring_that_says_what_it_is_of() -> None:
    body = ast.parse(Path(attributes.__file__).read_text()).body
    keys = {name: value for name, value in vars(attributes).items() if name.isupper() and name != "PREFIX"}
    assert all(count == 1 for count in Counter(keys.values()).values())
    documented = set()
    for statement, following in pairwise(body):
        if isinstance(statement, ast.Assign) and isinstance(following, ast.Expr):
            assert isinstance(following.value, ast.Constant)
            name = statement.targets[0]
            assert isinstance(name, ast.Name)
            if name.id in keys:
                assert "attribute" in following.value.value
                documented.add(name.id)
    assert documented == set(keys)
