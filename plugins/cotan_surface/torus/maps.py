"""Maps of a shape to a flat torus."""

import math
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import cotan
from cotan.errors import at_least, one_of

from .cut import EXTREMITIES, Disc, cut, extremities, triples
from .edges import edge_graph
from .embed import WEIGHTS, embed, flat_area, star
from .image import draw, on_lattice
from .sphere import Sphere, sphere

HANDLES = 8  # that are cut; a surface with more is hardly a body that touches itself


class Torus(NamedTuple):
    """M maps of a shape to the torus [0, 1)^2, each with four copies of the shape.

    Attributes:
        pull: (M R R, V) sparse, the barycentric shares of three vertices in each pixel, at seams parted among those at one
            place: `pull @ x` are the images of a signal x, row (m R + i) R + j the pixel of map m about
            ((i + 1/2) / R, (j + 1/2) / R).
        uv: (V, M, 4, 2) the places of each vertex, one in each copy, in units of the torus; in no order: which of its
            corners' places make up a copy of a face is read from `pull`.
        scale: (V, M) the share of the torus that belongs to a vertex: how well a map shows it. All sum to one; where
            handles were cut to less, as caps, and second places of vertices on their rims, have the rest.
        turned: (V, M) how many faces at a vertex a map turns over or flattens: all 0 where the map is a bijection.
    """

    pull: cotan.Sparse
    uv: Tensor
    scale: Tensor
    turned: Tensor


class Chart(NamedTuple):
    """One map: the sphere, how it was cut, and a place for each of its vertices."""

    sphere: Sphere
    disc: Disc
    value: NDArray[np.complex128]


def charts(
    pos: Tensor,
    face: Tensor,
    *,
    maps: int = 1,
    seed: int = 0,
    weights: str = "cotan",
    balance: int = 2,
    handles: int = HANDLES,
) -> list[Chart]:
    """Flatten a shape in `maps` ways, each with another three of its extremities at the cone points.

    On limbs many times as long as they are wide a map may shrink below what rounding leaves apart, and faces turn over:
    such a map is taken only where there are too few others.
    """
    one_of("weights of torus", weights, WEIGHTS)
    at_least(1, "torus", maps=maps)
    at_least(0, "torus", balance=balance, handles=handles)
    # By a power of two, which rounds nothing: squares of areas would leave the range of float64.
    unit = 2.0 ** (math.frexp(float(pos[face].abs().max()))[1] - 1) if face.numel() else 1.0
    ball = sphere(pos.detach().double() / unit, face, handles=handles)
    shape = ball._replace(pos=ball.pos * unit)
    graph = edge_graph(ball.pos, ball.face)
    points = extremities(ball, graph, EXTREMITIES)
    corners, triangles = ball.pos.cpu().numpy(), ball.face.cpu().numpy()
    out: list[Chart] = []
    folded: list[Chart] = []
    for triple in triples(len(points), seed):
        if len(out) == maps:
            break
        disc = _cut(ball, graph, [points[i] for i in triple])
        if disc is not None:
            chart = Chart(shape, disc, embed(corners, triangles, disc, weights, balance))
            (out if flat_area(chart.value, disc).min() > 0 else folded).append(chart)
    out = [*out, *folded][:maps]
    if len(out) < maps:
        raise cotan.CotanError(
            f"this mesh of {len(pos)} vertices has only {len(out)} different torus maps, got {maps=}"
        )
    return out


def _cut(ball: Sphere, graph, cones: list[int]) -> Disc | None:
    """Cut, if need be with another of the points in the middle."""
    for first, middle, last in (cones, [cones[1], cones[0], cones[2]], [cones[0], cones[2], cones[1]]):
        disc = cut(ball, graph, (first, middle, last))
        if disc is not None:
            return disc
    return None


def _observable(maps: Torus) -> Torus:
    """What the test kit compares, by vertex: which of its four places comes first depends on the cut, and means nothing."""
    return Torus(maps.pull.T.to_dense(), torch.cos(2 * torch.pi * maps.uv).sum(2), maps.scale, maps.turned)


def _picture(file: BinaryIO, _value: Torus, *, pos: Tensor, face: Tensor, **options: Any) -> None:
    from .picture import chart_figure  # draws the charts of this module

    chart_figure(pos, face, **options).savefig(file)


