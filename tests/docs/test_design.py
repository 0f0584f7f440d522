"""docs/design.md says what the code does: the pictures of imports, the layers, paths and names."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pilotune.pipeline.campaign.flight_states import TRANSITIONS, State
from pilotune.pipeline.worker.dialogue import RequestState, TrialState

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs/design.md").read_text(encoding="utf-8")


def helpers() -> set[str]:
    """Modules that the pictures leave out: the page names those at the top, then those in ``pipeline/``."""
    paragraph = re.search(r"^Helper modules are left out.*?other\.$", PAGE, flags=re.MULTILINE | re.DOTALL)
    assert paragraph
    top, inside = paragraph[0].split("and in `pipeline/`")
    paths = re.findall(r"`(\w+\.py)`", top) + [f"pipeline/{name}" for name in re.findall(r"`(\w+\.py)`", inside)]
    return {"__init__.py", *paths}


HELPERS = helpers()

TOOLS = {"schema_docs.py", "architecture.py", "ensemble.py"}
"""Programs for developers, and public names for objectives and users: nothing here imports them."""


def sources() -> list[Path]:
    """All modules of the package, relative to the repository."""
    inside = [path for top in ("pipeline", "providers", "objectives") for path in (REPOSITORY / top).rglob("*.py")]
    modules = [path.relative_to(REPOSITORY) for path in [*inside, *REPOSITORY.glob("*.py")]]
    return sorted(path for path in modules if "templates" not in path.parts and path.as_posix() not in TOOLS)


def module_file(parts: list[str]) -> Path | None:
    """The file of a dotted name below ``pilotune``; what follows the module's own name is a name in it."""
    for length in range(len(parts), -1, -1):
        path = Path(*parts[:length])
        for candidate in (path.with_suffix(".py") if length else None, path / "__init__.py"):
            if candidate and (REPOSITORY / candidate).is_file():
                return candidate
    return None


def imported_files(module: Path) -> Iterator[Path]:
    """The files of the package that ``module`` imports: at its top, inside functions, and for type checkers."""
    for node in ast.walk(ast.parse((REPOSITORY / module).read_text(encoding="utf-8"))):
        names: list[list[str]] = []
        if isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = ["pilotune", *module.parent.parts]
            base = package[: len(package) - node.level + 1] if node.level else []
            base += (node.module or "").split(".") if node.module else []
            names = [[*base, alias.name] for alias in node.names]
        for name in names:
            if name[0] == "pilotune" and (found := module_file(name[1:])):
                yield found


def room_of(path: Path) -> str | None:
    """The room a file belongs to: a folder, or ``pipeline/space.py``; None for helper modules."""
    text = path.as_posix()
    if text in HELPERS or text in ("pipeline/__init__.py", "providers/__init__.py"):
        return None
    return path.parts[0] if path.parts[0] == "objectives" else "/".join(path.parts[:2])


@cache
def imports() -> dict[tuple[str, str], str]:
    """Arrows between rooms, each with one import that makes it."""
    found: dict[tuple[str, str], str] = {}
    for module in sources():
        source = room_of(module)
        for target_file in imported_files(module):
            target = room_of(target_file)
            if source and target and source != target:
                found.setdefault((source, target), f"{module} imports {target_file}")
    return found


def whole(room: str) -> str:
    """The room in the first picture, which shows ``providers`` as one."""
    return "providers" if room.startswith("providers/") else room


def picture(number: int) -> tuple[set[str], set[tuple[str, str]]]:
    """The rooms and the arrows of the page's picture ``number``, by the paths in its labels."""
    text = re.findall(r"```mermaid\n(.*?)```", PAGE, flags=re.DOTALL)[number]
    rooms = dict(re.findall(r'^ *(\w+)\["([\w./]+)<br>', text, flags=re.MULTILINE))
    arrows = re.findall(r"^ *(\w+) --> ([\w &]+)$", text, flags=re.MULTILINE)
    return set(rooms.values()), {(rooms[a], rooms[b]) for a, several in arrows for b in several.split(" & ")}


