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


def without_site(pool: str, site: str) -> str:
    """The name of a pool without its site.

    >>> without_site("a.cpu", "a"), without_site("a.cpu", ""), without_site("cpu", "a")
    ('cpu', 'a.cpu', 'cpu')
    """
    return pool.removeprefix(f"{site}.") if site else pool
