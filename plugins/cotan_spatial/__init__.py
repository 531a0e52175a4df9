"""Convolution by neighbours: each vertex gathers from those whose edges reach it."""

from . import (
    adjacency,
    aggregate,
    appnp,
    edge_coordinates,
    edgeconv,
    gat,
    gatv2,
    gaussian,
    gcn,
    gin,
    sage,
    sgc,
    transformer,
)

__all__ = [
    "adjacency",
    "aggregate",
    "appnp",
    "edge_coordinates",
    "edgeconv",
    "gat",
    "gatv2",
    "gaussian",
    "gcn",
    "gin",
    "sage",
    "sgc",
    "transformer",
]
