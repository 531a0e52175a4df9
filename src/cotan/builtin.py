"""Importing this registers the core's own operators and tasks. The first variant of a name wins by default."""

from __future__ import annotations

from importlib import import_module

OPERATORS = (
    "edge_index",
    "laplacian",
    "graph_laplacian",
    "mass",
    "robust_laplacian",
    "normalized_pos",
    "face_areas",
    "edge_lengths",
    "normals",
    "tangent_frames",
    "gradient",
    "face_gradient",
    "mesh_report",
    "spectrum",
    "fourier",
    "curvatures",
    "heat_diffusion",
    "heat_kernel_signature",
    "wave_kernel_signature",
    "global_point_signature",
    "shape_dna",
    "pseudo_coordinates",
    "neighbours",
    "farthest_points",
    "geodesic_distance",
    "logarithmic_map",
    "ring_neighbours",
    "geodesic_polar",
)

for _name in OPERATORS:
    import_module(f".operators.{_name}", __package__)

from . import augment, stack, tasks  # noqa: E402, F401
