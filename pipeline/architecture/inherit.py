"""Gives a network the weights of another one, where layers have the same names and shapes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def inherit(net: nn.Module, state: Mapping[str, Any]) -> int:
    """Load what fits of another network's weights; the rest stays as it is.

    A layer is named after its node, so a child that differs from its parent at one node has the weights of all others,
    but where the shape of a layer follows from the node that changed.

    Args:
        net: The network.
        state: ``state_dict()`` of the other one.

    Returns:
        How many weights were loaded.

    Example:
        >>> from torch import nn
        >>> parent = nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 2))
        >>> inherit(nn.Sequential(nn.Linear(8, 4), nn.Linear(4, 3)), parent.state_dict())
        36
    """
    own = net.state_dict()
    fits = {name: value for name, value in state.items() if name in own and own[name].shape == value.shape}
    net.load_state_dict({**own, **fits})
    weights = dict(net.named_parameters())
    return sum(int(value.numel()) for name, value in fits.items() if name in weights)
