"""Site files: a computer as Pilotune sees it. Scheduler, pools of workers, modules, network."""

from .load import SITE_KEYS, load_site
from .locate import SHIPPED, find_sites, site_folders, site_path
from .spec import BlockCounts, DriverJob, Network, PoolSpec, Site, node_hours, render_site, site_json

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
]
