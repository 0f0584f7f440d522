"""Finds site files by name."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import UserError
from ...yamlfile import nearest, read_yaml

SHIPPED = Path(__file__).resolve().parents[2] / "site-configs"
"""Folder of the site files that are installed with Pilotune."""


def site_folders() -> list[Path]:
    """The folders in which site files are looked up, in order."""
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    named = [Path(part).expanduser() for part in os.environ.get("PILOTUNE_SITES", "").split(os.pathsep) if part]
    return [Path.cwd(), *named, config / "pilotune" / "sites", SHIPPED]


def find_sites() -> dict[str, Path]:
    """All sites that can be named, with their files. The first file with a name hides later ones.

    In the working directory, which may have YAML files of all kinds, only files with the key ``scheduler`` count.
    """
    found: dict[str, Path] = {}
    for folder in site_folders():
        for path in sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")]):
            if path.stem not in found and (folder != Path.cwd() or _is_site(path)):
                found[path.stem] = path
    return found


def site_path(name_or_path: str | Path) -> Path:
    """The site file for a name or a path. Anything with a slash, or that ends in .yaml or .yml, is a path.

    Raises UserError when no site has this name.
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
