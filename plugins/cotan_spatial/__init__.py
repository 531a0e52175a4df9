"""Convolution by neighbours: each vertex gathers from those whose edges reach it."""

from . import (
    adjacency,
    aggregate,
    appnp,
    coarsen,
    edge_coordinates,
    edgeconv,
    gat,
    gatv2,
    gaussian,
    gcn,
    gin,
    pooling,
    pyramid,
    sage,
    sgc,
    transformer,
)

__all__ = [
    "adjacency",
    "aggregate",
    "appnp",
    "coarsen",
    "edge_coordinates",
    "edgeconv",
    "gat",
    "gatv2",
    "gaussian",
    "gcn",
    "gin",
    "pooling",
    "pyramid",
    "sage",
    "sgc",
    "transformer",
]