@cotan.operator(per="vertex", invariant_to=("rigid", "scale"), observable=_observable, version=6, picture=_picture)
def torus(
    pos: Tensor,
    face: Tensor,
    *,
    maps: int = 1,
    resolution: int = 64,
    seed: int = 0,
    weights: str = "cotan",
    balance: int = 2,
    handles: int = HANDLES,
) -> Torus:
    """Maps of a closed surface to a flat torus, as images with periodic boundary.

    Arguments:
        maps: how many, each with other cone points, where a map shows most.
        resolution: R, a power of two.
        seed: the order in which cone points are taken among the extremities of the shape; 0 takes the farthest first.
        weights: `cotan` keeps angles where the mesh allows, `uniform` sees the connectivity alone.
        balance: rounds of evening out areas, which a map that only keeps angles shrinks exponentially along limbs.
        handles: how many handles, as where a body touches itself, may be cut to make a sphere of the shape; `mesh_report`
            gives their number as genus. Each is cut along the shortest loop that leaves the surface in one piece, and the
            two rims are closed by caps. 0 takes spheres alone. A shape of genus 1 is cut like any other.

    A map is a bijection wherever rounding allows: on limbs many times as long as wide it may shrink faces below the digits
    of a float, and some turn over. Such a map is taken only where there are too few others; `turned` of the value, a
    `cotan_surface.torus.Torus`, counts those faces. A mesh that is no closed surface, or has more handles, is refused.

    `cotan_surface.torus.chart_figure` draws the maps.
    """
    from scipy.sparse import vstack

    cotan.autodiff.refuse_derivatives(pos, "torus")
    if resolution < 4 or resolution & (resolution - 1) or resolution > 512:
        raise cotan.CotanError(f"the torus needs a resolution that is a power of two from 4 to 512, got {resolution}")
    found = charts(pos, face, maps=maps, seed=seed, weights=weights, balance=balance, handles=handles)
    signal = signals(found[0].sphere, len(pos))
    pull = cotan.Sparse.from_scipy(vstack([image(chart, resolution) @ signal for chart in found])).to(pos.device)
    spots = zip(*(spot(chart, len(pos)) for chart in found), strict=True)
    return Torus(pull, *(torch.stack(each, 1).to(pos.device) for each in spots))


def signals(ball: Sphere, count: int):
    """(N, V) sparse: the signal of each vertex of the sphere is that of the mesh's; at the centre of a cap its rim's mean.

    Vertices of the mesh at one place of a seam are seen as their mean.
    """
    from scipy.sparse import coo_array

    vertex = ball.vertex.cpu().numpy()
    start, end = (side.reshape(-1).cpu().numpy() for side in (ball.face, ball.face.roll(-1, 0)))
    rim = (vertex[start] < 0) & (vertex[end] >= 0)
    own = np.flatnonzero(vertex >= 0)
    row, column = np.concatenate([own, start[rim]]), np.concatenate([vertex[own], vertex[end[rim]]])
    share = 1 / np.bincount(row)
    seen = coo_array((share[row], (row, column)), shape=(len(vertex), count)).tocsr()
    place = ball.place.cpu().numpy()
    return seen @ coo_array((1 / np.bincount(place)[place], (place, np.arange(count))), shape=(count, count)).tocsr()


def image(chart: Chart, resolution: int):
    """(R R, N) sparse: the shares of the sphere's vertices in each pixel of a map."""
    from scipy.sparse import csr_array

    under, share = draw(chart.value, chart.disc, resolution)
    corner = chart.sphere.face.cpu()[:, under.view(-1)].t().reshape(-1)
    entries = (share.reshape(-1).numpy(), corner.numpy(), np.arange(0, len(corner) + 1, 3))
    return csr_array(entries, shape=(resolution**2, len(chart.sphere.pos)))


def spot(chart: Chart, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where a map shows each vertex of the mesh (V, 4, 2), how large (V,), and with how many faces turned over (V,).

    Vertices at one place of a seam have the same place and an equal part of its size.
    """
    area, face = flat_area(chart.value, chart.disc), chart.sphere.face.cpu().numpy()
    size = 4 / 3 * star(area, face)
    # Of the vertices that stand for one, the largest speaks for it; the centres of caps speak for none.
    vertex = chart.sphere.vertex.cpu().numpy()
    over = vertex[face[:, area <= 0]]
    turned = np.bincount(over[over >= 0], minlength=count).astype(float)
    order = np.argsort(size, kind="stable")
    order = order[vertex[order] >= 0]
    vertex = vertex[order]
    # As in a drawing: a hair below 0 would be 1, which is no place on the torus, once rounded.
    copies = on_lattice(chart.value[order, None]) * np.array([1, 1j, -1, -1j])
    uv, scale = np.zeros((count, 4, 2)), np.zeros(count)
    uv[vertex] = np.stack([copies.real % 1, copies.imag % 1], -1)
    scale[vertex] = size[order]
    place = chart.sphere.place.cpu().numpy()
    scale = (scale / np.bincount(place, minlength=count).clip(1))[place]
    return torch.from_numpy(uv[place]), torch.from_numpy(scale), torch.from_numpy(turned[place])
