"""Where the cameras stand. Shapes are in the unit ball around the origin, and every camera looks at its centre."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

import cotan
from cotan.errors import at_least, unknown

AXES = {"x": 0, "y": 1, "z": 2}
RIGS = {  # and the options that each uses
    "ring": ("count", "elevation"),
    "dodecahedron": (),
    "icosphere": ("count",),
    "random": ("count", "seed"),
}
FOV = 60.0
GOLDEN = (1 + math.sqrt(5)) / 2

Rig = str | Sequence[Sequence[float]]


class Cameras(NamedTuple):
    """N pinholes, or N parallel projections.

    Attributes:
        eye: (N, 3). axes: (N, 3, 3), whose rows are the directions right, up and forward; right and up that are scaled and
            sheared make a camera with a matrix of its own.
        focal: what turns coordinates into those of a picture from -1 to 1: of x / z in perspective, else of x. A number; as a
            tensor, of all or of each (N,), it has derivatives.
        perspective: pinholes, not parallel projections.
    """

    eye: Tensor
    axes: Tensor
    focal: float | Tensor
    perspective: bool


def cameras(
    rig: Rig = "ring",
    *,
    count: int | None = None,
    elevation: float | None = None,
    seed: int | None = None,
    up: str = "z",
    projection: str = "perspective",
    fov: float = FOV,
) -> Cameras:
    """The cameras of a rig, so far away that the unit ball just fills the picture.

    The options are those of the operator `views`.
    """
    if up not in AXES:
        raise cotan.CotanError(f"up is one of 'x', 'y', 'z'; got {up!r}")
    if projection not in ("perspective", "orthographic"):
        raise cotan.CotanError(f"projection is 'perspective' or 'orthographic'; got {projection!r}")
    if not isinstance(fov, int | float) or not 0 < fov < 180:
        raise cotan.CotanError(f"fov is an angle between 0 and 180 degrees; got {fov!r}")
    perspective = projection == "perspective"
    if fov != FOV and not perspective:
        raise cotan.CotanError(f"the projection 'orthographic' does not use fov; got {fov=}")
    half = math.radians(fov) / 2
    distance = 1 / math.sin(half) if perspective else 2.0
    named = isinstance(rig, str)
    if named and rig not in RIGS:
        raise cotan.CotanError(f"{unknown('rig', rig, RIGS)}, or a list of eyes (x, y, z)")
    for option, value in {"count": count, "elevation": elevation, "seed": seed}.items():
        if value is not None and not (named and option in RIGS[rig]):
            name = rig if named else "given eyes"
            raise cotan.CotanError(f"the rig {name!r} does not use {option}; got {option}={value!r}")
    eye = distance * _directions(rig, count, elevation, seed, AXES[up]) if named else _given(rig)
    return Cameras(eye, _look_at_origin(eye, AXES[up]), 1 / math.tan(half) if perspective else 1.0, perspective)


def turn(axes: Tensor, vectors: Tensor) -> Tensor:
    """Vectors (V, 3) along each camera's axes (N, 3, 3): (3, N, V).

    Written out, since the rounding of a matrix product depends on how many there are: a shape would see its batch.
    """
    (a, b, c), (x, y, z) = axes.permute(2, 1, 0).unsqueeze(3), vectors.T.contiguous()  # (3, N, 1) and (V,)
    return (a * x).addcmul_(b, y).addcmul_(c, z)


def _directions(rig: str, count: int | None, elevation: float | None, seed: int | None, up: int) -> Tensor:
    """(N, 3) unit vectors from the origin to the eyes."""
    if rig == "dodecahedron":
        return _turned(_dodecahedron(), up)
    count = 12 if count is None else count
    at_least(1, "cameras", count=count)
    if rig == "icosphere":
        return _turned(_icosphere(count), up)
    if rig == "random":
        if not isinstance(seed, int | None) or abs(seed or 0) >= 2**63:
            raise cotan.CotanError(f"seed is a whole number below 2^63; got {seed!r}")
        generator = torch.Generator().manual_seed(seed or 0)
        return torch.nn.functional.normalize(torch.randn(count, 3, dtype=torch.float64, generator=generator), dim=1)
    elevation = 30.0 if elevation is None else elevation
    if not isinstance(elevation, int | float) or not -90 <= elevation <= 90:
        raise cotan.CotanError(f"elevation is an angle from -90 to 90 degrees; got {elevation!r}")
    height = math.radians(elevation)
    angle = torch.arange(count, dtype=torch.float64) * (2 * math.pi / count)
    flat = torch.stack((angle.cos(), angle.sin()), 1) * math.cos(height)
    return _turned(torch.cat((flat, torch.full((count, 1), math.sin(height), dtype=torch.float64)), 1), up)


def _turned(directions: Tensor, up: int) -> Tensor:
    """What was made around z, around another axis (by a cyclic, hence proper, change of axes)."""
    return directions.roll(up - 2, dims=1)


def _dodecahedron() -> Tensor:
    corners = [(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    for a in (-1 / GOLDEN, 1 / GOLDEN):
        for b in (-GOLDEN, GOLDEN):
            corners += [(0, a, b), (a, b, 0), (b, 0, a)]
    return torch.nn.functional.normalize(torch.tensor(corners, dtype=torch.float64), dim=1)


def _icosphere(count: int) -> Tensor:
    """The icosahedron's 12 corners; each refinement adds the middle of every edge: 42, 162, 642 ..."""
    points = torch.tensor(
        [p for a in (-1, 1) for b in (-GOLDEN, GOLDEN) for p in ((0, a, b), (a, b, 0), (b, 0, a))], dtype=torch.float64
    )
    points = torch.nn.functional.normalize(points, dim=1)
    while len(points) < count:
        apart = torch.cdist(points, points).fill_diagonal_(torch.inf)
        # Its edges differ in length by less than a factor of 1.2; the next distance is 1.6 times as long.
        i, j = (apart < 1.3 * apart.min()).triu().nonzero().T
        points = torch.cat((points, torch.nn.functional.normalize(points[i] + points[j], dim=1)))
    if len(points) != count:
        raise cotan.CotanError(f"an icosphere has 12, 42, 162, 642 ... cameras; got count={count}")
    return points


def _given(eyes: Sequence[Sequence[float]]) -> Tensor:
    try:
        eye = torch.as_tensor(eyes, dtype=torch.float64)
    except (TypeError, ValueError) as reason:
        raise cotan.CotanError(
            f"a rig is one of {', '.join(RIGS)}, or a list of eyes (x, y, z); got {eyes!r}"
        ) from reason
    if eye.dim() != 2 or eye.shape[1] != 3 or len(eye) == 0:
        raise cotan.CotanError(f"given eyes are a list of (x, y, z); got an array of shape {tuple(eye.shape)}")
    if not eye.isfinite().all() or (eye.norm(dim=1) == 0).any():
        raise cotan.CotanError("given eyes are finite, and none is at the origin, where the cameras look")
    return eye


def _look_at_origin(eye: Tensor, up: int) -> Tensor:
    """(N, 3, 3) right, up and forward of a camera at each eye; seen from a pole, the next axis points up."""
    forward = -torch.nn.functional.normalize(eye, dim=1)
    axis = torch.full((len(eye),), up, device=eye.device)
    axis = (axis + (forward[:, up].abs() > 1 - 1e-9).long()) % 3
    upward = torch.eye(3, dtype=eye.dtype, device=eye.device)[axis]
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, upward), dim=1)
    return torch.stack((right, torch.linalg.cross(right, forward), forward), 1)
