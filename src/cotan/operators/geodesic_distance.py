"""Distance along the surface from chosen vertices."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..decorators import operator
from ..errors import CotanError
from ..untraced import array
from ..values import numbers
from .checks import check_mesh
from .edge_index import edge_index
from .edge_lengths import edge_lengths
from .front import march
from .intrinsic_delaunay import intrinsic_delaunay, side_lengths
from .mass import measurable
from .neighbours import nearest
from .ring_neighbours import widened
from .topology import connected
from .triangle_soup import Soup, triangle_soup
from .triangles import triangles

WIDTH = 2  # of the front's bands, in mean edges
OVERLAP = 2  # rings of neighbours: with one, ways are up to a quarter too long where several fronts meet


@operator("geodesic_distance", kind="front", per="vertex", invariant_to=("isometry",), numbers=("source",), version=6)
def geodesic_distance(pos: Tensor, face: Tensor, *, source: int | tuple[int, ...] = 0) -> Tensor:
    """Distance to the nearest source, by a front that unfolds faces (after Melvaer and Reimers 2012). (V,)

    Over the intrinsic Delaunay triangulation of the same vertices; never longer than along edges, nor shorter than the
    chord. Exact on a plane where that has no obtuse corner; off by 0.1 to 0.4% on average on scanned and modelled meshes,
    and at single vertices of coarse ones by some percent either way: by up to a third where these are steeply folded.
    Through obtuse corners, as at rims and where vertices lie several times as close one way as the other, ways go along
    edges: on thin strips up to a fifth too long, where kind="heat" is off by 1.5%. It takes steps for each ring of
    neighbours, so that long meshes take longer.
    Infinite where no path along faces leads to a source. No derivative with respect to pos.

    Arguments:
        pos: (V, 3). face: (3, F). source: a vertex or several.
    """
    refuse_derivatives(pos, "geodesic_distance")
    pos, face = check_mesh(pos, face)
    measurable(triangles(pos, face), face)
    sources = chosen(source, len(pos), "geodesic_distance").to(pos.device)
    distance = pos.new_full((len(pos),), math.inf)
    distance[sources] = 0
    here = torch.arange(len(pos), device=pos.device)  # all sources are one centre, number 0
    fixed = distance == 0
    flipped, length = intrinsic_delaunay(face, side_lengths(pos, face))
    distance, _, first = _march(len(pos), flipped, length, here, distance, here, fixed)
    if len(sources) > 1:
        distance = _through_each_other(flipped, length, distance, first)
    return bounded(distance, pos, edges_of(pos, face), sources)


def edges_of(pos: Tensor, face: Tensor) -> Any:
    """The lengths of a mesh's edges as a `csr_array` (V, V)."""
    from scipy.sparse import coo_array

    ends = edge_index(face)
    return coo_array((array(edge_lengths(pos, ends)), tuple(array(ends))), shape=(len(pos), len(pos))).tocsr()


def bounded(distance: Tensor, pos: Tensor, edges: Any, sources: Tensor) -> Tensor:
    """Distances (V,) to the nearest source, or from each (S, V), no longer than along edges and no shorter than the chord.

    Where ways to the two ends of a side come by two sides of a fold, no plane holds both, and the front is too short.
    """
    from scipy.sparse.csgraph import dijkstra

    each = distance.ndim == 2
    along = torch.from_numpy(dijkstra(edges, indices=array(sources), min_only=not each)).to(distance)
    ones = pos[sources]
    chord = torch.linalg.vector_norm(ones[:, None] - pos, dim=2) if each else nearest(ones, pos)[0][:, 0]
    return torch.minimum(distance, along).maximum(chord)


