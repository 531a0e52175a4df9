"""The generalised winding number of any triangles about voxel centres (Jacobson et al. 2013).

w(p) = (1/4 pi) (solid angle of the surface seen from p). A closed surface is counted by its crossings with a ray alone.
An open one is closed by walls that fall from its boundary to infinity, so that (a -> b runs over the net boundary)

    w(p) = crossings above p + (1/4 pi) sum_ab Omega(a - p, b - p, -z)
    tan(Omega(a, b, c) / 2) = det(a, b, c) / (|a||b||c| + (a.b)|c| + (b.c)|a| + (c.a)|b|)

the latter by van Oosterom and Strackee (1983).

It is exact, and costs voxels x boundary edges instead of voxels x faces. Where edges are many, holes get lids: w is the
count of crossings of the surface with its lids, exact, less w of the lids alone. Of these, or of all triangles where lids
would be more than half as large, cells of an octree are seen from afar as dipoles (Barill et al. 2018),

    w(p) = sum_cells m . (c - p) / (4 pi |c - p|^3)         m the sum of area normals in a cell, c its centre
"""

import math

import torch
from torch import Tensor

from cotan.operators import face_areas

from . import grid
from .closed import boundary, weld
from .crossings import counts_above, edge_function, owns_line
from .distance import cut
from .octree import Cells, Octree, half_diagonal

# Boundary edges times voxels, above which lids take the place of exact angles: these would take seconds.
EXACT = 1 << 24
# Of the area of a surface, above which its lids save nothing. No box has just that: rounding must not choose.
SHARE = 0.55
# A cell is a dipole from so many of its radii.
AFAR = 2.5
# Triangles, above which none is cut.
PIECES = 1 << 17
# By so many voxels are triangles lowered before angles are taken: as for crossings, a centre on a face is above it.
LOWER = 1e-7


def winding_number(triangles: Tensor, resolution: int, closed: bool = False) -> Tensor:
    """w at each voxel centre, (R, R, R), of snapped triangles (F, 3, 3). `closed`: they are known to have no boundary."""
    r = resolution
    if closed:
        return counts_above(triangles, r, signed=True)
    face = weld(triangles)
    start, end, net = boundary(face)
    if len(net) == 0:
        return counts_above(triangles, r, signed=True).double()
    corners = triangles.new_zeros(int(face.max()) + 1, 3)
    corners[face.t().reshape(-1)] = triangles.reshape(-1, 3)
    if len(net) * r**3 > EXACT:
        lid = _lids(start, end, net)
        if face_areas(corners, lid.t()).sum() > SHARE * face_areas(corners, face).sum():
            return by_dipoles(triangles, r)
        lids = corners[lid]
        # Lowered for both, lids that pass a centre by less than that pass it on one side.
        lowered = lids - lids.new_tensor([0, 0, LOWER])
        return counts_above(torch.cat([triangles, lowered]), r, signed=True) - by_dipoles(lids, r)
    w = counts_above(triangles, r, signed=True).double()
    a, b = corners[start], corners[end]
    # A point on the line of an edge belongs to the side that the crossings gave it to.
    tie = torch.where(owns_line(a, b), 1e-300, -1e-300)
    flat = w.view(-1)
    step = max(grid.BUDGET // len(net), 1)
    for first in range(0, r**3, step):
        number = torch.arange(first, min(first + step, r**3), device=w.device)
        centre = torch.stack([number // (r * r), number // r % r, number % r], -1) + 0.5
        half = _half_angle(a, b, tie, centre[:, None])  # (P, N)
        flat[first : first + step] += half @ net.double() / (2 * math.pi)
    return w


def _lids(start: Tensor, end: Tensor, net: Tensor) -> Tensor:
    """Faces (L, 3) that close a boundary: where a -> v -> b run, the lid v, a, b leaves a -> b, at every other v at once.

    So most lids are small. As often as edges of a boundary come to a vertex, they leave it.
    """
    a, b = torch.where(net > 0, start, end), torch.where(net > 0, end, start)
    a, b = (ends.repeat_interleave(net.abs()) for ends in (a, b))
    lids = []
    generator = torch.Generator().manual_seed(0)
    while len(a):
        chance = torch.rand(int(torch.maximum(a, b).max()) + 1, generator=generator).to(net.device, torch.float64)
        least = torch.ones_like(chance).scatter_reduce(0, torch.cat([a, b]), chance[torch.cat([b, a])], "amin")
        goes = chance < least
        comes, leaves = goes[b].nonzero().squeeze(1), goes[a].nonzero().squeeze(1)
        comes, leaves = comes[b[comes].argsort()], leaves[a[leaves].argsort()]
        before, after = a[comes], b[leaves]
        lids.append(torch.stack([a[leaves], before, after], 1)[before != after])
        stays = ~(goes[a] | goes[b])
        a, b = torch.cat([a[stays], before]), torch.cat([b[stays], after])
        a, b = a[a != b], b[a != b]
    return torch.cat(lids)


def _half_angle(a: Tensor, b: Tensor, tie: Tensor, p: Tensor) -> Tensor:
    """Omega(a - p, b - p, -z) / 2."""
    area = edge_function(a, b, p[..., 0], p[..., 1])
    area = torch.where(area == 0, tie, area)
    a, b = a - p, b - p
    na, nb = a.norm(dim=-1), b.norm(dim=-1)
    return torch.atan2(-area, na * nb + (a * b).sum(-1) - b[..., 2] * na - a[..., 2] * nb)


def by_dipoles(triangles: Tensor, resolution: int) -> Tensor:
    """w at each voxel centre, (R, R, R), of any triangles (F, 3, 3), far ones as dipoles.

    To about 0.02 on surfaces with holes (0.04 at single centres), 0.3 among loose triangles as large as the shape.
    """
    # As for crossings, a centre on an upright face is beyond it along x.
    tree = Octree(cut(triangles - triangles.new_tensor([1e-10, 0, LOWER]), PIECES), resolution)
    w = triangles.new_zeros(8**tree.top)

    def closer(level: int, block: Tensor, cells: Cells, cell: Tensor) -> Tensor:
        away = cells.centre[cell] - tree.middle(level, block)
        near = away.norm(dim=-1) <= AFAR * cells.radius[cell].clamp(min=0.1) + half_diagonal(level)
        inner = tree.middle(0, torch.arange(8**level, device=w.device)) - 2**level / 2  # from the middle of a block
        for some in (~near).nonzero().squeeze(1).split(max(grid.BUDGET // 8**level, 1)):
            m, d = cells.moment[cell[some]], away[some]
            square = (d * d).sum(1, keepdim=True) + (inner * inner).sum(1) - 2 * d @ inner.t()
            flux = (m * d).sum(1, keepdim=True) - m @ inner.t()
            w.view(-1, 8**level).index_add_(0, block[some], flux / (square * square.sqrt()))
        return near

    def meet(voxel: Tensor, triangle: Tensor) -> None:
        w.index_add_(0, voxel, _solid_angle(tree.triangles[triangle] - tree.middle(0, voxel)[:, None]))

    tree.walk(closer, meet)
    return tree.grid(w) / (4 * math.pi)


def _solid_angle(corners: Tensor) -> Tensor:
    """Of triangles (N, 3, 3) seen from the origin."""
    a, b, c = corners.unbind(1)
    na, nb, nc = corners.norm(dim=-1).unbind(1)
    det = (a * torch.linalg.cross(b, c)).sum(-1)
    return 2 * torch.atan2(det, na * nb * nc + (a * b).sum(-1) * nc + (b * c).sum(-1) * na + (c * a).sum(-1) * nb)
