"""Surfaces: a global chart on the flat torus."""

from . import toric, torus

__all__ = ["toric", "torus"]
