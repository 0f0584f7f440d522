"""Reads YAML files and remembers the line of every key, so that each error can name file, line and key.

Files are read as YAML 1.2's core schema (https://yaml.org/spec/1.2.2/#103-core-schema): ``1e-5`` is a number, ``on``,
``off``, ``yes`` and ``no`` are words, ``2026-01-01`` and ``10:30:00`` are text, ``010`` is ten. Tags that make objects
are refused, duplicate keys are errors, and keys are always text. Anchors, aliases and ``<<`` work.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from .errors import UserError, printable

MAX_NODES = 200_000
"""Most values in a file. Aliases of aliases can multiply without bound; no useful file comes near this number."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe parser, with the implicit types of YAML 1.2's core schema."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012


class _Dumper(yaml.SafeDumper):
    """Writes YAML for _Loader: text that _Loader would read as a number is put in quotes."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


class _PlainDumper(yaml.SafeDumper):
    """Writes YAML that other readers understand as well: text that YAML 1.1 or 1.2 would read otherwise is quoted."""

    yaml_implicit_resolvers = {first: list(each) for first, each in yaml.SafeDumper.yaml_implicit_resolvers.items()}  # noqa: RUF012

    def ignore_aliases(self, data: Any) -> bool:
        return True


_TAG = "tag:yaml.org,2002:"
for _name, _pattern, _first in (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9][0-9_]*|0o[0-7_]+|0x[0-9a-fA-F_]+", "-+0123456789"),
    ("float", r"[-+]?(?:\.[0-9][0-9_]*|[0-9][0-9_]*(?:\.[0-9_]*)?)(?:[eE][-+]?[0-9]+)?", "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
    ("merge", r"<<", "<"),
):
    for _class in (_Loader, _Dumper, _PlainDumper):
        _class.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})$"), list(_first))
for _class in (_Loader, _Dumper):
    _class.add_implicit_resolver(_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])


@dataclass(frozen=True)
class YamlFile:
    """A mapping that was read from a file, with the line of each key.

    Attributes:
        path: The file.
        data: Its contents, with the settings of ``--set`` applied.
        lines: Key (``space.lr.float[1]``) -> its line in the file, from 1.
        overrides: Key that was given with ``--set`` -> the option as given (``--set space.lr``).
    """

    path: Path
    data: dict[str, Any]
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)
    overrides: Mapping[str, str] = field(default_factory=dict, repr=False)

    def error(self, message: str, key: str = "") -> UserError:
        """An error at the line of ``key``, or of the nearest key above it that the file has."""
        message = printable(message)
        item = self._setting_below(f"{key}[")  # a list of which an item was set
        if item and key not in self.overrides:
            return UserError(message, file=item, key=key)
        for ancestor in _upwards(key):
            if ancestor in self.overrides:
                own = self.overrides[ancestor]
                return UserError(message, file=own, key=None if own == f"--set {key}" else key)
            if ancestor in self.lines:
                return UserError(message, file=self.path, line=self.lines[ancestor], key=key)
            if setting := self._setting_below(f"{ancestor}."):  # it has made the mapping that is wrong
                return UserError(message, file=setting, key=key)
        return UserError(message, file=self.path, line=1, key=key or None)

    def _setting_below(self, start: str) -> str:
        """The first setting whose key begins with ``start``; empty where there is none."""
        return next((own for known, own in self.overrides.items() if known.startswith(start)), "")


def nearest(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: the most similar known word, or all of them when none is similar.

    >>> nearest("batch_sise", ["epochs", "batch_size"])
    "; did you mean 'batch_size'?"
    """
    words = list(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.6 if len(word) > 3 else 0.5) or [
        w for w in words if w.lower() == word.lower()
    ]
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known are {', '.join(words)}" if words else ""


def join(key: str, part: str | int) -> str:
    """A key below ``key``.

    >>> join("space", "lr"), join("constraints", 0)
    ('space.lr', 'constraints[0]')
    """
    if isinstance(part, int):
        return f"{key}[{part}]"
    return f"{key}.{part}" if key else part


def read_yaml(path: Path | str, *, what: str = "file") -> YamlFile:
    """Read a YAML file that holds a mapping.

    Args:
        path: The file.
        what: What errors call it ("study file").

    Raises:
        UserError: The file is missing, unreadable or empty, is not valid YAML or not a mapping, or has a key twice.
    """
    path = Path(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise UserError(f"there is no such {what}", file=path) from None
    except IsADirectoryError:
        raise UserError(f"this is a folder; name a {what} in it", file=path) from None
    except OSError as error:
        raise UserError(f"the {what} cannot be read: {error.strerror}", file=path) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise UserError(f"the {what} is not UTF-8 text", file=path, line=line) from None
    return parse_yaml(text, path, what=what)


def parse_yaml(text: str, path: Path, *, what: str = "file") -> YamlFile:
    """Like :func:`read_yaml`, for the text of a file. ``path`` is used in errors only."""
    node = _compose(text, path)
    if node is None:
        raise UserError(f"the {what} is empty", file=path)
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"a {what} is a mapping of keys to values (key: value)", file=path, line=_line(node))
    reader = _Reader(path)
    try:
        data = reader.value(node, "")
    except RecursionError:
        raise UserError(f"the {what} is nested too deeply", file=path) from None
    return YamlFile(path, data, reader.lines)


def parse_value(text: str) -> Any:
    """One YAML value, as given to ``--set``. Raises UserError without file and line.

    >>> parse_value("[1, 2.5, yes]")
    [1, 2.5, 'yes']
    """
    node = _compose(text, None)
    return None if node is None else _Reader(None).value(node, "")


