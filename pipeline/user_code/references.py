"""Finds users' Python code that a file names (``file.py:Name``, ``package.module:Name``), without importing it."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path

from ...errors import UserError
from ...yamlfile import nearest

Function = ast.FunctionDef | ast.AsyncFunctionDef

_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
_FORM = "file.py:{0} or package.module:{0}"


@dataclass(frozen=True)
class Reference:
    """A class or function of the user's.

    Attributes:
        name: Its name in the file or module, dotted for a method.
        file: Absolute path of a Python file; empty where a module is named.
        module: Name of a module, importable from ``folder``.
        folder: The study file's folder.
        node: Its definition; None where that is not a plain ``def`` or ``class`` at the top of the module.
        owner: For ``Class.method``, the definition of the class; None likewise.
        source: The file that both are in.
    """

    name: str
    file: str
    module: str
    folder: str
    node: Function | ast.ClassDef | None = None
    owner: ast.ClassDef | None = None
    source: str = ""

    def __str__(self) -> str:
        return f"{self.file or self.module}:{self.name}"

    @property
    def where(self) -> str:
        """``train.py:12``; the file or module alone where the line is not known."""
        if self.node is not None:
            return f"{Path(self.source).name}:{self.node.lineno}"
        return Path(self.file).name if self.file else self.module


def is_reference(text: str) -> bool:
    """Whether ``text`` has the form of a reference, and not that of a short name.

    >>> is_reference("mine.py:Sampler"), is_reference("tpe")
    (True, False)
    """
    return ":" in text or text.endswith(".py") or "/" in text


def find_reference(text: str, folder: Path, *, what: str = "function", others: Sequence[str] = ()) -> Reference:
    """The class or function that ``text`` names.

    Args:
        text: ``path/to/file.py:Name`` or ``package.module:Name``; a name of the form ``Class.method`` is a method.
        folder: The study file's folder. Relative paths start here, and modules are searched here first.
        what: ``function`` or ``class``, for messages.
        others: Short names that ``text`` could mean, for messages.

    Raises:
        UserError: Without a place: ``text`` has another form, or the file, the module or the name does not exist.
    """
    target, colon, name = text.rpartition(":")
    if not colon or not target or not _DOTTED.fullmatch(name):
        form = _FORM.format("Class" if what == "class" else "function")
        raise UserError(f"must be {form}, but is '{text}'{nearest(text, others) if text.isidentifier() else ''}")
    if target.endswith(".py") or "/" in target:
        path = Path(os.path.abspath(folder / os.path.expanduser(target)))
        if not path.is_file():
            here = [p.name for p in sorted(folder.glob("*.py"))]
            hint = nearest(path.name, here) if path.parent == folder and here else ""
            raise UserError(f"there is no file {path}{hint}")
        return Reference(name, str(path), "", str(folder), *find_definition(path, name, what=what), str(path))
    if not all(part.isidentifier() for part in target.split(".")):
        raise UserError(f"'{target}' is neither a file.py nor the name of a module")
    spec = find_module(target, folder)
    if spec is None:
        file = folder / (target.replace(".", "/") + ".py")
        message = f"there is no module '{target}' in {folder} or among the installed packages (looked for {file.name})"
        raise UserError(message)
    if not spec.origin or not spec.origin.endswith(".py"):
        return Reference(name, "", target, str(folder))
    found = find_definition(Path(spec.origin), name, what=what)
    return Reference(name, "", target, str(folder), *found, spec.origin)


def find_module(name: str, *folders: Path) -> ModuleSpec | None:
    """Find a module without importing anything; ``importlib.util.find_spec`` would import its parent packages.

    Args:
        name: Its dotted name.
        folders: Searched first, in this order.
    """
    path: list[str] | None = None
    spec = None
    saved = list(sys.path)
    sys.path[:0] = [str(folder) for folder in folders]
    try:
        for depth, _ in enumerate(parts := name.split(".")):
            spec = _first_spec(".".join(parts[: depth + 1]), path)
            if spec is None or (depth + 1 < len(parts) and spec.submodule_search_locations is None):
                return None
            path = list(spec.submodule_search_locations or ())
    finally:
        sys.path[:] = saved
    return spec


def _first_spec(name: str, path: list[str] | None) -> ModuleSpec | None:
    """What the first of ``sys.meta_path`` that knows the module says of it."""
    for finder in sys.meta_path:
        spec = finder.find_spec(name, path)
        if spec is not None:
            return spec
    return None


def find_definition(
    path: Path, name: str, *, what: str = "function"
) -> tuple[Function | ast.ClassDef | None, ast.ClassDef | None]:
    """The definition of ``name``, dotted for a method, in the file at ``path``, and that of the method's class.

    Returns:
        None for what is bound otherwise: by an import, an assignment, or in a base class.

    Raises:
        UserError: The file is not valid Python, or does not define ``name``.
    """
    try:
        tree = ast.parse(path.read_bytes(), filename=str(path))
    except SyntaxError as error:
        raise UserError(f"{path}:{error.lineno} is not valid Python: {error.msg}") from None
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
    first, *rest = name.split(".")
    names = list(bound_names(tree.body))
    if first not in names and "*" not in names and "__getattr__" not in names:
        kinds = ast.ClassDef if what == "class" else Function | ast.ClassDef
        known = [node.name for node in tree.body if isinstance(node, kinds)]
        raise UserError(f"{path.name} has no {what} '{first}'{nearest(first, known)}")
    _check_no_constant(tree.body, first, path, what)
    node, owner = _defined(tree.body, first), None
    for part in rest:
        if not isinstance(node, ast.ClassDef):
            if node is not None:
                raise UserError(f"'{name}': {node.name} in {path.name}:{node.lineno} is a function, not a class")
            return None, None
        owner, inner = node, list(bound_names(node.body))
        if part not in inner and not _may_have(node, part):
            methods = [each.name for each in node.body if isinstance(each, Function) and each.name[:2] != "__"]
            message = f"the class {node.name} in {path.name}:{node.lineno} has no method '{part}'"
            raise UserError(f"{message}{nearest(part, methods)}")
        node = _defined(node.body, part)
    return node, owner


def _defined(body: list[ast.stmt], name: str) -> Function | ast.ClassDef | None:
    """The last plain definition of ``name``; None where another statement binds it as well."""
    found = [node for node in body if name in bound_names([node])]
    last = found[-1] if found else None
    return last if isinstance(last, Function | ast.ClassDef) else None


def _check_no_constant(body: Sequence[ast.stmt], name: str, path: Path, what: str) -> None:
    """Raise UserError where the last statement that binds ``name`` gives it a number, a text, a list or the like."""
    found = [node for node in body if name in bound_names([node])]
    if found and isinstance(found[-1], ast.Assign | ast.AnnAssign):
        value = found[-1].value
        if isinstance(value, ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.JoinedStr):
            text = ast.unparse(value)
            raise UserError(f"'{name}' in {path.name}:{found[-1].lineno} is {text[:40]}, not a {what}")


def _may_have(node: ast.ClassDef, attribute: str) -> bool:
    """Whether instances may have the attribute from elsewhere than the names in the class's body."""
    if not _has_plain_bases(node) or {"__getattr__", "__getattribute__", "__slots__"} & set(bound_names(node.body)):
        return True
    calls = (each.func.id for each in ast.walk(node) if isinstance(each, ast.Call) and isinstance(each.func, ast.Name))
    stores = (each for each in ast.walk(node) if isinstance(each, ast.Attribute) and isinstance(each.ctx, ast.Store))
    return "setattr" in calls or attribute in (each.attr for each in stores)


