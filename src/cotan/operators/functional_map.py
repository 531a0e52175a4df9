"""Maps between two shapes as matrices between their spectra, and back to maps between vertices. Functions, not nodes.

A functional map C (K2, K1) takes the coefficients of a function on the source to those of that function on the target
(Ovsjanikov, Ben-Chen, Solomon, Butscher and Guibas 2012).
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ..errors import CotanError, at_least
from ..sparse import check_range
from ..spectrum import Spectrum
from ..values import numbers
from .fourier import check_dtype, fourier, plain_vectors
from .heat_kernel_signature import bounds, spaced
from .neighbours import nearest

TREE = 24  # dimensions up to which a k-d tree is quicker than products
HELD = 2**19  # products at once, which caches hold: eight times as many take half as long again
LANDMARKS = 0.1  # their weight beside the surface's: with 1, landmarks that are 1% off spoil maps of isometric shapes


def functional_map(
    source: Spectrum,
    target: Spectrum,
    source_mass: Tensor,
    target_mass: Tensor,
    source_values: Tensor,
    target_values: Tensor,
    *,
    commute: float = 1e-3,
) -> Tensor:
    """C = r argmin_X |X A - B|^2 + w sum_ij X_ij^2 (mu_i - lambda_j)^2, A and B the coefficients of values that correspond.

    The columns of A and of B have length one, eigenvalues are those at area one over the largest, and r is the root of the
    ratio of areas: units of shapes and of descriptors play no part. The second term asks C to commute with the Laplacians.
    Both shapes are taken as whole: of one and a part of it these eigenvalues do not correspond. (K2, K1)

    Arguments:
        source, target: spectra. source_mass (V1,), target_mass (V2,).
        source_values (V1, D), target_values (V2, D): descriptors, or `landmark_values`.
        commute: w, relative to |A|^2.
    """
    if source_values.shape[1:] != target_values.shape[1:] or source_values.ndim != 2:
        raise CotanError(
            "functional_map: expected descriptors (V1, D) and (V2, D), got "
            f"{tuple(source_values.shape)} and {tuple(target_values.shape)}"
        )
    if not 0 <= commute < math.inf:
        raise CotanError(f"functional_map: commute={commute}, expected a number of at least 0")
    for spectrum in (source, target):
        plain_vectors(spectrum)  # one system for all shapes of a batch would mix them
    a, b = fourier(source_values, source, source_mass), fourier(target_values, target, target_mass)
    dtype, a, b = a.dtype, a.double(), b.double()  # the products below square what rounding does
    if not all(0 < float(c.detach().square().sum()) < math.inf for c in (a, b)):
        raise CotanError("functional_map: descriptors that are zero or not finite, expected finite numbers")
    tiny = torch.finfo(a.dtype).tiny
    a, b = (c / torch.linalg.vector_norm(c, dim=0).clamp_min(tiny) for c in (a, b))
    area1, area2 = source_mass.double().sum(), target_mass.double().sum()
    mu, lam = target.values.double() * area2, source.values.double() * area1
    top = torch.maximum(mu.amax(), lam.amax()).clamp_min(tiny)
    gap = ((mu[:, None] - lam) / top).square()  # (K2, K1)
    gram, power = a @ a.T, a.square().sum()
    weight = commute * power
    ridge = 1e-12 * power * torch.eye(len(gram), dtype=gram.dtype, device=gram.device)
    systems = gram + ridge + torch.diag_embed(weight * gap)  # one for each row of C
    found: Tensor = torch.linalg.solve(systems, b @ a.T) * (area2 / area1).sqrt()
    return found.to(dtype)


def landmark_values(spectrum: Spectrum, vertices: Tensor, *, size: int = 8) -> Tensor:
    """k_t(i, p) = sum_k exp(-lambda_k t) phi_ik phi_pk, heat that started at landmark p. (V, P * size)

    Arguments:
        spectrum: K pairs. vertices (P,): the landmarks. size: number of times t, evenly in log t.
    """
    vectors, values = plain_vectors(spectrum), spectrum.values.clamp_min(0)
    vertices = numbers("landmark_values: vertices", vertices)
    check_range("landmark_values: vertices", vertices, len(vectors))
    low, high = bounds(values)
    t = torch.exp(spaced(-high.log(), -low.log(), size))
    at = vectors[vertices][:, None, :] * torch.exp(-t[:, None] * values)  # (P, size, K)
    return vectors @ at.reshape(-1, len(values)).T


def point_map(functional: Tensor, source: Spectrum, target: Spectrum) -> Tensor:
    """For each vertex of the target the vertex of the source whose row of Phi_1 is nearest to its row of Phi_2 C. (V2,)"""
    most = len(target.values), len(source.values)
    if functional.ndim != 2 or not functional.numel() or functional.shape[0] > most[0] or functional.shape[1] > most[1]:
        raise CotanError(f"point_map: expected a map (K2, K1) of at most {most} pairs, got {tuple(functional.shape)}")
    _check_numbers("point_map", functional, target)
    k2, k1 = functional.shape
    points, queries = plain_vectors(source)[:, :k1], plain_vectors(target)[:, :k2] @ functional
    return nearest(points, queries, 1)[1][:, 0] if k1 <= TREE else nearest_by_products(points, queries)


def _check_numbers(what: str, functional: Tensor, target: Spectrum) -> None:
    check_dtype(what, functional, target)
    if not bool(torch.isfinite(functional).all()):
        raise CotanError(f"{what}: expected a map of finite numbers")


def nearest_by_products(points: Tensor, queries: Tensor) -> Tensor:
    """argmax_p <q, p> - |p|^2 / 2 for each query (Q, D) among points (P, D): in many dimensions a tree looks at most points.

    Points whose distances differ by less than rounding of the squares may be taken for each other.
    """
    points, queries = points.double(), queries.double()
    half = points.square().sum(1) / 2
    parts = queries.split(max(64, HELD // len(points)))
    # Of rows, torch's max takes less time on CPUs than its argmax.
    return torch.cat([torch.addmm(half, part, points.T, beta=-1).max(1).indices for part in parts])


def from_point_map(point: Tensor, source: Spectrum, target: Spectrum, target_mass: Tensor) -> Tensor:
    """C = Phi_2^T M_2 Phi_1[p]: the functional map of a map p (V2,) from the target's vertices to the source's."""
    point = numbers("from_point_map: point", point)
    check_range("from_point_map: point", point, len(plain_vectors(source)))
    if point.shape != (len(plain_vectors(target)),):
        raise CotanError(
            f"from_point_map: expected a vertex of the source for each of {len(plain_vectors(target))} vertices of the "
            f"target, got {tuple(point.shape)}"
        )
    return fourier(plain_vectors(source)[point.long()], target, target_mass)


def zoom_out(
    functional: Tensor,
    source: Spectrum,
    target: Spectrum,
    target_mass: Tensor,
    *,
    step: int = 4,
    landmarks: Tensor | None = None,
) -> Tensor:
    """A functional map of few pairs refined to one of all pairs: to vertices and back, with `step` pairs more each time.

    (Melzi, Ren, Rodola, Sharma, Wonka and Ovsjanikov 2019.) (K2, K1) -> (K, K), K the pairs that both have.

    Arguments:
        landmarks: (2, P), vertices of source and target that correspond. Each time C is the best in the mean of squares over
            the target's surface and, with a tenth of its weight, over the landmarks, so that these stay in place.
    """
    at_least(1, "zoom_out", step=step)
    most = min(len(source.values), len(target.values))
    k = min(functional.shape)
    functional = functional[:k, :k]
    if landmarks is not None:
        landmarks = paired("zoom_out", landmarks)
        for shape, at in zip((source, target), landmarks, strict=True):
            check_range("zoom_out: landmarks", at, len(plain_vectors(shape)))
    while True:
        k = min(k + step, most)
        point = point_map(functional, source, target)
        functional = from_point_map(point, source.first(k), target.first(k), target_mass)
        if landmarks is not None:
            a, b = (plain_vectors(shape)[at, :k] for shape, at in zip((source, target), landmarks, strict=True))
            weight = LANDMARKS * target_mass.sum() / max(1, len(a))
            known = torch.eye(k, dtype=b.dtype, device=b.device) + weight * b.T @ b
            functional = torch.linalg.solve(known, functional + weight * b.T @ a)
        if k == most:
            return functional


def paired(what: str, landmarks: Any) -> Tensor:
    """Landmarks (2, P) as a tensor."""
    if isinstance(landmarks, list | tuple):  # of tensors, which torch makes no tensor of
        landmarks = [numbers(f"{what}: landmarks", each).tolist() for each in landmarks]
    given = numbers(f"{what}: landmarks", landmarks)
    if given.ndim != 2 or len(given) != 2:
        raise CotanError(f"{what}: expected landmarks (2, P), got {tuple(given.shape)}")
    return given


def align_spectra(functional: Tensor, source: Spectrum, target: Spectrum) -> Spectrum:
    """The target's spectrum in a basis that answers the source's: Phi_2 Q, Q the orthogonal matrix nearest to C.

    Coefficients of corresponding functions then agree as they stand, so a filter learned on the source's coefficients
    carries over. Still phi^T M phi = I; the values are the energies diag(Q^T Lambda_2 Q), eigenvalues only where Q does
    not mix different ones.

    Arguments:
        functional: C (K, K). source, target: of at least K pairs; K are kept.
    """
    k = len(functional)
    if functional.shape != (k, k) or k > min(len(source.values), len(target.values)):
        raise CotanError(
            f"align_spectra: expected a square map of at most {min(len(source.values), len(target.values))} pairs, "
            f"got {tuple(functional.shape)}"
        )
    _check_numbers("align_spectra", functional, target)
    left, _, right = torch.linalg.svd(functional)
    q = left @ right
    return Spectrum((q.square() * target.values[:k, None]).sum(0), plain_vectors(target)[:, :k] @ q)
