"""Geodesic polar coordinates of the neighbourhood of every vertex at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..registry import operator
from .checks import check_edges, check_mesh
from .edge_index import half_edges
from .front import march
from .intrinsic_delaunay import side_lengths
from .pseudo_coordinates import angle_of

SWEEPS = 20  # over the faces, at most: one for each ring of neighbours and few more is common


@operator(per="edge", invariant_to=("rigid",), version=2)
def geodesic_polar(pos: Tensor, face: Tensor, tangent_frames: Tensor, ring_neighbours: Tensor) -> Tensor:
    """(radius, angle) of j about i for each pair j -> i: geodesic distance, and direction in i's tangent plane. (P, 2)

    Along the edges at i, length and projected direction. From there the front moves over faces: a face is unfolded
    beside the straight lines to two of its vertices, which gives the third (after Melvaer and Reimers 2012). Paths stay
    among the neighbours of i; through obtuse corners they follow edges, which on thin triangles is too long. Of ways
    equally long, the first in the order of faces gives the angle, from -pi to pi. No derivative with respect to pos.

    Arguments:
        pos: (V, 3). face: (3, F). tangent_frames: (V, 3, 3).
        ring_neighbours: (2, P), the pairs; those along an edge among them.
    """
    refuse_derivatives(pos, "geodesic_polar")
    pos, face = check_mesh(pos, face)
    size = len(pos)
    other, centre = check_edges(ring_neighbours, size)
    here = torch.arange(size, device=pos.device)
    key, order = torch.sort(torch.cat([centre * size + other, here * (size + 1)]))  # with each vertex about itself
    centre, other = key // size, key % size

    source, target = half_edges(face)
    adjacent = torch.isin(key, torch.cat([source * size + target, target * size + source]))
    offset = pos[other] - pos[centre]
    flat = (tangent_frames.to(pos.dtype)[centre, :2] @ offset[..., None])[..., 0]
    radius = torch.where(adjacent, torch.linalg.vector_norm(offset, dim=1), math.inf)
    radius = torch.where(centre == other, 0, radius)
    angle = angle_of(flat, offset)

    fixed = adjacent | (centre == other)
    radius, angle, _ = march(size, face, side_lengths(pos, face), key, radius, angle, centre, fixed, SWEEPS)
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    found = torch.stack([radius, angle], 1)
    unsorted = torch.empty_like(found)
    unsorted[order] = found
    return unsorted[: ring_neighbours.shape[1]]
