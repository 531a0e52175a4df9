"""The global parametrisation of closed surfaces, their handles cut, by a flat torus."""

from .maps import HANDLES, Torus, torus
from .picture import chart_figure

__all__ = ["HANDLES", "Torus", "chart_figure", "torus"]
