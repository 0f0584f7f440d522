"""Site files, which describe computers: their scheduler, pools of workers, modules and network."""

from .load import SITE_KEYS, load_site
from .locate import SHIPPED, find_sites, site_folders, site_path
from .schema import DriverJob
from .spec import BlockCounts, Network, PoolSpec, Site, node_hours, render_site, site_json, with_affinity

__all__ = [
    "SHIPPED",
    "SITE_KEYS",
    "BlockCounts",
    "DriverJob",
    "Network",
    "PoolSpec",
    "Site",
    "find_sites",
    "load_site",
    "node_hours",
    "render_site",
    "site_folders",
    "site_json",
    "site_path",
    "with_affinity",
]
