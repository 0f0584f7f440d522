"""Describes site files for lists of sites, even files that cannot be used."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...yamlfile import YamlFile, read_yaml
from .load import UnsetVariables, load_site
from .locate import find_sites

_REQUIRED = re.compile(r"\$\{(\w+)\}")


@dataclass(frozen=True)
class SiteOutline:
    """A site in a list.

    Attributes:
        name: The name by which it is found.
        path: Its file.
        scheduler: Its scheduler; empty when the file does not say.
        pools: Names of the pools that are on.
        unset: Environment variables that it needs but that are not set.
        error: Why it cannot be used, in a sentence; empty when it can, or when only variables are missing.
    """

    name: str
    path: Path
    scheduler: str = ""
    pools: tuple[str, ...] = ()
    unset: tuple[str, ...] = ()
    error: str = ""


def outlines() -> list[SiteOutline]:
    """All sites that can be named, sorted by name. Of several files with the same name, only the one that is used."""
    return [outline(name, path) for name, path in sorted(find_sites().items())]


def outline(name: str, path: Path) -> SiteOutline:
    """Describe the site ``name`` in a file. Mistakes in the file are part of the description, not raised."""
    try:
        source = read_yaml(path, what="site file")
    except UserError as error:
        return SiteOutline(name, path, error=str(error))
    unset = tuple(sorted(variable for variable in _required(source) if not os.environ.get(variable)))
    scheduler = str(source.data.get("scheduler") or "")
    try:
        site = load_site(path)
    except UnsetVariables:
        return SiteOutline(name, path, scheduler, _pools(source), unset)
    except UserError as error:
        return SiteOutline(name, path, scheduler, _pools(source), unset, str(error))
    return SiteOutline(name, path, site.scheduler, tuple(pool.name for pool in site.pools if pool.is_on), unset)


def _required(source: YamlFile) -> set[str]:
    """The environment variables that are used without a default, anywhere but in ``setup``."""

    def texts(value: Any) -> list[str]:
        if isinstance(value, Mapping):
            return [text for item in value.values() for text in texts(item)]
        if isinstance(value, list):
            return [text for item in value for text in texts(item)]
        return [value] if isinstance(value, str) else []

    data = {key: value for key, value in source.data.items() if key != "setup"}
    return {variable for text in texts(data) for variable in _REQUIRED.findall(text)}


def _pools(source: YamlFile) -> tuple[str, ...]:
    """Names of the pools in a file that was not checked, without those that are certainly off."""
    pools = source.data.get("pools")
    return tuple(name for name, pool in pools.items() if not _is_off(pool)) if isinstance(pools, Mapping) else ()


def _is_off(pool: Any) -> bool:
    blocks = pool.get("blocks") if isinstance(pool, Mapping) else None
    return isinstance(blocks, Mapping) and blocks.get("max") == 0
