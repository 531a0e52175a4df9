"""Surfaces: learned diffusion, and a global chart on the flat torus."""

from . import diffusion, diffusion_weights, toric, torus

__all__ = ["diffusion", "diffusion_weights", "toric", "torus"]
