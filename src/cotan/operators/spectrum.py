"""The smallest eigenpairs of L phi = lambda M phi."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from ..decorators import operator
from ..sparse import Sparse
from ..spectrum import Spectrum
from .eigen import eigenpairs, eigenpairs_of_many


def first_pairs(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> Callable[[Spectrum], Spectrum] | None:
    """A stored spectrum answers a smaller k, and a tolerance that is no tighter than its own."""
    k = wanted["k"]
    if not isinstance(k, int) or k < 1 or stored["k"] < k or stored["tolerance"] > wanted["tolerance"]:
        return None
    return lambda spectrum: spectrum.first(k)


def spectra(laplacian: Sequence[Sparse], mass: Sequence[Tensor], *, k: int, tolerance: float) -> list[Spectrum]:
    """The spectrum of each of several shapes."""
    return [Spectrum(*pairs) for pairs in eigenpairs_of_many(laplacian, mass, k, tolerance)]


@operator(covers=first_pairs, version=6, many=spectra)
def spectrum(laplacian: Sparse, mass: Tensor, *, k: int = 128, tolerance: float = 1e-6) -> Spectrum:
    """L phi = lambda M phi, lambda_1 <= ... <= lambda_K, phi^T M phi = I: exactly K = min(k, V) pairs, none missed.

    Every component of a shape has its own zero where L has constants in its kernel. Signs: in each vector, the entry of
    largest absolute value is positive, the first of those within 1e-6 of it. A basis inside a multiple eigenvalue is
    not fixed, and k may cut through one.

    Values and vectors carry derivatives with respect to L and M; second ones where no two eigenvalues are equal. In a
    multiple eigenvalue the rotation of the vectors is no function of the input and is left out: the projector on the
    eigenspace and the sum of the eigenvalues have their exact first derivatives there. What weighs them by the eigenvalue,
    as signatures and spectral heat do, lacks a part of its there: on a sphere up to half; a little noise on the vertices
    makes eigenvalues distinct and derivatives exact.

    Arguments:
        laplacian (V, V): symmetric, positive semi-definite. mass (V,): positive.
        k: pairs wanted; a shape of fewer vertices gives V.
        tolerance: bound on ||M^-1/2 (L phi - lambda M phi)|| / max(lambda, first non-zero lambda), where what is up to 1e-10 of
            the median of M^-1 L's diagonal counts as zero.
    """
    return Spectrum(*eigenpairs(laplacian, mass, k, tolerance))
