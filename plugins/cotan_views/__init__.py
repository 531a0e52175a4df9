"""Shapes as pictures: a renderer in plain torch, and a network that looks at them.

`cameras` and `render` are functions of tensors; `raster` and `views` the nodes made of them; `multiview` the model.
"""

from . import multiview, views
from .cameras import Cameras, cameras
from .render import Raster, raster, render
from .retrieval import mean_average_precision, rank, retrieval_precision
from .sheet import contact_sheet

__all__ = [
    "Cameras",
    "Raster",
    "cameras",
    "contact_sheet",
    "mean_average_precision",
    "multiview",
    "rank",
    "raster",
    "render",
    "retrieval_precision",
    "views",
]
