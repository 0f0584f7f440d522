"""Finds imports of an objective that fail, without executing anything: missing modules, syntax errors, unknown names.

Heavy packages must not be imported on a login node, so the files are only parsed. What is imported inside a function,
an ``if`` or a ``try`` may be meant to fail, and is not looked at.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import UserError
from ...yamlfile import nearest
from ..trial.protocol import ObjectiveSpec
from ..user_code.references import bound_names, find_module

MOST_FILES, MOST_NEEDED = 200, 10_000
"""Most of the user's own files that are read: to find problems, and to find all files that are needed elsewhere."""


@dataclass(frozen=True)
class ImportProblem:
    """An import that fails.

    Attributes:
        error: What is wrong, with file and line.
        installed: Another Python environment might have what is missing here.
    """

    error: UserError
    installed: bool = False


def import_problems(objective: ObjectiveSpec) -> list[ImportProblem]:
    """The imports of an objective's file, and of the user's files that it imports, that fail; in the order of reading.

    Args:
        objective: The study's; nothing is found for a command, or for a module that is not in the study's folder.
    """
    return _read(objective)[0]


def own_files(objective: ObjectiveSpec) -> list[Path]:
    """The objective's file and the user's files that it imports; empty where none is in the study's folder."""
    return _read(objective)[1]


def needed_files(objective: ObjectiveSpec) -> list[Path]:
    """The user's files without which an objective, or another function, does not run elsewhere.

    Besides :func:`own_files` they are those that are imported inside a function, an ``if`` or a ``try``.

    Args:
        objective: Names a file or a module, and the study's folder.
    """
    return _read(objective, everywhere=True)[1]


def _read(objective: ObjectiveSpec, *, everywhere: bool = False) -> tuple[list[ImportProblem], list[Path]]:
    folder = Path(objective.folder)
    if objective.file:
        start, folders = Path(objective.file), [Path(objective.file).parent, folder]
    else:
        spec = find_module(objective.module, folder) if objective.module else None
        if spec is None or not spec.origin or not is_own([folder], spec.origin, None):
            return [], []
        start, folders = Path(spec.origin), [folder]
    reader = _Reader(folders, in_package=not objective.file, everywhere=everywhere)
    problems = [*reader.packages(objective.module), *reader.read(start, objective.module)]
    return problems, list(reader.seen)