def drawn_and_real(number: int) -> tuple[set[tuple[str, str]], dict[tuple[str, str], str]]:
    """The arrows of a picture, and those that the imports make, with their reasons."""
    _, arrows = picture(number)
    if number:
        inside = {pair: why for pair, why in imports().items() if all(room.startswith("providers/") for room in pair)}
        return arrows, inside
    real: dict[tuple[str, str], str] = {}
    for (source, target), why in imports().items():
        if whole(source) != whole(target):
            real.setdefault((whole(source), whole(target)), why)
    return arrows, real


@pytest.mark.parametrize("number", [0, 1])
def test_the_picture_has_every_arrow_and_no_other(number):
    arrows, real = drawn_and_real(number)
    missing = {pair: why for pair, why in real.items() if pair not in arrows}
    assert not missing, f"docs/design.md lacks these arrows: {missing}"
    invented = arrows - set(real)
    assert not invented, f"docs/design.md has arrows that no import makes: {invented}"


def test_the_pictures_have_every_room():
    rooms = {room for module in sources() if (room := room_of(module))}
    assert picture(0)[0] == {whole(room) for room in rooms}
    assert picture(1)[0] == {room for room in rooms if room.startswith("providers/")}


def test_helper_modules_import_only_each_other():
    undefined = {
        f"{module} imports {target}"
        for module in sources()
        if module.as_posix() in HELPERS and module.name != "__init__.py"
        for target in imported_files(module)
        if target.as_posix() not in HELPERS
    }
    assert not undefined


def test_rooms_import_only_rooms_on_lower_layers():
    lines = re.findall(r"```text\n(.*?)```", PAGE, flags=re.DOTALL)[0].split("\n")
    layer = {name: depth for depth, line in enumerate(lines) for name in line.split(", ") if name}
    _, real = drawn_and_real(0)
    short = {pair: tuple(Path(room).stem for room in pair) for pair in real}
    assert {name for pair in short.values() for name in pair} == set(layer)
    upwards = {pair: why for pair, why in real.items() if layer[short[pair][0]] >= layer[short[pair][1]]}
    assert not upwards


def test_every_path_on_the_page_exists():
    paths = set(re.findall(r"`((?:pipeline|providers|objectives|site-configs|tests)/[\w./-]*)`", PAGE))
    assert len(paths) > 50
    assert [path for path in sorted(paths) if not (REPOSITORY / path).exists()] == []


def test_every_name_on_the_page_is_defined_in_its_file():
    pairs = re.findall(r"((?:`\w+`(?:, | and | or )?)+)\s+in\s+`([\w/-]+\.py)`", PAGE)
    named = [(name, path) for names, path in pairs for name in re.findall(r"`(\w+)`", names)]
    assert len(named) > 30
    unknown = []
    for name, path in named:
        text = (REPOSITORY / path).read_text(encoding="utf-8")
        if not re.search(rf"^(class|def) {name}\b|^{name}\b.* = ", text, flags=re.MULTILINE):
            unknown.append((name, path))
    assert not unknown


def part(title: str) -> str:
    """The section of the page under the heading ``title``."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def test_every_state_of_a_flight_and_every_move_is_on_the_page():
    text = part("The states of a flight")
    drawn = set(re.findall(r"^ *(\w+) --> (\w+): (\w+)$", text, flags=re.MULTILINE))
    assert drawn == {(a.name, b.name, move.name) for a, moves in TRANSITIONS.items() for move, b in moves.items()}
    assert re.findall(r"^\| ([A-Z_]+) \|", text, flags=re.MULTILINE) == [state.name for state in State]


def test_every_state_of_the_dialogue_is_on_the_page():
    rows = re.findall(
        r"^\| (?:.*: )?([A-Z_]+) \|", part("The worker's conversation with the driver"), flags=re.MULTILINE
    )
    assert rows == [state.name for kind in (TrialState, RequestState) for state in kind]