def dump_yaml(data: Any) -> str:
    """``data`` as YAML that :func:`read_yaml` reads back unchanged, with innermost lists on one line."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)


def dump_plain(data: Any) -> str:
    """``data`` as YAML that programs of other people read unchanged too, whether they follow YAML 1.1 or 1.2.

    >>> print(dump_plain({"optimizer": "1e-5", "bias": "on"}), end="")
    optimizer: '1e-5'
    bias: 'on'
    """
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True)


def _upwards(key: str) -> Iterator[str]:
    while key:
        yield key
        key = key[: max(key.rfind("."), key.rfind("["), 0)]


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1 if node.start_mark else 1


def _compose(text: str, path: Path | None) -> yaml.Node | None:
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(part for part in (error.context, error.problem) if part).replace("\n", " ")
        if "expected a single document" in said:
            said = "a second document begins here; keep one (remove the `---`)"
        where = f" (column {mark.column + 1})" if mark and path else ""
        line = mark.line + 1 if mark and path else None
        raise UserError(f"not valid YAML: {said}{where}", file=path, line=line) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1 if path else None
        raise UserError("not valid YAML: this is a control character", file=path, line=line) from None
    except RecursionError:
        line = loader.line + 1 if loader is not None and path else None
        raise UserError("nested too deeply", file=path, line=line) from None
    return node


def is_text(text: str) -> bool:
    """Whether ``text`` has neither NUL nor surrogates, which file names, databases and readers of JSON refuse."""
    return text.isprintable() or not re.search("[\0\ud800-\udfff]", text)


def joined(text: str) -> str:
    r"""``text`` with pairs of surrogates as the characters that they stand for: JSON writes emoji as such pairs.

    >>> joined("loss \ud83d\udca5") == "loss \U0001f4a5"
    True
    """
    if text.isprintable():
        return text
    pair = "[\ud800-\udbff][\udc00-\udfff]"
    return re.sub(pair, lambda found: found[0].encode("utf-16", "surrogatepass").decode("utf-16"), text)


def _fits_float(number: int) -> int:
    """Returns ``number``. Raises OverflowError when it is too large for a float."""
    float(number)
    return number


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


class _Reader:
    """Converts PyYAML's nodes to data, and notes the line of every key.

    Attributes:
        lines: Key -> its line, from 1.
        count: How many values were read.
        above: Ids of the nodes that contain the current one: an alias to one of them would never end.
    """

    def __init__(self, path: Path | None):
        self.path = path
        self.lines: dict[str, int] = {}
        self.count = 0
        self.above: set[int] = set()

    def fail(self, message: str, node: yaml.Node, key: str) -> UserError:
        return UserError(printable(message), file=self.path, line=_line(node) if self.path else None, key=key or None)

    def value(self, node: yaml.Node, key: str) -> Any:
        self.count += 1
        if self.count > MAX_NODES:
            raise self.fail(f"more than {MAX_NODES:,} values", node, key)
        if isinstance(node, yaml.ScalarNode):
            return self.scalar(node, key)
        if id(node) in self.above:
            raise self.fail("an alias (*) must not be inside the value that it refers to", node, key)
        self.above.add(id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == _TAG + "map":
            result: Any = self.mapping(node, key)
        elif isinstance(node, yaml.SequenceNode) and node.tag == _TAG + "seq":
            result = []
            for index, item in enumerate(node.value):
                self.lines[join(key, index)] = _line(item)
                result.append(self.value(item, join(key, index)))
        else:
            raise self.tagged(node, key)
        self.above.discard(id(node))
        return result

    def mapping(self, node: yaml.MappingNode, key: str) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        own: dict[str, Any] = {}
        for name_node, item in node.value:
            if not isinstance(name_node, yaml.ScalarNode):
                raise self.fail("a key must be one word, not a list or a mapping", name_node, key)
            if name_node.tag == _TAG + "merge":
                for source in item.value if isinstance(item, yaml.SequenceNode) else [item]:
                    if not isinstance(source, yaml.MappingNode):
                        raise self.fail("`<<` merges mappings only", source, key)
                    merged = {**self.value(source, key), **merged}
                continue
            name = joined(str(name_node.value))
            if not is_text(name):
                raise self.fail("a key must not contain NUL or surrogates", name_node, join(key, name))
            if name in own:
                first = self.lines[join(key, name)]
                raise self.fail(f"duplicate key; first defined on line {first}", name_node, join(key, name))
            self.lines[join(key, name)] = _line(name_node)
            own[name] = self.value(item, join(key, name))
        return {**merged, **own}

    def scalar(self, node: yaml.ScalarNode, key: str) -> Any:
        text = joined(str(node.value))
        if not is_text(text):
            raise self.fail("must not contain NUL or surrogates", node, key)
        kind = node.tag.removeprefix(_TAG)
        try:
            if kind == "str":
                return text
            if kind == "null":
                return None
            if kind == "bool":
                return {"true": True, "false": False}[text.lower()]
            if kind == "int":
                return _fits_float(int(text, 0) if text[:2] in ("0x", "0o") else int(text))
            if kind == "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
        except (ValueError, KeyError):
            raise self.fail(f"{_short(text)} is not of the type {kind} of its tag", node, key) from None
        except OverflowError:
            raise self.fail(f"{_short(text)} is too large a number", node, key) from None
        if kind == "merge":
            return text
        raise self.tagged(node, key)

    def tagged(self, node: yaml.Node, key: str) -> UserError:
        tag = str(node.tag).replace(_TAG, "!!")
        return self.fail(f"the tag {tag} is not allowed here; write plain values only", node, key)
