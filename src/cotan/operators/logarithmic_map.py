"""The whole surface in polar coordinates about one vertex."""

from __future__ import annotations

import torch
from torch import Tensor

from ..autodiff import refuse_derivatives
from ..decorators import operator
from ..errors import CotanError
from .checks import check_mesh
from .front import march
from .geodesic_distance import WIDTH, bounded, chosen, edges_of
from .geodesic_polar import along_edges, ends, headings, sides
from .intrinsic_delaunay import delaunay_headings, side_lengths
from .mass import measurable
from .triangles import triangles


@operator(
    per="vertex", invariant_to=("rigid",), numbers=("source",), observable=lambda flat: flat.norm(dim=-1), version=3
)
def logarithmic_map(pos: Tensor, face: Tensor, tangent_frames: Tensor, *, source: int = 0) -> Tensor:
    """log_s(i) in the tangent frame of s: the start and length of the geodesic from s to i. (V, 2)

    By the front of `geodesic_distance`, whose lengths they are, which carries along in what direction each way begins. Exact on
    planes of even triangles; on scanned and modelled meshes directions are off by 0.5 to 4 degrees in the median. That of an
    edge at s is its projection, as in `geodesic_polar`. Where several geodesics are shortest, it is one of them. Zero at the
    source; other components are not on the map and are refused. No derivative with respect to pos.

    Arguments:
        pos: (V, 3). face: (3, F). tangent_frames: (V, 3, 3). source: s.
    """
    refuse_derivatives(pos, "logarithmic_map")
    pos, face = check_mesh(pos, face)
    measurable(triangles(pos, face), face)
    centre, size = chosen(source, len(pos), "logarithmic_map").to(pos.device), len(pos)
    if len(centre) > 1:
        raise CotanError(f"logarithmic_map: source={source}, expected one vertex")
    heading = headings(pos, face, tangent_frames)
    flipped, length, heading = delaunay_headings(face, side_lengths(pos, face), heading)
    at = (flipped == centre).expand(2, -1, -1)
    place, reach, begin = (
        torch.cat([own, beside[at]])  # the centre is nowhere but at itself
        for own, beside in ((centre, ends(flipped)), (pos.new_zeros(1), sides(length)), (pos.new_zeros(1), heading))
    )
    radius, angle = along_edges(size, place, reach, begin)
    key, width = torch.arange(size, device=pos.device), WIDTH * float(length.mean())
    radius, angle, _ = march(
        size, flipped, length, key, radius, angle, torch.zeros_like(key), key == centre, size, width
    )
    if away := int(torch.isinf(radius).sum()):
        raise CotanError(f"logarithmic_map: {away} of {size} vertices are not joined to vertex {int(centre)}")
    radius = bounded(radius, pos, edges_of(pos, face), centre)
    return radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
