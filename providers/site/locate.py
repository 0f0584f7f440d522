"""Where site files are, and which of them a name means."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UserError
from ...yamlfile import nearest, read_yaml

SHIPPED = Path(__file__).resolve().parents[2] / "site-configs"


def site_folders() -> list[Path]:
    """Where site files are looked up, in order."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = [Path(part).expanduser() for part in os.environ.get("PILOTUNE_SITES", "").split(os.pathsep) if part]
    return [Path.cwd(), *named, config / "pilotune" / "sites", SHIPPED]


def find_sites() -> dict[str, Path]:
    """The sites that can be named, with their files; one that is found first hides later ones.

    In the working directory, where YAML files are of all kinds, only those that have the key ``scheduler`` count.
    """
    found: dict[str, Path] = {}
    for folder in site_folders():
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            if path.stem not in found and (folder != Path.cwd() or _is_site(path)):
                found[path.stem] = path
    return found


def site_path(name_or_path: str | Path) -> Path:
    """The file that is meant: a path is anything with a slash, or that ends in .yaml or .yml; the rest are names.

    Raises UserError where no site has this name.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or "/" in text or text.endswith((".yaml", ".yml")):
        return Path(name_or_path).expanduser()
    sites = find_sites()
    if text in sites:
        return sites[text]
    folders = ", ".join(str(folder) for folder in site_folders())
    raise UserError(
        f"there is no site '{text}'{nearest(text, sites)} (looked for {text}.yaml in {folders})", key="--site"
    )


def _is_site(path: Path) -> bool:
    try:
        return "scheduler" in read_yaml(path).data
    except UserError:
        return False