@dataclass
class _Reader:
    """Reads the user's own files, each once.

    Attributes:
        folders: Where their modules are searched first.
        in_package: The first file is imported as a module, so that it may have relative imports.
        everywhere: Imports below the top of a file are followed, too.
    """

    folders: list[Path]
    in_package: bool
    everywhere: bool = False
    seen: dict[Path, None] = field(default_factory=dict)

    def read(self, path: Path, module: str = "") -> Iterator[ImportProblem]:
        """The problems in one file and in those that it imports."""
        if path in self.seen or len(self.seen) >= (MOST_NEEDED if self.everywhere else MOST_FILES):
            return
        self.seen[path] = None
        try:
            tree = ast.parse(path.read_bytes(), filename=str(path))
        except SyntaxError as error:
            yield ImportProblem(UserError(f"is not valid Python: {error.msg}", file=path, line=error.lineno))
            return
        except (OSError, ValueError, RecursionError) as error:
            yield ImportProblem(UserError(f"cannot be read: {error}", file=path))
            return
        for node in ast.walk(tree) if self.everywhere else tree.body:
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._module(alias.name, (), path, node.lineno)
            elif isinstance(node, ast.ImportFrom):
                yield from self._from(node, path, module)
            elif not self.everywhere and isinstance(node, ast.stmt) and _changes_path(node):
                return  # what is imported below may be anywhere

    def _from(self, node: ast.ImportFrom, path: Path, module: str) -> Iterator[ImportProblem]:
        names, target = tuple(alias.name for alias in node.names), node.module or ""
        if node.level:
            parts = [part for part in module.split(".") if part]
            package = parts if path.name == "__init__.py" else parts[:-1]
            package = package[: len(package) - node.level + 1] if node.level <= len(package) else []
            if not package:
                yield ImportProblem(UserError(_RELATIVE, file=path, line=node.lineno))
                return
            target = ".".join([*package, *([target] if target else [])])
        yield from self._module(target, names, path, node.lineno)

    def packages(self, name: str) -> Iterator[ImportProblem]:
        """The problems in the packages that are imported before a module in them."""
        parts = name.split(".")[:-1]
        for depth in range(1, len(parts) + 1):
            package = ".".join(parts[:depth])
            spec = find_module(package, *self.folders)
            if spec is not None and spec.origin and spec.origin.endswith(".py"):
                yield from self.read(Path(spec.origin), package)

    def _module(self, name: str, names: tuple[str, ...], path: Path, line: int) -> Iterator[ImportProblem]:
        """The problems of one import: ``import name``, or ``from name import names``."""
        if name.partition(".")[0] in ("__future__", "__main__", "pilotune"):
            return
        top = name.partition(".")[0]
        spec = find_module(top, *self.folders)
        if spec is None:
            where = " or ".join(dict.fromkeys(str(folder) for folder in self.folders))
            message = f"imports '{top}', which is neither installed in {sys.executable} nor in {where}"
            yield ImportProblem(UserError(message, file=path, line=line), installed=True)
            return
        if not is_own(self.folders, spec.origin, spec.submodule_search_locations):
            return  # packages may make modules and names as they are imported
        spec = find_module(name, *self.folders)
        if spec is None:
            yield ImportProblem(UserError(f"imports '{name}', which does not exist", file=path, line=line))
            return
        yield from self.packages(name)
        if spec.origin and spec.origin.endswith(".py"):
            yield from self.read(Path(spec.origin), name)
            yield from self._names(Path(spec.origin), name, names, path, line)
        elif not spec.submodule_search_locations:
            return
        for each in names:  # submodules
            inner = find_module(f"{name}.{each}", *self.folders) if spec.submodule_search_locations else None
            if inner is not None and inner.origin and inner.origin.endswith(".py"):
                yield from self.read(Path(inner.origin), f"{name}.{each}")

    def _names(self, file: Path, module: str, names: tuple[str, ...], path: Path, line: int) -> Iterator[ImportProblem]:
        """The names that a file of the user's does not define."""
        try:
            tree = ast.parse(file.read_bytes())
        except (SyntaxError, OSError, ValueError, RecursionError):
            return  # told by read()
        known = _defined(tree)
        if {"*", "__getattr__"} & known:
            return
        for name in names:
            if name != "*" and name not in known and find_module(f"{module}.{name}", *self.folders) is None:
                message = f"imports '{name}' from {file.name}, which does not define it{nearest(name, known)}"
                yield ImportProblem(UserError(message, file=path, line=line))


def is_own(folders: Sequence[Path], origin: str | None, locations: object) -> bool:
    """Whether a module is one of the user's files beside the study: not an installed one."""
    places = [origin] if origin else [str(place) for place in locations] if isinstance(locations, list) else []
    return any(
        any(Path(place).is_relative_to(folder) for folder in folders)
        and not {"site-packages", "dist-packages"} & set(Path(place).parts)
        and not any(Path(place).is_relative_to(prefix) for prefix in (sys.prefix, sys.base_prefix))
        for place in places
    )


_RELATIVE = (
    "a relative import needs a package: name the objective as a module (`objective: package.module:function`), or "
    "import without the dot"
)


_NAMED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.MatchAs, ast.MatchStar, ast.ExceptHandler)


def _defined(tree: ast.Module) -> set[str]:
    """Every name that a file may define: all that it binds anywhere, so that nothing is missed."""
    found = set(bound_names(tree.body))
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.alias):
            found.add((node.asname or node.name).split(".")[0])
        elif isinstance(node, _NAMED) and node.name:
            found.add(node.name)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("globals", "exec"):
            found.add("*")
    return found


def _changes_path(node: ast.stmt) -> bool:
    """Whether a statement of a module may change where modules are found."""
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return False
    return any(
        (isinstance(part, ast.Attribute) and isinstance(part.value, ast.Name) and part.value.id in ("sys", "site")
         and part.attr in ("path", "modules", "meta_path", "path_hooks", "addsitedir"))
        or (isinstance(part, ast.Name) and part.id in ("addsitedir", "exec", "__import__"))
        for part in ast.walk(node)
    )  # fmt: skip
