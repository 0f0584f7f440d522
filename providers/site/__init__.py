"""Site files, which describe computers: their scheduler, pools of workers, modules and network."""

from .load import SITE_KEYS, load_site
from .locate import SHIPPED, find_sites, site_folders, site_path
from .schema import DriverJob
from .several import ambiguous_pool, is_of_site, known_pools, load_sites, site_heads
from .spec import (
    BlockCounts,
    Network,
    PoolSpec,
    Shape,
    Site,
    node_hours,
    render_site,
    shapes_in_words,
    site_json,
    with_affinity,
)

__all__ = [
    "SHIPPED",
    "SITE_KEYS",
    "BlockCounts",
    "DriverJob",
    "Network",
    "PoolSpec",
    "Shape",
    "Site",
    "ambiguous_pool",
    "find_sites",
    "is_of_site",
    "known_pools",
    "load_site",
    "load_sites",
    "node_hours",
    "render_site",
    "shapes_in_words",
    "site_folders",
    "site_heads",
    "site_json",
    "site_path",
    "with_affinity",
]
