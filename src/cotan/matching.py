"""From two shapes to a map between their vertices: descriptors, a functional map, and its refinement. No training."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any, NamedTuple, SupportsFloat, SupportsIndex

import torch
from torch import Tensor

from .errors import CotanError, expect
from .evaluation import compute
from .nodes import node
from .operators.functional_map import functional_map, landmark_values, paired, point_map, zoom_out
from .operators.triangles import triangles
from .sparse import check_range
from .spectrum import Spectrum

SIGNS = 4  # eigenfunctions after the first: with six, four times the work, maps are little better


class Matched(NamedTuple):
    """points (V2,): for each vertex of the target one of the source. functional (K, K): coefficients, source to target."""

    points: Tensor
    functional: Tensor


def match(
    source: Any,
    target: Any,
    *,
    k: int = 100,
    start: int = 20,
    commute: float = 1e-2,
    landmarks: Tensor | Sequence[Sequence[int]] | None = None,
) -> Matched:
    """Which vertex of the source each vertex of the target is, on shapes that are whole and nearly isometric: a `Matched`.

    Units play no part. Heat and wave kernel signatures give a functional map of `start` pairs, which is refined to
    `k`. What is symmetric looks alike to signatures, so left and right may come out exchanged, or mixed: landmarks tell
    them apart. Between two meshes without landmarks, maps that keep the first eigenfunctions up to their signs are tried
    as well, and of all that one is refined which keeps most faces the way round they are: faces of a mesh should agree with
    each other, and those of an open one with the other mesh's. On 40 pairs of the creatures of `poses` in two poses this
    leaves 15% of maps exchanged, not 55%.

    Arguments:
        source, target: shapes, as `cotan.read` gives. k, start: eigenpairs. commute: see `functional_map`.
        landmarks: (2, P), vertices of the source and of the target that are known to correspond: the map sends these to
            those. To tell left from right, some have to lie off the middle.

    >>> points = cotan.match(source, target).points
    >>> source.part[points]  # labels of the source, on the target
    """
    for what, number in (("start", start), ("k", k)):
        expect(f"match: {what}", number, SupportsIndex, "a whole number")
    expect("match: commute", commute, SupportsFloat, "a number")
    if not 1 <= start <= k:
        raise CotanError(f"match: start={start} and k={k}, expected 1 <= start <= k")
    if landmarks is not None:
        landmarks = paired("match", landmarks)
        vertices, sources = landmarks.unique(dim=1)[1].unique(return_counts=True)
        if (sources > 1).any():
            raise CotanError(
                f"match: landmarks send several vertices to the target's {int(vertices[sources > 1][0])}, expected one"
            )
    known = (None, None) if landmarks is None else landmarks
    a, b = (_described(shape, k, at) for shape, at in zip((source, target), known, strict=True))
    for name, values in (("source", a.spectrum.values), ("target", b.spectrum.values)):
        if (parts := int((values <= 1e-9 * values[-1]).sum())) > 1:
            warnings.warn(
                f"match: the {name} falls into {parts} parts, vertices without a face among them, whose eigenfunctions at 0 mix "
                "and spoil the map: match part by part, and drop such vertices (cotan.operators.repair)",
                stacklevel=2,
            )
    few = a.spectrum.first(start), b.spectrum.first(start)
    C = functional_map(*few, a.mass, b.mass, a.values, b.values, commute=commute)
    if landmarks is None and all(getattr(shape, "face", None) is not None for shape in (source, target)):
        signs = torch.cartesian_prod(*[torch.tensor([1.0, -1.0], dtype=C.dtype, device=C.device)] * SIGNS)
        larger = (b.mass.sum() / a.mass.sum()).sqrt()
        starts = [C, *(larger * torch.diag(torch.cat([sign.new_ones(1), sign])[: min(C.shape)]) for sign in signs)]
        tried = [zoom_out(start, *few, b.mass) for start in starts]
        normals = compute(source, node("vertex_normals", kind="mesh"), dtype=torch.float64)
        if not any(compute(shape, "mesh_report")["boundary_loops"] for shape in (source, target)):
            normals = normals * outwards(source) * outwards(target)
        C = max(tried, key=lambda C: kept_round(point_map(C, *few), source, target, normals))
    C = zoom_out(C, a.spectrum, b.spectrum, b.mass, landmarks=landmarks)
    points = point_map(C, a.spectrum, b.spectrum)
    if landmarks is not None:
        points[landmarks[1]] = landmarks[0].to(points)
    return Matched(points, C)


class _Described(NamedTuple):
    """A shape's spectrum, mass and descriptors."""

    spectrum: Spectrum
    mass: Tensor
    values: Tensor


def _described(shape: Any, k: int, landmarks: Tensor | None) -> _Described:
    wanted = node("spectrum", k=k)
    spectrum, mass = (compute(shape, request, dtype=torch.float64) for request in (wanted, "mass"))
    names = ("heat_kernel_signature", "wave_kernel_signature")
    values = [compute(shape, node(name, spectrum=wanted), dtype=torch.float64) for name in names]
    if landmarks is not None:
        check_range("match: landmarks", landmarks, len(mass))
        values.append(landmark_values(spectrum, landmarks))
    return _Described(spectrum, mass, torch.cat(values, 1))


@torch.no_grad()
def kept_round(points: Tensor, source: Any, target: Any, normals: Tensor) -> float:
    """Of the target's area, the share in faces that map to triangles facing along the normals, less that facing against them."""
    at = points[target.face]  # (3, F)
    facing = (triangles(source.pos.double(), at).normal * normals[at].sum(0)).sum(1).sign()
    area = triangles(target.pos.double(), target.face).area
    return float((area * facing).sum() / area.sum())


@torch.no_grad()
def outwards(shape: Any) -> float:
    """1 where the faces of a closed mesh face outwards, by the volume that they enclose; -1 where they face inwards."""
    pos = shape.pos.double()
    corners = (pos - pos.mean(0))[shape.face]  # (3, F, 3)
    return -1.0 if float(torch.linalg.det(corners.transpose(0, 1)).sum()) < 0 else 1.0
