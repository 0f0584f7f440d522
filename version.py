"""Pilotune's version. It stands in a module of its own, so that rooms need not import the whole package for it."""

from __future__ import annotations

__version__ = "0.2.0"
