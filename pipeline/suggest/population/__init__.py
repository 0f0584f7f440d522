"""Population-based training: what new members and copies get as parameters. The campaign decides who is copied.

The campaign (``pipeline/campaign/population.py``) writes to a copy from which trial and step it starts; these samplers
change the parameters of that trial, at random (``pbt``) or by a model of what had improved the members (``pb2``).
"""

from .pb2 import PB2Sampler
from .pbt import PBTSampler

__all__ = ["PB2Sampler", "PBTSampler"]
