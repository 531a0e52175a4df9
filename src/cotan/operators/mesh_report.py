"""What is right and wrong with a mesh, in numbers."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..decorators import operator
from ..sparse import first_alike, numbered
from .checks import check_face, check_shape
from .edge_index import is_triangle
from .nesting import depths
from .topology import Orientation, Topology, connected, fans, orientation, topology
from .triangles import inner, triangles


@operator(per="shape", invariant_to=("rigid", "scale"))
def mesh_report(pos: Tensor, face: Tensor) -> dict[str, Any]:
    """Counts, Euler number and genus of a mesh. A record.

    vertices, faces, edges, components;
    non_finite_vertices, unreferenced_vertices, duplicate_vertices (at the place of an earlier one);
    degenerate_faces (naming a vertex twice), flat_faces (three vertices, no area to 1e-6 of the squared sides),
    duplicate_faces (the vertices of an earlier one);
    non_manifold_edges (more than two faces), non_manifold_vertices (more than one fan of faces, or at such an edge);
    boundary_edges, boundary_loops; flipped_faces (the fewest to turn so that faces agree), orientable;
    inside_out_patches (parts joined along edges: closed, facing inwards, or outwards within an odd number of other closed
    ones, as which they are cavities); closed (no rim, faces agree), manifold;
    euler = V - E + F over vertices with faces; genus of all components together, None unless manifold and orientable.

    Topology is that of the faces with three different vertices; vertices are joined by number, not by place.

    Arguments:
        pos: (V, 3). face: (3, F).
    """
    check_shape(pos)
    pos, face = pos.detach().double().cpu(), check_face(face, len(pos)).cpu()
    finite = torch.isfinite(pos).all(1)
    proper = is_triangle(face)
    known = face[:, proper & finite[face].all(0)]
    shape = triangles(pos, known)
    kept = face[:, proper]
    t = topology(kept)
    o = orientation(t)

    number, fan = fans(t)
    vertex_of_fan = torch.zeros(number, dtype=torch.long).scatter(0, fan, kept.reshape(-1))
    crowded = t.edges[:, t.faces_at > 2]
    pinched = vertex_of_fan.bincount(minlength=len(pos)) > 1
    pinched[crowded.reshape(-1)] = True

    edges, used = len(t.faces_at), count_used(kept, len(pos))
    rim = int((t.faces_at == 1).sum())
    loops = boundary_loops(t, fan)
    # Of faces joined along edges or at vertices.
    components = len(torch.unique(connected(len(pos), *t.edges)[1][kept[0]]))
    manifold = not bool(pinched.any())
    orientable = bool(o.orientable.all())
    euler = used - edges + kept.shape[1]
    return {
        "vertices": len(pos),
        "faces": face.shape[1],
        "edges": edges,
        "components": components,
        "non_finite_vertices": int((~finite).sum()),
        "unreferenced_vertices": len(pos) - count_used(face, len(pos)),
        "duplicate_vertices": int(finite.sum()) - len(numbered(pos[finite]).bincount()),
        "degenerate_faces": int((~proper).sum()),
        "flat_faces": int(shape.flat.sum()),
        "duplicate_faces": int(repeats(kept).sum()),
        "non_manifold_edges": crowded.shape[1],
        "non_manifold_vertices": int(pinched.sum()),
        "boundary_edges": rim,
        "boundary_loops": loops,
        "flipped_faces": int(o.flip.sum()),
        "orientable": orientable,
        "inside_out_patches": int(inside_out(pos.nan_to_num(), kept, t, o).sum()),
        "closed": rim == 0 and manifold and not bool(o.flip.any()) and orientable,
        "manifold": manifold,
        "euler": euler,
        "genus": components - (euler + loops) // 2 if manifold and orientable else None,
    }


FAULTS = (
    "non_finite_vertices",
    "non_manifold_edges",
    "non_manifold_vertices",
    "degenerate_faces",
    "flat_faces",
    "duplicate_faces",
    "flipped_faces",
    "inside_out_patches",
    "unreferenced_vertices",
)


def faults(report: dict[str, Any]) -> str:
    """What is wrong with a mesh by its report, "3 flat faces, 1 unreferenced vertex"; empty if nothing is."""
    found = ((report[name], name.replace("_", " ")) for name in FAULTS if report[name])
    return ", ".join(
        f"{n} {name if n > 1 else name.replace('vertices', 'vertex').replace('patches', 'patch').removesuffix('s')}"
        for n, name in found
    )


def boundary_loops(t: Topology, fan: Tensor) -> int:
    """The number of closed chains of sides that have one face; loops that touch at a vertex stay two."""
    faces = len(t.edge) // 3
    rim = (t.faces_at[t.edge] == 1).nonzero()[:, 0]
    if not len(rim):
        return 0
    # Side s starts at corner s + F and ends at corner s + 2F: fans, not vertices, are the links of the chain.
    ends = fan[torch.stack([rim + faces, rim + 2 * faces]) % (3 * faces)]
    links, number = torch.unique(ends, return_inverse=True)
    return connected(len(links), number[0], number[1])[0]


def inside_out(pos: Tensor, face: Tensor, t: Topology, o: Orientation) -> Tensor:
    """Whether each patch, its faces turned to agree, is closed and faces what is solid by `depths`. (patches,)"""
    turned = torch.where(o.flip, face.flip(0), face)
    corners = (pos - pos.mean(0)).index_select(0, turned.reshape(-1)).view(3, -1, 3)
    a, b, c = corners
    volume = inner(a, torch.linalg.cross(b, c))
    total = torch.zeros(o.patches, dtype=pos.dtype).index_add(0, o.patch, volume)
    closed = o.orientable.clone()
    closed[o.patch[(t.faces_at != 2)[t.edge].view(3, -1).any(0)]] = False
    if int(closed.sum()) > 1:
        parts = corners[:, o.patch.argsort(stable=True)].split(o.patch.bincount().tolist(), 1)
        cavity = depths([parts[i] for i in closed.nonzero()[:, 0].tolist()]) % 2 == 1
        total[closed] *= torch.where(cavity, -1, 1)
    return closed & (total < 0)


def count_used(face: Tensor, size: int) -> int:
    """How many of the vertices have a face."""
    return int(torch.zeros(size, dtype=torch.bool).index_fill(0, face.reshape(-1), True).sum())


def repeats(face: Tensor) -> Tensor:
    """Whether a face has the three vertices of an earlier one. (F,)"""
    rows, size = face.sort(0).values, int(face.max()) + 1 if face.numel() else 1
    key = (rows[0] * size + rows[1]) * size + rows[2]  # beyond 2^63 different faces may share one, equal ones still do
    if len(torch.unique(key)) == len(key):
        return torch.zeros_like(key, dtype=torch.bool)
    return first_alike(rows.T) < torch.arange(face.shape[1])
