"""The global parametrisation of closed surfaces, their handles cut, by a flat torus."""

from .maps import HANDLES, Torus, torus

__all__ = ["HANDLES", "Torus", "torus"]
