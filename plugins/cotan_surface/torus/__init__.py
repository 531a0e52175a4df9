"""The global parametrisation of sphere-like shapes by a flat torus."""

from .maps import Torus, torus

__all__ = ["Torus", "torus"]
