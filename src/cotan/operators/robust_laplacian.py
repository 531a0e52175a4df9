"""The Laplacian of the tufted cover and of point clouds (Sharp and Crane 2020), by the package robust-laplacian."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..decorators import operator
from ..errors import CotanError, MeshWarning
from ..sparse import Sparse, first_alike
from .checks import check_pos
from .factor import Array
from .mass import measurable, raised
from .neighbours import nearest
from .triangle_soup import triangle_soup
from .triangles import triangles

NEIGHBOURS = 30
NEAREST = 12
ENOUGH = 1000  # of fewer points too many lie at a border, where discs are half empty
ALONE = 0.01
FAR = 1  # times the size of a cloud: from there robust-laplacian's eigenvalues fall, by up to a fifth
# Of planes, grids, tori, terrains and scans 0.86 to 1.21, less where a narrow strip has few points.
MORE, LOW, HIGH = 0.9, 0.8, 1.25  # more neighbours are tried, or a warning given


class RobustMatrices(NamedTuple):
    """laplacian (V, V), weak form; mass (V,), lumped."""

    laplacian: Sparse
    mass: Tensor


@operator(per="vertex", invariant_to=("isometry",))
def robust_matrices(pos: Tensor, face: Tensor, *, mollify: float = 1e-5) -> RobustMatrices:
    """Laplacian with weights of at least zero and lumped mass, both of the same intrinsic triangulation.

    Takes non-manifold and unoriented meshes. Sides are lengthened so that every face keeps the strict triangle
    inequality. A vertex without faces has a zero row and 1e-6 of the mean mass. No derivative with respect to pos.
    Of four vertices on a circle the given diagonal stays, unless its weight is below -1e-6. Weights do not depend on
    that choice, masses do, and a grid that is turned in float32 is rounded by more.

    Arguments:
        pos: (V, 3). face: (3, F). mollify: of the mean side, how far the triangle inequality is kept strict.
    """
    from robust_laplacian import mesh_laplacian

    soup = triangle_soup(pos, face, "laplacian, kind='robust'")
    check_mollify(mollify)
    measurable(triangles(pos.double(), face.long()), face.long())
    try:
        laplacian, mass = mesh_laplacian(soup.vertices, soup.faces, mollify_factor=mollify)
    except RuntimeError as reason:
        raise CotanError(f"laplacian, kind='robust': this mesh is refused by robust-laplacian: {reason}") from reason
    coo = laplacian.tocoo()
    row, col = (soup.used[torch.from_numpy(index).to(face.device).long()] for index in (coo.row, coo.col))
    here = torch.arange(len(pos), device=pos.device)  # a diagonal entry in each row, also of loose vertices
    values = torch.cat([torch.from_numpy(coo.data).to(pos.device), pos.new_zeros(len(pos), dtype=torch.float64)])
    matrix = Sparse.from_coo(
        torch.cat([row, here]), torch.cat([col, here]), values, (len(pos), len(pos)), sum_duplicates=True
    )
    lumped = pos.new_zeros(len(pos), dtype=torch.float64)
    lumped[soup.used] = torch.from_numpy(mass.diagonal().copy()).to(pos.device)
    return RobustMatrices(_finite(matrix), raised(lumped))


# robust-laplacian's local triangulations change by some percent with the numbering and the position of the points, so a cloud
# declares no invariance, and the test kit compares what stays: the diagonal's length.
@operator(per="vertex", observable=lambda matrices: float(len(matrices.mass)), version=4)
def cloud_matrices(pos: Tensor, *, neighbours: int | None = None, mollify: float = 1e-5) -> RobustMatrices:
    """Laplacian and lumped mass of a point cloud: of the local triangulations about each point, glued.

    From 1000 points on, the mass is compared with the sum of pi r_k^2 / k, r_k the distance of the k-th neighbour, k = 12.
    Below 0.9 of it neighbours are doubled, twice at most. A `cotan.MeshWarning` says where it stays below 0.8 or above 1.25, or
    where over a hundredth of the points are in no triangle.

    Neighbouring triangulations differ, so that eigenvalues are low, whatever the number of points: by 5% of points drawn at
    random from a sphere or a torus, by 1.5% of such that `farthest_points` has spread evenly.

    Points at one place count once. The c of place i share its mass, m_i / c, and its weights, L_ij / (c_i c_j): the spectrum is
    that of the places, with equal values at each, and an eigenvalue L_ii / m_i for each further point.

    Arguments:
        pos: (V, 3), points at 4 places at least. neighbours: of each point that are triangulated, fewer if there are fewer; by
        default 30, and more where these do not do.
    """
    refuse_derivatives(pos, "laplacian, kind='cloud'")
    points = check_pos(pos).cpu()
    if neighbours is not None and neighbours < 3:
        raise CotanError(f"laplacian, kind='cloud': neighbours={neighbours}, expected at least 3")
    check_mollify(mollify)
    if len(points) >= 4 and bool((points == points[0]).all()):
        raise CotanError("laplacian, kind='cloud': a cloud without area: all points are at one place")
    first, place = torch.unique(first_alike(points), return_inverse=True)
    points = points[first]
    centre = points.mean(0)
    if bool(centre.norm() > FAR * (points.amax(0) - points.amin(0)).norm()):
        points = points - centre
    size = len(points)
    if size < 4:
        raise CotanError(f"laplacian, kind='cloud': expected at least 4 points at different places, got {size}")
    count = neighbours or NEIGHBOURS
    laplacian, mass = _glued(points.numpy(), count, mollify)
    if size >= ENOUGH:
        # Of points spread evenly, k lie in a disc of k times the area of one, pi r_k^2.
        area = np.pi / NEAREST * float(nearest(points, points, NEAREST + 1)[0][:, -1].square().sum())
        while neighbours is None and mass.sum() < MORE * area and count < 4 * NEIGHBOURS:
            count *= 2
            laplacian, mass = _glued(points.numpy(), count, mollify)
        _warn(laplacian, float(mass.sum()) / area)
    lumped = raised(torch.from_numpy(mass))
    if len(place) > size:
        laplacian, lumped = _shared(laplacian, lumped, place)
    return RobustMatrices(_finite(Sparse.from_scipy(laplacian)).to(pos.device), lumped.to(pos.device))


def _shared(laplacian: Any, mass: Tensor, place: Tensor) -> tuple[Any, Tensor]:
    """L_ij / (c_i c_j) between points of two places of c_i and c_j points, L_ii / c_i on the diagonal; mass m_i / c_i."""
    from scipy.sparse import csr_array, diags_array

    count = torch.bincount(place)
    points = np.arange(len(place))
    spread = csr_array((1 / count[place].numpy(), (points, place.numpy())), shape=(len(place), len(count)))
    diagonal = laplacian.diagonal()
    between = spread @ (laplacian - diags_array(diagonal)) @ spread.T
    return between + diags_array(spread @ diagonal), (mass / count)[place]


def _glued(points: Array, neighbours: int, mollify: float) -> tuple[Any, Array]:
    """Laplacian and mass, of the triangulations of each point and its neighbours."""
    from robust_laplacian import point_cloud_laplacian
    from scipy.sparse import csr_array

    try:
        laplacian, mass = point_cloud_laplacian(
            points, mollify_factor=mollify, n_neighbors=min(neighbours, len(points) - 1)
        )
    except RuntimeError as reason:
        raise CotanError(
            "laplacian, kind='cloud': robust-laplacian finds no triangles at some point: too many of the points are at "
            "one place or on one line"
        ) from reason
    laplacian = csr_array(laplacian)
    alone = (
        np.diff(laplacian.indptr) == 1
    )  # of a point without triangles, where robust-laplacian puts 1 on the diagonal
    laplacian.data[laplacian.indptr[:-1][alone]] = 0
    return laplacian, np.array(mass.diagonal())


def _warn(laplacian: Any, share: float) -> None:
    """Say so where a cloud's mass is far from the area that its points fill, or many of them have no triangles."""
    from scipy.sparse.csgraph import connected_components

    alone = float((laplacian.diagonal() == 0).mean())
    if LOW <= share <= HIGH and alone <= ALONE:
        return
    parts = connected_components(laplacian, directed=False)[0]
    warnings.warn(
        f"laplacian, kind='cloud': the mass is {share:.2f} of the area that the distances of the points suggest, "
        f"{alone:.0%} of the points are in no triangle, and what is glued falls into {parts} part{'s' * (parts > 1)}: "
        "eigenvalues are as wrong. Compare with neighbours=60 or 120, or with points that lie more evenly on a surface",
        MeshWarning,
        stacklevel=2,
    )


