"""The voxels of a mesh: the solid, its surface, or the distance to it."""

from typing import Any, BinaryIO

import torch
from torch import Tensor

import cotan
from cotan.errors import at_least

from .closed import Edges, agreeing, distinct, edges
from .crossings import counts_above, snap
from .distance import cut, distance, near
from .flood import enclosed
from .grid import Grid, check_place, place
from .surface import surface
from .winding import winding_number

FILLS = ("solid", "surface", "union", "tsdf")
METHODS = ("auto", "winding", "parity", "flood")
TRUNCATION = 3.0


def _picture(file: BinaryIO, value: Tensor, **_: Any) -> None:
    from .picture import slices  # draws models too, which import this module

    slices([value]).savefig(file)


@cotan.operator(per="shape", invariant_to=("permutation", "scale"), version=9, picture=_picture)
def voxels(
    pos: Tensor,
    face: Tensor,
    *,
    resolution: int = 32,
    fill: str = "solid",
    method: str = "auto",
    normalize: str = "box",
    padding: float = 1.0,
    samples: int = 1,
    truncation: float = TRUNCATION,
) -> Tensor:
    """A grid of voxels, (R, R, R), with axes x, y, z of the shape.

    Arguments:
        resolution: R.
        fill: "solid": 1 where the centre of a voxel is inside, which gives the right volume, and in voxels that a face
            touches where no such voxel is next to them, so that legs and sheets thinner than a voxel stay. "surface": 1 in
            each voxel that a face touches. "union": of the two. "tsdf": the signed distance of the centre from the surface
            over `truncation` voxels, from -1 inside to 1 outside; faces inside the solid, as of bodies that overlap or
            touch, count as surface.
        method: how inside is told. "winding": the generalised winding number is beyond 1/2. Of closed pieces that overlap
            this is the union, a piece that faces inwards within another is a cavity, and holes are closed. Faces that
            disagree with their neighbours are turned before; where pieces face both ways, closed ones are turned outwards,
            each with what lies in its box. "parity": an odd number of faces lies above the centre, for closed meshes
            whose faces cannot agree; where pieces overlap they are hollow. "flood": the outside cannot reach the voxel,
            for soups. "auto": the first of these that fits; `voxel_report` and `cotan inspect` say which. Of faces that lie
            on each other one counts.
        normalize: "box" centres the bounding box and fits its longest side into the grid (as for VoxNet, whose shapes
            fill 24 of 32 voxels: `padding=4`). "sphere" centres the centroid and fits the farthest point, so that the
            size does not change with a rotation (as in the views of MVCNN). "none" fits [-1, 1]^3 into the grid. The pitch
            is the side of what is fitted over R - 2 padding: with "none" and `padding=0`, x is in voxel (x + 1) R / 2.
        padding: free voxels on each side; a negative one cuts off what lies that far out. Where touched voxels count
            ("surface", "union", "flood") one less is free: what is fitted ends where voxels meet, and touches both.
        samples: a voxel is the mean over samples^3 finer ones.
        truncation: of "tsdf", in voxels.

    `cotan_voxels.slices` draws them.
    """
    check(resolution, fill, method, normalize, padding, samples, truncation)
    if fill == "tsdf":
        cotan.autodiff.refuse_derivatives(pos, "voxels, fill='tsdf',")
    grid = place(pos, face, resolution * samples, normalize, padding * samples)
    fine = _filled(face, grid, resolution * samples, fill, method, truncation * samples)
    return torch.nn.functional.avg_pool3d(fine[None], samples)[0] if samples > 1 else fine


def check(
    resolution: int,
    fill: str,
    method: str,
    normalize: str,
    padding: float,
    samples: int = 1,
    truncation: float = TRUNCATION,
) -> None:
    """Refuse options that `voxels` cannot do, whatever the shape."""
    if fill not in FILLS:
        raise cotan.CotanError(f"voxels can be filled as {', '.join(FILLS)}; got {fill!r}")
    _check_method(method)
    if fill == "surface" and method != "auto":
        raise cotan.CotanError(f"fill='surface' asks for no inside, and does not use method; got {method=}")
    if fill != "tsdf" and truncation != TRUNCATION:
        raise cotan.CotanError(f"fill={fill!r} does not use truncation, that of 'tsdf'; got {truncation=}")
    if fill == "tsdf" and not 0 < truncation <= resolution:
        raise cotan.CotanError(f"truncation must be positive and at most the resolution {resolution}, got {truncation}")
    at_least(1, "voxels", samples=samples)
    check_place(resolution * samples, normalize, padding * samples)


