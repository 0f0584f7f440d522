"""At which sites the campaigns of a study had their pools, and what such a pool is called with and without its site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..attributes import SETUP


def sites_of(attrs: Mapping[str, Any], campaign: str) -> tuple[str, Mapping[str, str]]:
    """The site of a campaign; of one on several sites also the site of each pool.

    Args:
        attrs: The study's system attributes.
        campaign: The campaign's id. Nothing is known of campaigns of earlier versions, so their site is empty.
    """
    setup = attrs.get(SETUP + campaign)
    kept = setup if isinstance(setup, Mapping) else {}
    by_pool = kept.get("pools")
    by_pool = by_pool if isinstance(by_pool, Mapping) else {}
    return str(kept.get("site", "")), {str(pool): str(site) for pool, site in by_pool.items()}


def with_site(pool: str, site: str) -> str:
    """The name of a pool with its site, which it may have already.

    >>> with_site("cpu", "a"), with_site("a.cpu", "a"), with_site("cpu", "")
    ('a.cpu', 'a.cpu', 'cpu')
    """
    return pool if not site or pool.startswith(f"{site}.") else f"{site}.{pool}"


def names_of(pool: str, site: str) -> tuple[str, str]:
    """What a pool is called without its site and with it; both are the same where its site is not known.

    A campaign on several sites may know a pool by the second name, and one on a single site by the first.

    >>> names_of("cpu", "a"), names_of("b.cpu", "b")
    (('cpu', 'a.cpu'), ('cpu', 'b.cpu'))
    """
    return without_site(pool, site), with_site(pool, site)


def without_site(pool: str, site: str) -> str:
    """The name of a pool without its site.

    >>> without_site("a.cpu", "a"), without_site("a.cpu", ""), without_site("cpu", "a")
    ('cpu', 'a.cpu', 'cpu')
    """
    return pool.removeprefix(f"{site}.") if site else pool
