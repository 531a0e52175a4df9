"""Surfaces: learned diffusion, and a global chart on the flat torus."""

from . import diffusion, diffusion_weights, log_signature, toric, torus

__all__ = ["diffusion", "diffusion_weights", "log_signature", "toric", "torus"]
