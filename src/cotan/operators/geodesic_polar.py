"""Geodesic polar coordinates of the neighbourhood of every vertex at once."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..decorators import operator
from .checks import check_edges, check_mesh
from .front import TIE, march
from .intrinsic_delaunay import delaunay_headings, side_lengths
from .pseudo_coordinates import angle_of
from .ring_neighbours import widened

SWEEPS = 20  # over the faces, at most: one for each ring of neighbours and few more is common
PAIRS = 2**17  # about so many move at once, since each takes 1.4 kB meanwhile


@operator(per="edge", invariant_to=("rigid",), version=3)
def geodesic_polar(pos: Tensor, face: Tensor, tangent_frames: Tensor, ring_neighbours: Tensor) -> Tensor:
    """(radius, angle) of j about i for each pair j -> i: geodesic distance, and direction in i's tangent plane. (P, 2)

    Along the edges at i, length and projected direction. From there the front moves over faces: a face is unfolded
    beside the straight lines to two of its vertices, which gives the third (after Melvaer and Reimers 2012). The faces are
    those of the mesh and, where these are not Delaunay, of its intrinsic Delaunay triangulation, whose edges begin between
    those that they cross. Radii are off as `geodesic_distance` is: by 0.1% on average, by some percent at single pairs
    of thin triangles. Paths stay among the pairs, and those an edge of that triangulation further. Of ways
    equally long, the first in the order of faces gives the angle, from -pi to pi. No derivative with respect to pos.

    Arguments:
        pos: (V, 3). face: (3, F). tangent_frames: (V, 3, 3).
        ring_neighbours: (2, P), the pairs; those along an edge among them.
    """
    refuse_derivatives(pos, "geodesic_polar")
    pos, face = check_mesh(pos, face)
    size = len(pos)
    other, centre = check_edges(ring_neighbours, size)
    wanted, here = centre * size + other, torch.arange(size, device=pos.device) * (size + 1)

    given = face, side_lengths(pos, face), headings(pos, face, tangent_frames)
    flipped = delaunay_headings(*given)  # beside the given ones, by which all pairs are reached
    changed = (flipped[0] != face).any(0)
    face, length, heading = (torch.cat([a, b[..., changed]], -1) for a, b in zip(given, flipped, strict=True))
    side, reach = (face * size + ends(face)).view(-1), sides(length).view(-1)

    key = torch.cat([wanted, here]).unique()
    new = side[key[torch.searchsorted(key, side).clamp_max(len(key) - 1)] != side].unique()
    if len(new):
        key = widened(key, torch.stack([new // size, new % size]), size, 1)

    radius, angle = along_edges(len(key), torch.searchsorted(key, side), reach, heading.view(-1))
    radius[torch.searchsorted(key, here)] = 0
    centres = max(1, PAIRS * size // max(1, len(key)))
    cuts = torch.searchsorted(key, size * torch.arange(size, device=key.device)[centres::centres]).tolist()
    whole = (key, radius, angle, key // size, torch.isfinite(radius))
    parts = zip(*(each.tensor_split(cuts) for each in whole), strict=True)
    marched = [march(size, face, length, a, b, c, d, e, SWEEPS) for a, b, c, d, e in parts]
    radius, angle, _ = (torch.cat(each) for each in zip(*marched, strict=True))
    angle = torch.remainder(angle + math.pi, 2 * math.pi) - math.pi
    at = torch.searchsorted(key, wanted)
    chord = torch.linalg.vector_norm(pos[other] - pos[centre], dim=1)
    return torch.stack([torch.maximum(radius[at], chord), angle[at]], 1)


def along_edges(size: int, place: Tensor, reach: Tensor, heading: Tensor) -> tuple[Tensor, Tensor]:
    """Radius and angle (N,) of N pairs by the edges alone: of each the shortest, of equals the first; infinite without one.

    Arguments:
        size: N. place (S,): which pair each side joins. reach, heading (S,): its length, and the angle in which it begins.
    """
    radius = reach.new_full((size,), math.inf).scatter_reduce(0, place, reach, "amin")
    along = (reach <= TIE * radius[place]).nonzero()[:, 0]
    first = place.new_zeros(size).scatter_reduce(0, place[along], along, "amin", include_self=False)
    return radius, heading[first]


def headings(pos: Tensor, face: Tensor, tangent_frames: Tensor) -> Tensor:
    """The angle in the tangent plane of each corner in which its two sides begin. (2, 3, F), as `ends`."""
    offset = pos[ends(face)] - pos[face]
    flat = (tangent_frames.to(pos.dtype)[face, :2] @ offset[..., None])[..., 0]
    return angle_of(flat.view(-1, 2), offset.view(-1, 3)).view(offset.shape[:3])


def ends(face: Tensor) -> Tensor:
    """Where the two sides at each corner lead: to the next, and to the one before. (2, 3, F)"""
    return torch.stack([face.roll(-1, 0), face.roll(1, 0)])


def sides(length: Tensor) -> Tensor:
    """Lengths of the two sides at each corner, from those (3, F) of the sides that face the corners. (2, 3, F), as `ends`."""
    return torch.stack([length.roll(1, 0), length.roll(-1, 0)])
