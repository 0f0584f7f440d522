"""The keys that ``--set`` can change, for completion in the shell: those of study and site files, pools, parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem


def complete(ctx: click.Context, incomplete: str) -> list[CompletionItem]:
    """The keys that begin with ``incomplete``; after ``KEY=``, the values of a key that has few.

    The study, or the study file, and the site are those on the command line as far as it is typed.
    """
    from ..studyfile.keys import values_of

    study, sites = files(ctx)
    if "=" in incomplete:
        key, begun = incomplete.split("=", 1)
        found = [f"{key}={value}" for value in values_of(key) if value.startswith(begun)]
    else:
        found = [f"{key}=" for key in all_keys(study, sites) if key.startswith(incomplete)]
    return [CompletionItem(text) for text in found]


def all_keys(study: Mapping[str, Any], sites: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The keys of a study file and of site files with this content; ``sites``: by what stands before their keys."""
    from ..studyfile.keys import study_keys

    keys = study_keys(study)
    for prefix, site in sites.items():
        keys += [f"{prefix}{key}" for key in site_keys(site)]
    return sorted(dict.fromkeys(keys))


def site_keys(site: Mapping[str, Any]) -> list[str]:
    """The keys of a site file with this content."""
    from ...providers.site.schema import PoolSchema, SiteSchema
    from ..studyfile.keys import schema_keys

    keys = [key for key in schema_keys(SiteSchema) if key not in ("name", "pools")]
    for pool in mapping(site.get("pools")) or ("local",):
        keys += [f"pools.{pool}.{key}" for key in schema_keys(PoolSchema)]
    return keys


def mapping(value: Any) -> Mapping[str, Any]:
    """``value`` if it is a mapping, else an empty one."""
    return value if isinstance(value, dict) else {}


def files(ctx: click.Context) -> tuple[Mapping[str, Any], Mapping[str, Mapping[str, Any]]]:
    """The content of the study file and the site files of a command line; empty where there is none, or a broken one.

    The site files are by what stands before their keys: nothing for one, ``SITE.`` for each of several.
    """
    # While its value is completed, --set is incomplete, so click may leave the arguments unread in `args`.
    words = [ctx.params.get(name) for name in ("study", "name")]
    study = next((str(word) for word in (*words, *ctx.args) if word and not str(word).startswith("-")), None)
    if ctx.command.name in ("show", "check") and ctx.parent is not None and ctx.parent.command.name == "site":
        return {}, {"": read_site(study)}
    names: tuple[str, ...] = ctx.params.get("sites") or ()
    if len(names) < 2:
        return read_study_file(study), {"": read_site(names[0] if names else None)}
    sites = {name: read_site(name) for name in names}
    stems = {name: Path(name).stem if name.endswith((".yaml", ".yml")) else name for name in names}
    return read_study_file(study), {f"{site.get('name') or stems[name]}.": site for name, site in sites.items()}


def read_study_file(word: str | None) -> Mapping[str, Any]:
    """The study file that a STUDY or a NAME means, as it is written."""
    from ..record import known_studies
    from ..studies.resolve import study_path

    def path() -> Path:
        entry = next((entry for entry in known_studies.all() if entry.name == word), None)
        return entry.study_file if entry is not None else study_path(word or ".")

    return read(path)


def read_site(word: str | None) -> Mapping[str, Any]:
    """The site file that a name or a path means, as it is written."""
    from ...providers.site.locate import site_path

    return read(lambda: site_path(word)) if word else {}


def read(path: Callable[[], Path]) -> Mapping[str, Any]:
    """The content of a YAML file; empty if it cannot be found or read."""
    from ...errors import PilotuneError
    from ...yamlfile import read_yaml

    try:
        return mapping(read_yaml(path()).data)
    except (PilotuneError, OSError):
        return {}
