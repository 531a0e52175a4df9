"""Convolution by neighbours: each vertex gathers from those whose edges reach it."""

from . import (  # noqa: F401  (they register themselves)
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
    pyramid,
    sage,
    sgc,
    topk,
    transformer,
)
