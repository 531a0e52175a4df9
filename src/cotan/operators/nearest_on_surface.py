"""The nearest point of a surface to any point: exact, by a tree of oriented boxes about faces, on every device."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import CotanError
from ..untraced import constant, outside
from ..values import numbers
from .checks import check_mesh, check_pos
from .edge_lengths import length
from .neighbours import nearest
from .normals import unit
from .triangles import inner

FAN = 4  # parts of a box
CHUNK = 2**15  # pairs of a point and a box looked at at once
SLACK = 2.0**-40  # of a distance and the size of a box: what is within rounding


class OnSurface(NamedTuple):
    """Of N points: how far off the surface is, on which face, and where.

    Attributes:
        distance, of_face (N,). barycentric (N, 3): pos_i = sum_k w_ik x_k over the corners k of the face. pos (N, 3).
    """

    distance: Tensor
    of_face: Tensor
    barycentric: Tensor
    pos: Tensor


def nearest_on_surface(points: Tensor, pos: Tensor, face: Tensor) -> OnSurface:
    """The point of a mesh nearest to each of N points, as `OnSurface` says.

    Of faces equally near within rounding (2^-40) it is that of the lowest number. Faces without area are segments or points.
    Distance, barycentric and pos have derivatives in points and pos, along the face, side or vertex that was found.

    Arguments:
        points: (N, 3). pos: (V, 3). face: (3, F).
    """
    points = check_pos(numbers("nearest_on_surface: points", points), what="nearest_on_surface: points")
    pos, face = check_mesh(numbers("nearest_on_surface: pos", pos), numbers("nearest_on_surface: face", face))
    if not points.device == pos.device == face.device:
        raise CotanError(
            f"nearest_on_surface: points on {points.device}, pos on {pos.device} and face on {face.device}"
        )
    corners = pos.index_select(0, face.T.reshape(-1)).view(-1, 3, 3)
    with torch.no_grad(), outside():
        of_face = _search(constant(points), constant(corners))
    corners = corners.index_select(0, of_face)
    distance, barycentric = nearest_on_triangles(points, corners)
    return OnSurface(distance, of_face, barycentric, (barycentric[:, :, None] * corners).sum(1))


def nearest_on_triangles(points: Tensor, corners: Tensor) -> tuple[Tensor, Tensor]:
    """Of each point (N, 3) the distance (N,) from its own triangle (N, 3, 3), and the barycentric coordinates (N, 3) of the
    point there that is nearest: of its places on the three sides and over the inside, where it has one, the nearest."""
    a, b, c = corners.unbind(1)
    ab, ac, bc = b - a, c - a, c - b
    offsets = points - corners.transpose(0, 1)  # (3, N, 3)
    normal = torch.linalg.cross(ab, ac)
    square = inner(normal, normal)
    flat = square <= (1e-14 * (inner(ab, ab) + inner(ac, ac) + inner(bc, bc))) ** 2  # to rounding
    whole = torch.where(flat, 1, square)
    v = inner(torch.linalg.cross(offsets[0], ac), normal) / whole
    w = inner(torch.linalg.cross(ab, offsets[0]), normal) / whole
    r, s, t = _along(offsets[0], ab), _along(offsets[1], bc), _along(offsets[0], ac)
    zero = torch.zeros_like(r)
    places = torch.stack([1 - r, r, zero, zero, 1 - s, s, 1 - t, zero, t, 1 - v - w, v, w]).view(4, 3, -1)
    away = (places[..., None] * offsets).sum(1)  # (4, N, 3)
    squares = inner(away, away).detach()
    beside = flat | (places[3] < 0).any(0)
    squares = torch.cat([squares[:3], torch.where(beside, math.inf, squares[3])[None]])
    best = squares.min(0).indices[None, :, None].expand(-1, -1, 3)
    return length(away.gather(0, best)[0]), places.transpose(1, 2).gather(0, best)[0]


def _along(offset: Tensor, side: Tensor) -> Tensor:
    square = inner(side, side)
    return (inner(offset, side) / torch.where(square > 0, square, 1)).clamp(0, 1)


def _search(points: Tensor, corners: Tensor) -> Tensor:
    """The number of the nearest triangle (F, 3, 3) to each point. (N,)

    From the outermost boxes inwards, those are taken apart that may hold something nearer than what is known to be near:
    the longest side in each box, and in the end the triangles.
    """
    order = _along_a_curve(corners.mean(1))
    corners = corners.index_select(0, order)
    levels = [_boxes(corners[:, None])]
    parts = corners[:, None]
    while len(parts) > FAN**2:
        parts = torch.cat([parts, parts[-1:].expand(-len(parts) % FAN, -1, -1, -1)])
        parts = parts.reshape(len(parts) // FAN, -1, 3, 3)
        levels.append(_boxes(parts))
    bound = points.new_full((len(points),), math.inf)
    if points.device.type == "cpu":  # by a k-d tree, to begin with
        near = FAN * nearest(corners[::FAN].mean(1), points)[1][:, 0]
        bound, _ = nearest_on_triangles(points, corners.index_select(0, near))
    found = order.new_full((len(points),), len(order))
    child = torch.arange(FAN, device=points.device)
    xyz = points.T.contiguous().unbind()
    met: list[tuple[Tensor, ...]] = []

    def visit(level: int, point: Tensor, box: Tensor) -> None:
        rows = levels[level]
        x, y, z = (p.index_select(0, point) - s.index_select(0, box) for p, s in zip(xyz, rows[:3], strict=True))
        own = [c.index_select(0, box) for c in rows[3:]]
        at = [x * own[i] + y * own[i + 1] + z * own[i + 2] for i in (0, 3, 6)]
        off = [((q - m).abs_() - h).clamp_(min=0) for q, m, h in zip(at, own[9:12], own[12:15], strict=True)]
        least = (off[0] * off[0] + off[1] * off[1] + off[2] * off[2]).sqrt_()
        u = at[0] - torch.minimum(at[0].clamp(min=0), own[15])
        most = (u * u + at[1] * at[1] + at[2] * at[2]).sqrt_()
        near = bound.scatter_reduce_(0, point, most, "amin").index_select(0, point)
        keep = (least <= near + SLACK * (near + own[16])).nonzero().squeeze(1)
        point, box = point.index_select(0, keep), box.index_select(0, keep)
        if level:
            point, box = point.repeat_interleave(FAN), (FAN * box[:, None] + child).view(-1)
            inwards(level - 1, point, box.clamp_(max=len(levels[level - 1][0]) - 1))
            return
        distance, _ = nearest_on_triangles(points.index_select(0, point), corners.index_select(0, box))
        bound.scatter_reduce_(0, point, distance, "amin")
        met.append((point, order.index_select(0, box), distance, own[16].index_select(0, keep)))

    def inwards(level: int, point: Tensor, box: Tensor) -> None:
        for some in zip(point.split(CHUNK), box.split(CHUNK), strict=True):
            visit(level, *some)

    outermost = torch.arange(len(levels[-1][0]), device=points.device)
    for some in _along_a_curve(points).split(CHUNK // FAN**2):
        inwards(len(levels) - 1, some.repeat_interleave(len(outermost)), outermost.repeat(len(some)))
        point, number, distance, radius = (torch.cat(part) for part in zip(*met, strict=True))
        near = bound.index_select(0, point)
        tie = (distance <= near + SLACK * (near + radius)).nonzero().squeeze(1)
        found.scatter_reduce_(0, point[tie], number[tie], "amin")
        met.clear()
    return found


def _along_a_curve(points: Tensor) -> Tensor:
    """Their order along the curve of Morton (1966), by which neighbours follow each other. (N,)"""
    low, high = points.aminmax(dim=0)
    side = (high - low).max()
    cell = ((points - low) * ((2**21 - 1) / torch.where(side > 0, side, 1))).long().T
    for shift, mask in (
        (32, 0x1F00000000FFFF),
        (16, 0x1F0000FF0000FF),
        (8, 0x100F00F00F00F00F),
        (4, 0x10C30C30C30C30C3),
        (2, 0x1249249249249249),
    ):
        cell = (cell | cell << shift) & mask
    return (cell[0] << 2 | cell[1] << 1 | cell[2]).argsort(stable=True)


def _boxes(corners: Tensor) -> tuple[Tensor, ...]:
    """About the n triangles (B, n, 3, 3) of each box, 20 numbers (B,).

    A corner, where the longest side starts (3); axes along that side, the normal and across both (9); from the corner,
    along the axes, the middle of the box (3) and half of its sides (3); the length of the longest side; half a diagonal.
    """
    starts, sides = corners.flatten(1, 2), (corners.roll(-1, 2) - corners).flatten(1, 2)
    longest = inner(sides, sides).argmax(1)[:, None, None].expand(-1, 1, 3)
    start, side = starts.gather(1, longest)[:, 0], sides.gather(1, longest)[:, 0]
    u = unit(side)
    u[:, 0] += (u == 0).all(1)  # where all is a point
    normal = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]).sum(1)
    n = _across(unit(normal), u)
    flat = inner(n, n) < 0.5
    n[flat] = _across(torch.eye(3).to(u)[u[flat].abs().argmin(1)], u[flat])
    axes = torch.stack([u, n, torch.linalg.cross(u, n)], 1)
    low, high = ((starts - start[:, None]) @ axes.mT).aminmax(dim=1)
    half = (high - low) / 2
    rows = [start, axes.flatten(1), (low + high) / 2, half, length(side)[:, None], length(half)[:, None]]
    return torch.cat(rows, 1).T.contiguous().unbind()


def _across(vector: Tensor, u: Tensor) -> Tensor:
    """The unit vector at a right angle to u that is nearest; twice, as the first leaves rounding."""
    for _ in range(2):
        vector = unit(vector - inner(vector, u)[:, None] * u)
    return vector