def bound_names(body: Sequence[ast.stmt]) -> Iterator[str]:
    """Names that statements define, also inside ``if``, ``try``, ``with`` and loops."""
    for node in body:
        if isinstance(node, Function | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
        for inner in ("body", "orelse", "finalbody"):
            if isinstance(node, ast.If | ast.Try | ast.With | ast.For | ast.While):
                yield from bound_names(getattr(node, inner, []))
        for handler in getattr(node, "handlers", []):
            yield from bound_names(handler.body)


# -- what a definition takes ------------------------------------------------------------------------------------------


def constructor(node: ast.ClassDef) -> Function | None:
    """``__init__`` as the class itself defines it; None where a base, a decorator or a metaclass may have another."""
    if node.decorator_list or node.keywords:
        return None
    return next((each for each in node.body if isinstance(each, ast.FunctionDef) and each.name == "__init__"), None)


def _needs_no_instance(method: ast.FunctionDef) -> bool:
    names = [each.id for each in method.decorator_list if isinstance(each, ast.Name)]
    return "staticmethod" in names or "classmethod" in names


def defines(node: ast.ClassDef, method: str) -> bool:
    """Whether the class has this method, or may have it from elsewhere."""
    return method in bound_names(node.body) or not _has_plain_bases(node)


def _has_plain_bases(node: ast.ClassDef) -> bool:
    bases = [base for base in node.bases if not (isinstance(base, ast.Name) and base.id == "object")]
    return not (bases or node.keywords or node.decorator_list)


def argument_problem(reference: Reference, args: Sequence[str]) -> tuple[str, str]:
    """Why the code does not take these keyword arguments, as far as its text shows it.

    Returns:
        A sentence, and the argument that it is about; both empty where it takes them, or where that is not known
        before the code is imported.
    """
    node = reference.node
    if isinstance(node, ast.FunctionDef) and reference.owner is not None:
        if _needs_no_instance(node):
            return "", ""
        node = reference.owner
    what = f"{node.name} in {Path(reference.source).name}:{node.lineno}" if node is not None else ""
    if isinstance(node, ast.ClassDef):
        function, bound = constructor(node), 1
        if function is None:
            if _has_plain_bases(node) and args:
                return f"{what} takes no arguments, since it has no __init__", args[0]
            return "", ""
    elif isinstance(node, ast.FunctionDef) and not node.decorator_list:
        function, bound = node, 0
    else:
        return "", ""
    taken = function.args
    names = [each.arg for each in (*taken.posonlyargs, *taken.args)][bound:]
    keywords = [*names[max(0, len(taken.posonlyargs) - bound) :], *(each.arg for each in taken.kwonlyargs)]
    unknown = next((name for name in args if name not in keywords), None)
    if unknown is not None and taken.kwarg is None:
        return f"{what} has no argument '{unknown}'{nearest(unknown, keywords)}", unknown
    if not isinstance(node, ast.ClassDef):
        return "", ""
    optional = len(taken.defaults)
    required = names[: len(names) - optional] if optional else names
    required += [each.arg for each, default in zip(taken.kwonlyargs, taken.kw_defaults, strict=True) if default is None]
    missing = [name for name in required if name not in args]
    if missing:
        return f"{what} needs {', '.join(map(repr, missing))}", ""
    return "", ""
