"""Networks of a study's graph: what an objective imports to build the network of its trial.

::

    from pilotune.architecture import build

    def train(trial):
        net = build(trial.params, "net")

Imports PyTorch only when a network is built.
"""

from .pipeline.architecture.build import build
from .pipeline.architecture.graph import Graph
from .pipeline.architecture.indices import from_indices
from .pipeline.architecture.inherit import inherit
from .pipeline.architecture.network import Network, network

__all__ = ["Graph", "Network", "build", "from_indices", "inherit", "network"]