def _march(
    size: int, face: Tensor, length: Tensor, key: Tensor, radius: Tensor, origin: Tensor, fixed: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """`march` without angles, until nothing changes."""
    width = WIDTH * float(length.mean())
    return march(size, face, length, key, radius, torch.zeros_like(radius), origin, fixed, len(key), width)


def _through_each_other(face: Tensor, length: Tensor, distance: Tensor, nearest: Tensor) -> Tensor:
    """Distances (V,) where each source's front goes on into the next regions, by `OVERLAP` rings.

    A face is unfolded beside ways from one source: where fronts only meet, ways go along edges, up to a third too long.

    Arguments: distance, nearest (V,): to the source that is nearest, and which.
    """
    size, known, edges = len(distance), torch.isfinite(distance), edge_index(face)
    own = nearest * size + torch.arange(size, device=distance.device)
    border = torch.unique(edges[0, known[edges[0]] & (nearest[edges[0]] != nearest[edges[1]])])
    key = torch.unique(torch.cat([own[known], widened(own[border], edges, size, OVERLAP)]))
    source, vertex = key // size, key % size
    radius = torch.where(nearest[vertex] == source, distance[vertex], math.inf)
    radius, _, _ = _march(size, face, length, key, radius, source, source == vertex)
    return distance.scatter_reduce(0, vertex, radius, "amin")


@operator("geodesic_distance", kind="heat", per="vertex", invariant_to=("isometry",), numbers=("source",))
def heat_distance(pos: Tensor, face: Tensor, *, source: int | tuple[int, ...] = 0, time: float = 1.0) -> Tensor:
    """Distance to the nearest source, by the heat method (Crane, Weischedel and Wardetzky 2013; potpourri3d). (V,)

    Off by a fifth one edge from the source, by some percent at a few edges, by one further away; with many sources, a few
    edges from each other, by a quarter on average. Take kind="front" but on thin strips with obtuse corners, or for
    distances that are smoother for a larger `time`. Takes non-manifold meshes.
    Infinite where no path along faces leads to a source. No derivative with respect to pos.
    In a face whose corners are all equally warm, heat has no direction but that of rounding: on a regular tetrahedron
    distances change by a quarter with the pose. Those of kind="front" do not.

    Arguments:
        pos: (V, 3). face: (3, F). source: a vertex or several. time: of diffusion, in squared mean edge lengths.
    """
    from potpourri3d import MeshHeatMethodDistanceSolver

    if not 0 < time < math.inf:
        raise CotanError(f"geodesic_distance: time={time}, expected a positive number")
    soup = triangle_soup(pos, face, "geodesic_distance")
    sources = chosen(source, len(pos), "geodesic_distance")
    distance = torch.full((len(pos),), math.inf, dtype=torch.float64)
    for part, start in reached(soup, sources):  # several at once would be off by one shift in common
        try:
            solver = MeshHeatMethodDistanceSolver(part.vertices, part.faces, t_coef=time)
            found = torch.from_numpy(solver.compute_distance_multisource(start.tolist()))
        except RuntimeError as reason:
            measurable(triangles(*(checked := check_mesh(pos, face))), checked[1])
            raise CotanError(f"geodesic_distance: this mesh is refused by potpourri3d: {reason}") from reason
        if not torch.isfinite(found).all():
            raise CotanError("geodesic_distance: the heat method fails on this mesh; `repair` it first")
        distance[part.used.cpu()] = found.clamp_min(0)
    distance[sources] = 0
    return distance.to(device=pos.device)


def all_distances(pos: Tensor, face: Tensor) -> Tensor:
    """From each vertex to each, by `geodesic_distance`: row i is that of source i. (V, V)

    A function and no operator: its values for several shapes make no batch.
    """
    pos, face = check_mesh(pos, face)
    flipped, length = intrinsic_delaunay(face, side_lengths(pos, face))
    size, edges = len(pos), edges_of(pos, face)
    rows = []
    for centres in torch.arange(size, device=pos.device).split(max(1, 2**16 // size)):
        distance = pos.new_full((len(centres), size), math.inf).scatter_(1, centres[:, None], 0.0).reshape(-1)
        pairs = torch.arange(len(distance), device=pos.device)
        far, _, _ = _march(size, flipped, length, pairs, distance, pairs // size, distance == 0)
        rows.append(bounded(far.view(-1, size), pos, edges, centres))
    return torch.cat(rows)


def chosen(source: int | tuple[int, ...], vertices: int, what: str) -> Tensor:
    """The vertices named by an option, each once."""
    given = numbers(f"{what}: source", source).reshape(-1)
    if given.dtype == torch.bool:
        raise CotanError(f"{what}: source holds truth values, expected vertex numbers: mask.nonzero()[:, 0] of a mask")
    sources: Tensor = torch.unique(given.long())
    if not len(sources) or given.is_floating_point() or int(sources.min()) < 0 or int(sources.max()) >= vertices:
        raise CotanError(f"{what}: source={source}, expected vertex numbers from 0 to {vertices - 1}")
    return sources


def reached(soup: Soup, sources: Tensor) -> Iterator[tuple[Soup, Tensor]]:
    """Each component of the mesh that holds a source, and its sources' numbers there."""
    faces = torch.from_numpy(soup.faces).T
    _, component = connected(len(soup.used), faces[[0, 0]].reshape(-1), faces[[1, 2]].reshape(-1))
    start = torch.isin(soup.used.cpu(), sources).nonzero()[:, 0]
    for label in torch.unique(component[start]):
        here = component == label
        number = here.long().cumsum(0) - 1
        used = soup.used[here.to(soup.used.device)]
        part = Soup(soup.vertices[here.numpy()], number[faces[:, here[faces[0]]]].T.contiguous().numpy(), used)
        yield part, number[start[here[start]]]
