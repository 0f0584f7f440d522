"""Several sites as one, for a campaign that runs on all of them at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ...errors import UserError
from ...grammar import listed
from ...yamlfile import read_yaml
from .load import SITE_KEYS, load_site
from .locate import find_sites, site_path
from .spec import Site


@dataclass(frozen=True)
class SiteHead:
    """What settings are addressed by, read from a site file that was not checked.

    Attributes:
        path: The file.
        name: The site's name.
        pools: The names of its pools.
    """

    path: Path
    name: str
    pools: tuple[str, ...]


def site_heads(names: Sequence[str | Path]) -> list[SiteHead]:
    """The heads of sites that are used together.

    Args:
        names: A name or a path each, as for :func:`.load.load_site`.

    Raises:
        UserError: A file cannot be read, is given twice, or two sites have the same name.
    """
    found: list[SiteHead] = []
    for given in names:
        path = site_path(given)
        data = read_yaml(path, what="site file").data
        head = SiteHead(path, str(data.get("name") or path.stem), tuple(map(str, _mapping(data.get("pools")))))
        for other in found:
            if other.path.resolve() == path.resolve():
                raise UserError(f"site {head.name} is given twice; a campaign uses each site once", key="--site")
            if other.name == head.name:
                message = f"{other.path} and {path} are both named {head.name}; give one of them another `name:`"
                raise UserError(message, key="--site")
        found.append(head)
    return found


def known_pools() -> list[str]:
    """The pools of all sites that can be named, each as ``SITE.POOL``; a file that cannot be read has none."""
    found: list[str] = []
    for path in find_sites().values():
        with suppress(UserError):
            found += [f"{head.name}.{pool}" for head in site_heads([path]) for pool in head.pools]
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def load_sites(names: Sequence[str | Path], overrides: Sequence[str] = ()) -> Site:
    """Read and check the site files of a campaign.

    Args:
        names: A name or a path each, as for :func:`.load.load_site`. None means this machine.
        overrides: Settings ``key=value``. With several sites, each says which of them it changes:
            ``theta.account=proj``, or ``pools.knl.walltime=1h`` where one site has such a pool.

    Returns:
        The site; of several, what :func:`joined` makes of them.

    Raises:
        UserError: A file has a mistake, a site is given twice, or it is not clear what a setting changes.

    >>> both = load_sites(["local", "slurm"], ["slurm.account=proj", "pools.local.workers_per_node=2"])
    >>> both.name, [pool.name for pool in both.pools], both.home("cpu").account
    ('local and slurm', ['local', 'cpu'], 'proj')
    """
    if len(names) < 2:
        return load_site(names[0] if names else "local", overrides)
    heads = site_heads(names)
    settings = settings_by_site(heads, overrides)
    return joined([load_site(head.path, settings[head.name]) for head in heads])


def settings_by_site(heads: Sequence[SiteHead], overrides: Sequence[str]) -> dict[str, list[str]]:
    """By site, the settings that change its file, as :func:`.load.load_site` takes them.

    Raises UserError for a setting of which it is not clear what it changes.

    >>> heads = [SiteHead(Path("a.yaml"), "a", ("cpu", "gpu")), SiteHead(Path("b.yaml"), "b", ("cpu",))]
    >>> settings_by_site(heads, ["pools.gpu.walltime=1h", "pools.b.cpu.queue=long", "a.poll=10s"])
    {'a': ['pools.gpu.walltime=1h', 'poll=10s'], 'b': ['pools.cpu.queue=long']}
    """
    found: dict[str, list[str]] = {head.name: [] for head in heads}
    for text in overrides:
        head, setting = _addressed(text, heads)
        found[head.name].append(setting)
    return found


def _addressed(text: str, heads: Sequence[SiteHead]) -> tuple[SiteHead, str]:
    """The site that a setting changes, and the setting without its name."""
    key = text.partition("=")[0].strip()
    for head in heads:
        if key.startswith(f"{head.name}.") and key.removeprefix(f"{head.name}.").split(".")[0] in SITE_KEYS:
            return head, text.strip().removeprefix(f"{head.name}.")
        if key.startswith(f"pools.{head.name}.") and _has_pool(head, key.removeprefix(f"pools.{head.name}.")):
            return head, text.strip().replace(f"pools.{head.name}.", "pools.", 1)
    able = [head for head in heads if key.startswith("pools.") and _has_pool(head, key.removeprefix("pools."))]
    if len(able) == 1:
        return able[0], text
    ways = " or ".join(f"{head.name}.{key}" for head in able or heads)
    why = "several of the sites have such a pool" if able else "it could be of each of the sites"
    raise UserError(f"{why}; write {ways}", file=f"--set {key}")


def _has_pool(head: SiteHead, rest: str) -> bool:
    return any(f"{rest}.".startswith(f"{name}.") for name in head.pools)


def is_of_site(key: str, names: Sequence[str]) -> bool:
    """Whether the key of a setting begins with the name of a site and goes on with a key of a site file.

    >>> is_of_site("theta.account", ["theta"]), is_of_site("theta.trials", ["theta"])
    (True, False)
    """
    parts = [key.removeprefix(f"{name}.") for name in names if key.startswith(f"{name}.")]
    return any(part.split(".")[0] in SITE_KEYS for part in parts)


def joined(sites: Sequence[Site]) -> Site:
    """Several sites as one, with the pools of all of them and the run directories of the first that names a folder.

    A pool whose name two sites have is called ``SITE.POOL``.

    Raises:
        UserError: Two pools have the same name even so.
    """
    often = Counter(pool.name for site in sites for pool in site.pools)
    parts = tuple(_renamed(site, often) for site in sites)
    pools = tuple(pool for part in parts for pool in part.pools)
    twice = [name for name, times in Counter(pool.name for pool in pools).items() if times > 1]
    if twice:
        raise UserError(f"the sites have two pools named {twice[0]}; rename one of them in its site file", key="--site")
    first = next((site for site in sites if site.source and site.source.data.get("runs")), sites[0])
    return Site(
        name=listed([site.name for site in sites]),
        scheduler=listed(list(dict.fromkeys(site.scheduler for site in sites))),
        pools=pools,
        runs=first.runs,
        poll=min(site.poll for site in sites),
        parts=parts,
    )


def _renamed(site: Site, often: Mapping[str, int]) -> Site:
    return site.with_pools(
        lambda pool: replace(pool, name=f"{site.name}.{pool.name}") if often[pool.name] > 1 else pool
    )


def ambiguous_pool(site: Site, name: str) -> list[str]:
    """What a pool that several sites have is called at each of them; empty where the name has one meaning, or none.

    >>> from dataclasses import replace
    >>> one = load_site("slurm")
    >>> ambiguous_pool(joined([one, replace(one, name="old")]), "cpu")
    ['slurm.cpu', 'old.cpu']
    """
    full = [f"{part.name}.{name}" for part in site.parts]
    return [each for each in full if any(pool.name == each for pool in site.pools)]
