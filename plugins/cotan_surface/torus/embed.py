"""Flattening: the cut sphere as a quarter of a flat torus.

The square [0, 1)^2 with opposite sides glued, turned by a quarter about 0, has the quotient of a sphere with three cone
points: 0 and (1 + i)/2, about which it turns by quarters, and 1/2, about which it turns by a half. A map of the cut
sphere into the plane whose two banks of the cut differ by those turns,

    first cone -> 0, middle -> 1/2 on the left bank and i/2 on the right, last -> (1 + i)/2
    right bank of first - middle = i z;   right bank of middle - last = -i z + i      (z on the left bank)

therefore gives four copies that close up to a torus (Aigerman and Lipman 2015; Maron et al. 2017). Each vertex lies at
the weighted mean of its neighbours across the banks: one sparse Hermitian system. With positive weights the map is a
bijection (Gortler, Gotsman and Thurston 2006).
"""

import numpy as np
import torch
from numpy.typing import NDArray

from cotan.operators import triangles
from cotan.sparse import symmetric_lu

from .cut import Disc

WEIGHTS = ("cotan", "uniform")
TURN = np.array([1, 1j, -1j])
SHIFT = np.array([0, 0, 1j])
CONES = np.array([0, 0.5, 0.5 + 0.5j])
# Cotangent weights are kept within these multiples of their median: positive, so that the map never folds, and bounded,
# so that a face without area does not collapse.
LEAST, MOST = 1e-2, 1e2
# How far balancing may weaken or strengthen the springs at a vertex: by e to this.
RANGE = 18.0


def embed(
    pos: NDArray[np.float64], face: NDArray[np.int64], disc: Disc, kind: str = "cotan", balance: int = 2
) -> NDArray[np.complex128]:
    """(N,) a place for each vertex of the sphere, that of its copy 0, in units of the side of the torus.

    Conformal maps shrink limbs exponentially. Each of `balance` further solves weakens the springs where the last map
    was too small and strengthens them where it was too large (after Yoshizawa et al. 2004); positive they stay.
    """
    size = len(pos)
    a, b = np.roll(face, -1, 0), np.roll(face, -2, 0)  # the edge across from each corner
    _, edge = np.unique(np.minimum(a, b) * size + np.maximum(a, b), return_inverse=True)
    edge = edge.reshape(face.shape)
    found = triangles(torch.from_numpy(pos), torch.from_numpy(face))
    # Each corner has half of the edge across from it.
    half = found.cotangents.numpy() / 2 if kind == "cotan" else np.full(face.shape, 0.5)
    spring = np.bincount(edge.ravel(), half.ravel())
    middle = np.median(np.abs(spring))
    spring = np.clip(spring, LEAST * middle, MOST * middle)[edge]
    area = star(found.area.numpy(), face)
    value = solve(spring, disc, size)
    strength = np.zeros(size)
    for _ in range(balance):
        growth = np.log(star(flat_area(value, disc), face) / area)
        strength = np.clip(strength + growth - growth.mean(), -RANGE, RANGE)
        following = solve(spring * np.exp((strength[a] + strength[b]) / 2), disc, size)
        if flat_area(following, disc).min() <= 0:
            break  # the springs differ by more than rounding allows
        value = following
    return value


def star(area: NDArray[np.float64], face: NDArray[np.int64]) -> NDArray[np.float64]:
    """(N,) the areas (F,) of the faces about each vertex, never quite zero."""
    total = np.bincount(face.ravel(), np.tile(area, 3))
    return np.maximum(total, 1e-30 * total.max())


def places(value: NDArray[np.complex128], disc: Disc) -> NDArray[np.complex128]:
    """(3, F) the corners of the faces in the plane."""
    place = TURN[disc.copy] * value[disc.vertex] + SHIFT[disc.copy]
    return place[disc.corner]


def flat_area(value: NDArray[np.complex128], disc: Disc) -> NDArray[np.float64]:
    """(F,) signed areas in the plane; they sum to a quarter."""
    a, b, c = places(value, disc)
    return ((b - a).conj() * (c - a)).imag / 2


def solve(weight: NDArray[np.float64], disc: Disc, size: int) -> NDArray[np.complex128]:
    """Minimise sum weight |z_a - z_b|^2 over the edges across from corners, where z = turn y + shift for the free y."""
    from scipy.sparse import coo_matrix, csc_matrix

    w, a, b = weight.ravel(), np.roll(disc.corner, -1, 0).ravel(), np.roll(disc.corner, -2, 0).ravel()
    va, vb = disc.vertex[a], disc.vertex[b]
    ra, rb, gap = TURN[disc.copy[a]], TURN[disc.copy[b]], SHIFT[disc.copy[a]] - SHIFT[disc.copy[b]]
    across = -w * ra.conj() * rb
    entry = np.concatenate([w + 0j, w + 0j, across, across.conj()])
    rows, columns = np.concatenate([va, vb, va, vb]), np.concatenate([va, vb, vb, va])
    matrix = csc_matrix(coo_matrix((entry, (rows, columns)), shape=(size, size)))
    right = np.zeros(size, dtype=complex)
    np.add.at(right, va, -w * ra.conj() * gap)
    np.add.at(right, vb, w * rb.conj() * gap)

    value = np.zeros(size, dtype=complex)
    fixed = np.array(disc.cones)
    value[fixed] = CONES
    free = np.setdiff1d(np.arange(size), fixed)
    right = (right - matrix @ value)[free]
    value[free] = symmetric_lu(matrix[free][:, free]).solve(right)
    return value