def request(**options: Any) -> cotan.Node:
    """The node for a model: options that it refuses are refused when that is made, not with the first of its shapes."""
    check(**options)
    return cotan.node("voxels", **options)


def _filled(face: Tensor, grid: Grid, resolution: int, fill: str, method: str, truncation: float) -> Tensor:
    if fill == "surface":
        return surface(grid.triangles, resolution).double()
    face, triangles = distinct(face, grid.triangles)
    name, found, triangles = told(method, face, triangles)
    if fill == "tsdf":
        side = 1.0 - 2.0 * inside(name, found, triangles, resolution).double()
        return distance(triangles, resolution, truncation) * side / truncation
    if name == "flood":
        return enclosed(triangles, resolution).double()
    solid = inside(name, found, triangles, resolution)
    if fill == "union":
        solid |= surface(triangles, resolution)
    elif _misses_a_part(solid, triangles):
        solid |= surface(triangles, resolution) & ~_grown(solid)
    return solid.double()


@cotan.operator(per="shape", version=3)
def voxel_report(
    pos: Tensor,
    face: Tensor,
    *,
    resolution: int = 32,
    method: str = "auto",
    normalize: str = "box",
    padding: float = 1.0,
) -> dict[str, Any]:
    """How `voxels` with the same options tells inside, and where its grid lies.

    method: "winding", "parity" or "flood"; watertight: each edge has two faces; oriented: as they are, no two faces run the
    same way along an edge, and none has more than two; origin, pitch: the outer corner of voxel (0, 0, 0) and the side of a
    voxel, in the units of the shape.
    """
    _check_method(method)
    grid = place(pos, face, resolution, normalize, padding)
    face, triangles = distinct(face, grid.triangles)
    found = edges(face, triangles)
    return {
        "method": told(method, face, triangles)[0],
        "watertight": found.closed,
        "oriented": found.oriented,
        "resolution": resolution,
        "pitch": grid.pitch,
        "origin": grid.origin.tolist(),
    }


def _check_method(method: str) -> None:
    if method not in METHODS:
        raise cotan.CotanError(f"inside can be told by {', '.join(METHODS)}; got {method!r}")


def told(method: str, face: Tensor, triangles: Tensor) -> tuple[str, Edges, Tensor]:
    """The method, or what "auto" stands for on this mesh; what its edges say; its triangles, turned to agree for winding."""
    found = edges(face, triangles)
    if not found.oriented and method in ("auto", "winding"):
        turned = agreeing(found, triangles)
        if turned[0].oriented or method == "winding":
            found, triangles = turned
    if method == "auto":
        method = "winding" if found.oriented else "flood" if found.odd else "parity"
    if method == "parity" and found.odd:
        raise cotan.CotanError(
            f"method='parity' needs a mesh without holes, and {found.odd} edges of this one have an odd number of faces; "
            "'winding' closes holes, 'flood' takes any mesh, 'auto' chooses"
        )
    return method, found, triangles


def inside(method: str, found: Edges, triangles: Tensor, resolution: int) -> Tensor:
    """Voxels whose centre is inside: (R, R, R) bool. A flood stops before the voxels that a face touches."""
    if method == "flood":
        return enclosed(triangles, resolution) & ~surface(triangles, resolution)
    if method == "parity":
        return counts_above(snap(triangles), resolution, signed=False).bool()
    closed = found.closed and found.oriented
    w = winding_number(snap(triangles), resolution, closed)
    least, most = w.aminmax()
    if least < -0.5 and most > 0.5:
        w = winding_number(snap(agreeing(found, triangles)[1]), resolution, closed)
    return w.abs() > 0.5


def _misses_a_part(solid: Tensor, triangles: Tensor) -> bool:
    """Is there a piece of the surface that no voxel of the solid holds or is next to? (Sampled: a voxel apart.)"""
    middle = cut(near(triangles, len(solid), 0)).mean(1)
    last = len(solid) - 1
    x, y, z = middle[((middle >= 0) & (middle <= last + 1)).all(1)].long().clamp_(max=last).unbind(1)
    return not bool(_grown(solid)[x, y, z].all())


def _grown(solid: Tensor) -> Tensor:
    """The voxels and their 26 neighbours."""
    for axis in range(3):
        wide, rest = solid.clone(), len(solid) - 1
        wide.narrow(axis, 1, rest).logical_or_(solid.narrow(axis, 0, rest))
        wide.narrow(axis, 0, rest).logical_or_(solid.narrow(axis, 1, rest))
        solid = wide
    return solid
