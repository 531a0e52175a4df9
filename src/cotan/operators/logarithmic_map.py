"""The whole surface in polar coordinates about one vertex."""

from __future__ import annotations

import torch
from torch import Tensor

from ..decorators import operator
from ..errors import CotanError
from .geodesic_distance import chosen, reached
from .mesh_report import faults, mesh_report
from .triangle_soup import triangle_soup


@operator(per="vertex", invariant_to=("rigid",), numbers=("source",), observable=lambda flat: flat.norm(dim=-1))
def logarithmic_map(pos: Tensor, face: Tensor, tangent_frames: Tensor, *, source: int = 0) -> Tensor:
    """log_s(i) in the tangent frame of s: the start and length of the geodesic from s to i. (V, 2)

    By the vector heat method (Sharp, Soliman and Crane 2019; potpourri3d), which needs a manifold mesh. Zero at the
    source; other components are not on the map and are refused. Beside a rim radii are off,
    by up to 0.23 on a unit square. No derivative with respect to pos.

    Arguments:
        pos: (V, 3). face: (3, F). tangent_frames: (V, 3, 3). source: s.
    """
    from potpourri3d import MeshVectorHeatSolver

    soup = triangle_soup(pos, face, "logarithmic_map")
    sources = chosen(source, len(pos), "logarithmic_map")
    if len(sources) > 1:
        raise CotanError(f"logarithmic_map: source={source}, expected one vertex")
    (centre,) = sources.tolist()
    joined = list(reached(soup, sources))
    away = len(pos) - sum(len(part.used) for part, _ in joined)
    if away:
        raise CotanError(f"logarithmic_map: {away} of {len(pos)} vertices are not joined to vertex {centre}")
    ((part, start),) = joined
    s = int(start[0])
    try:
        solver = MeshVectorHeatSolver(part.vertices, part.faces)
        x, y, _ = (torch.from_numpy(axis[s]) for axis in solver.get_tangent_frames())
        flat = torch.from_numpy(solver.compute_log_map(s))
    except RuntimeError as reason:
        report = mesh_report(pos, face)
        wrong = faults(report) or (reason if report["orientable"] else "faces that cannot agree")
        text = f"logarithmic_map: expected a manifold mesh whose faces agree, got one with {wrong}"
        raise CotanError(text) from reason
    if not torch.isfinite(torch.cat([flat.reshape(-1), x, y])).all():
        raise CotanError("logarithmic_map: the vector heat method fails on this mesh; `repair` it first")
    frame = tangent_frames[centre, :2].detach().double().cpu()
    turn = frame @ torch.stack([x, y], 1)  # from their tangents to ours; their planes differ a little
    u, _, v = torch.linalg.svd(turn)
    found = pos.new_zeros(len(pos), 2, dtype=torch.float64)
    found[part.used] = (flat @ (u @ v).T).to(pos.device)
    found[centre] = 0
    return found