@operator("laplacian", kind="robust", invariant_to=("isometry", "scale"))
def robust_laplacian(robust_matrices: RobustMatrices) -> Sparse:
    """The Laplacian of `robust_matrices`."""
    return robust_matrices.laplacian


@operator("mass", kind="robust", per="vertex", invariant_to=("isometry",))
def robust_mass(robust_matrices: RobustMatrices) -> Tensor:
    """The mass of `robust_matrices`. (V,)"""
    return robust_matrices.mass


@operator("laplacian", kind="cloud")
def cloud_laplacian(cloud_matrices: RobustMatrices) -> Sparse:
    """The Laplacian of `cloud_matrices`."""
    return cloud_matrices.laplacian


@operator("mass", kind="cloud", per="vertex")
def cloud_mass(cloud_matrices: RobustMatrices) -> Tensor:
    """The mass of `cloud_matrices`. (V,)"""
    return cloud_matrices.mass


def check_mollify(mollify: float) -> None:
    if not mollify >= 0:
        raise CotanError(f"robust-laplacian: mollify={mollify}, expected at least 0")


def _finite(laplacian: Sparse) -> Sparse:
    if not torch.isfinite(laplacian.values).all():
        raise CotanError("robust-laplacian gives weights that are not finite on this shape")
    return laplacian
