"""Layers that PyTorch does not have as one module. A program of :mod:`.source` holds those that it uses.

The only module of this package, beside :mod:`.build`, that imports PyTorch. Each class needs ``torch`` and ``nn`` only.
"""

from __future__ import annotations

import torch
from torch import nn


class Attention(nn.Module):  # type: ignore[misc]
    """Self-attention over the steps of a sequence, after a normalization, added to its input."""

    def __init__(self, features: int, units: int, heads: int):
        super().__init__()
        self.project = nn.Identity() if features == units else nn.Linear(features, units)
        self.norm = nn.LayerNorm(units)
        self.attend = nn.MultiheadAttention(units, heads, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.project(x)
        normed = self.norm(x)
        return x + self.attend(normed, normed, normed, need_weights=False)[0]
