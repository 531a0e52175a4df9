"""Where a shape lies in its grid of voxels."""

import itertools
import math
from typing import NamedTuple

import torch
from torch import Tensor

import cotan
from cotan.operators import centroid

MOST = 512  # voxels a side: these take 3 GB, twice as many would take 20
BUDGET = 1 << 20  # pairs of a triangle and a voxel that are looked at at once
NORMALIZATIONS = ("box", "sphere", "none")
LARGEST = 1e70  # squared areas of what is larger are no float64


class Grid(NamedTuple):
    """Voxel (i, j, k) is the cube [i, i+1] x [j, j+1] x [k, k+1] in units of `pitch`, counted from `origin`.

    Attributes:
        triangles: (F, 3, 3) corners in voxels, float64.
        origin: (3,) the outer corner of voxel (0, 0, 0), in the units of the shape.
        pitch: the side of a voxel, in the units of the shape.
    """

    triangles: Tensor
    origin: Tensor
    pitch: float


def place(pos: Tensor, face: Tensor, resolution: int, normalize: str, padding: float) -> Grid:
    """Fit a shape into `resolution`^3 voxels, with `padding` of them beside it on every side (less than none: cut off).

    `box` centres the bounding box and fits its longest side; `sphere` centres the centroid of the surface and fits
    the farthest corner, so that no rotation about it leaves the grid; `none` fits [-1, 1]^3, which with no padding is the grid.
    Vertices that no face uses do not count.
    """
    check_place(resolution, normalize, padding)
    if pos.shape[1:] != (3,):
        raise cotan.CotanError(f"pos: expected shape (V, 3), got {tuple(pos.shape)}")
    if face.numel() == 0:
        raise cotan.CotanError("voxels need a mesh with faces, got none")
    pos = pos.detach().double()
    triangles = pos[face.t()]  # (F, 3, 3)
    size = float(triangles.abs().max())
    if not math.isfinite(size):
        raise cotan.CotanError("voxels need finite positions, got NaN or infinity")
    if normalize == "none" and size > LARGEST:
        raise cotan.CotanError(f"voxels with normalize='none' need positions up to {LARGEST:.0e}, got {size:.0e}")
    # By a power of two, which rounds nothing.
    unit = 1.0 if normalize == "none" else 2.0 ** (math.frexp(size)[1] - 1)
    triangles /= unit
    if normalize == "none":
        centre, radius = triangles.new_zeros(3), 1.0
    elif normalize == "box":
        low, high = triangles.amin(dim=(0, 1)), triangles.amax(dim=(0, 1))
        centre, radius = (low + high) / 2, float((high - low).max()) / 2
    else:
        centre = centroid(pos / unit, face)
        radius = float((triangles - centre).norm(dim=-1).max())
    if radius == 0:
        raise cotan.CotanError("voxels need a shape of some size, got one whose corners all lie in one point")
    pitch = 2 * radius / (resolution - 2 * padding)
    triangles.sub_(centre).div_(pitch).add_(resolution / 2)  # in place: fresh memory would take longer than this
    return Grid(triangles, (centre - pitch * resolution / 2) * unit, pitch * unit)


def check_place(resolution: int, normalize: str, padding: float) -> None:
    """Refuse what no shape can be placed by."""
    if not isinstance(resolution, int) or not 2 <= resolution <= MOST:
        raise cotan.CotanError(f"voxels need a resolution from 2 to {MOST}, a whole number, got {resolution}")
    if normalize not in NORMALIZATIONS:
        raise cotan.CotanError(f"voxels can be normalised by {', '.join(NORMALIZATIONS)}; got {normalize!r}")
    if not -math.inf < 2 * padding < resolution:
        raise cotan.CotanError(f"padding must be finite and below half of the resolution {resolution}, got {padding}")


def ragged(counts: Tensor) -> tuple[Tensor, Tensor]:
    """Row r repeated counts[r] times, and the running number within each row: the index of a ragged product."""
    row = torch.repeat_interleave(counts)
    start = counts.cumsum(0) - counts
    return row, torch.arange(len(row), device=counts.device) - start[row]


def chunks(counts: Tensor) -> list[slice]:
    """Consecutive runs of rows whose counts sum to about BUDGET at most (one row may exceed it alone)."""
    if not len(counts):
        return []
    total = counts.cumsum(0)
    marks = torch.arange(1, int(total[-1]) // BUDGET + 1, device=counts.device) * BUDGET
    bounds = {0, *torch.searchsorted(total, marks).tolist(), len(counts)}
    return [slice(a, b) for a, b in itertools.pairwise(sorted(bounds))]
