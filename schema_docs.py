"""Writes the tables of keys in ``docs/`` from the schemas of study and site files.

A page marks each table::

    <!-- keys: PoolSchema -->
    | key | type | default | meaning |
    ...
    <!-- end of keys -->

``python -m pilotune.schema_docs`` rewrites what stands between the marks; everything else on the page is written by
hand. With ``--check`` it changes nothing and exits with 1 when a page is out of date. It runs in a checkout of the
repository, since the documentation is not installed.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .fields import DefaultText, TypeName, format_duration
from .pipeline.architecture.operations import KINDS
from .pipeline.studyfile.keep import KeepOptions
from .pipeline.studyfile.schema import Budget, Command, PlacementOptions, StartFrom, StudySchema, TrialOptions
from .providers.site.schema import BlocksSchema, DriverJob, NetworkSchema, PoolSchema, ShapeSchema, SiteSchema

DOCS = Path(__file__).resolve().parent / "docs"


class Operations(BaseModel):
    """Stands for the table of a network's operations, which is no schema."""


BLOCKS: Sequence[tuple[str, str, type[BaseModel]]] = (
    ("study-file.md", "StudySchema", StudySchema),
    ("study-file.md", "Budget", Budget),
    ("study-file.md", "TrialOptions", TrialOptions),
    ("study-file.md", "KeepOptions", KeepOptions),
    ("study-file.md", "PlacementOptions", PlacementOptions),
    ("study-file.md", "StartFrom", StartFrom),
    ("study-file.md", "Command", Command),
    ("sites.md", "SiteSchema", SiteSchema),
    ("sites.md", "NetworkSchema", NetworkSchema),
    ("sites.md", "PoolSchema", PoolSchema),
    ("sites.md", "ShapeSchema", ShapeSchema),
    ("sites.md", "BlocksSchema", BlocksSchema),
    ("sites.md", "DriverJob", DriverJob),
    ("architectures.md", "Operations", Operations),
)
"""Page, name of the marked block, and the schema whose keys it lists."""

COMMAND = "python -m pilotune.schema_docs"

_BLOCK = re.compile(r"(?<=<!-- keys: )(\w+)( -->\n)(.*?)(?=<!-- end of keys -->)", re.DOTALL)


def key_table(model: type[BaseModel]) -> str:
    r"""The keys of ``model`` as a Markdown table, in the order of its fields.

    Types are called as their :class:`pilotune.fields.TypeName` says. Defaults are the fields' own, unless a
    :class:`pilotune.fields.DefaultText` describes one.

    Args:
        model: A schema in which every field has a description.

    Raises:
        ValueError: A field has no description, or a type without a name.

    >>> print("\n".join(key_table(BlocksSchema).splitlines()[:4]))
    | key | type | default | meaning |
    | --- | --- | --- | --- |
    | `init` | whole number, 0 or more | `min`, but at least 1 | Blocks to submit at the start of a campaign. |
    | `min` | whole number, 0 or more | `0` | Least number of blocks while there is work. |
    """
    rows = [("key", "type", "default", "meaning"), ("---",) * 4]
    for key, field in model.model_fields.items():
        if not field.description:
            raise ValueError(f"{model.__name__}.{key} has no description")
        type_name = _type_name(field, f"{model.__name__}.{key}")
        rows.append((f"`{key}`", type_name, _default(field, type_name), field.description))
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |\n" for row in rows)


def filled(text: str, models: Mapping[str, type[BaseModel]]) -> str:
    """The page ``text`` with every marked block rewritten.

    Raises:
        ValueError: The page marks a block that is not in ``models``, or does not mark one that is.
    """
    marked = [match[1] for match in _BLOCK.finditer(text)]
    if sorted(marked) != sorted(models):
        raise ValueError(f"the page marks the blocks {sorted(marked)}, but these are expected: {sorted(models)}")
    return _BLOCK.sub(lambda match: match[1] + match[2] + _table(models[match[1]]), text)


def _table(model: type[BaseModel]) -> str:
    return operations_table() if model is Operations else key_table(model)


def operations_table() -> str:
    r"""The operations of a network as a Markdown table.

    >>> print(operations_table().splitlines()[2])
    | `identity` | its input as it is; in a cell: no layer | any |
    """
    words = {1: "features", 2: "steps x features", 3: "channels x height x width"}
    rows = [("operation", "what it does", "input"), ("---",) * 3]
    for name, kind in KINDS.items():
        arguments = [
            each.name.removeprefix("the ").removeprefix("a ").replace("number of ", "")
            + ("" if each.default is None else f"={each.default}")
            for each in kind.arguments
        ]
        given = f"({', '.join(arguments)}{', ...' if kind.rest else ''})" if arguments else ""
        inputs = "any" if len(kind.ranks) == 3 else " or ".join(words[rank] for rank in kind.ranks)
        rows.append((f"`{name}{given}`", kind.words, inputs))
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def stale_pages(folder: Path = DOCS, blocks: Iterable[tuple[str, str, type[BaseModel]]] = BLOCKS) -> dict[Path, str]:
    """The pages in ``folder`` whose tables differ from the schemas, each with the text that it should have."""
    pages: dict[str, dict[str, type[BaseModel]]] = {}
    for page, block, model in blocks:
        pages.setdefault(page, {})[block] = model
    stale = {}
    for page, models in pages.items():
        text = (folder / page).read_text(encoding="utf-8")
        try:
            right = filled(text, models)
        except ValueError as error:
            raise ValueError(f"{folder / page}: {error}") from None
        if right != text:
            stale[folder / page] = right
    return stale


def _type_name(field: FieldInfo, where: str) -> str:
    """What the table calls the type of ``field``. A section is a mapping."""
    for each in (*field.metadata, *_parts(field.annotation)):
        if isinstance(each, TypeName):
            return each.name
        if isinstance(each, type) and issubclass(each, BaseModel):
            return "mapping"
    raise ValueError(f"the type of {where} has no TypeName")


def _parts(annotation: Any) -> Iterator[Any]:
    """``annotation`` and all that it is made of, with the metadata of each ``Annotated`` before what it annotates."""
    yield from getattr(annotation, "__metadata__", ())
    yield annotation
    for argument in (*getattr(annotation, "__args__", ()), getattr(annotation, "__origin__", None)):
        if argument is not None:
            yield from _parts(argument)


def _default(field: FieldInfo, type_name: str) -> str:
    for each in field.metadata:
        if isinstance(each, DefaultText):
            return each.text
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ((), {}):
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if type_name == "duration":
        return f"`{format_duration(value)}`"
    if type_name == "size":
        return f"`{_size(value)}`"
    return f"`{value}`"


def _size(count: int) -> str:
    """``100_000_000`` as ``100MB``; bytes where no unit fits without a remainder."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("KB", 10**3)):
        if count % length == 0:
            return f"{count // length}{unit}"
    return str(count)


def main(arguments: Sequence[str]) -> int:
    """Write the pages that are out of date; with ``--check`` only name them. Returns the exit code."""
    if not DOCS.is_dir():
        print(f"{DOCS} is missing: run this in a checkout, with the .venv that make creates", file=sys.stderr)
        return 2
    stale = stale_pages()
    for path, text in stale.items():
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        print(f"{path}: {'out of date' if '--check' in arguments else 'written'}")
    return int(bool(stale) and "--check" in arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
