"""How far a map to a template is from the true one, along the template's surface (after Kim, Lipman and Funkhouser 2011)."""

from __future__ import annotations

import torch
from torch import Tensor

from .errors import CotanError
from .sparse import check_range
from .values import numbers


def geodesic_error(found: Tensor, truth: Tensor, distances: Tensor) -> Tensor:
    """For each vertex, how far what was found is from the truth, as a share of the template's diameter. (V,)

    Kim, Lipman and Funkhouser 2011, and many after them, divide by the root of the template's area: compare like with like.

    Arguments:
        found, truth: (V,) vertices of the template, where there is a truth. distances: (T, T) between all of its vertices
            (`Splits.distances`).

    >>> geodesic_error(cotan.predict(run, shape).label, shape.y, splits.distances).mean()
    """
    distances, size = numbers("geodesic_error: distances", distances), len(distances)
    found, truth = (numbers("geodesic_error: found, truth", each).cpu() for each in (found, truth))
    if found.shape != truth.shape or distances.shape != (size, size):
        raise CotanError(
            "geodesic_error: expected found and truth (V,) and distances (T, T), got "
            f"{tuple(found.shape)}, {tuple(truth.shape)} and {tuple(distances.shape)}"
        )
    for name, vertices in (("found", found), ("truth", truth)):
        check_range(f"geodesic_error: {name}", vertices, size)
    diameter = distances[torch.isfinite(distances)].max()
    return (distances[truth.long(), found.long()] / diameter).clamp(max=1)  # where no way leads, the diameter


def share_within(error: Tensor, radius: Tensor) -> Tensor:
    """The share of vertices with an error of at most each radius: the curve by which maps are compared. (R,)"""
    error, radius = numbers("share_within: error", error), numbers("share_within: radius", radius)
    if error.ndim != 1 or radius.ndim != 1 or not len(error):
        raise CotanError(
            f"share_within: expected (V,) and radii (R,), got {tuple(error.shape)} and {tuple(radius.shape)}"
        )
    return (error <= radius.to(error.device)[:, None]).double().mean(1)


def geodesic_metrics(found: Tensor, truth: Tensor, distances: Tensor) -> dict[str, float]:
    """The mean error, and the share of vertices that are off by 5% of the diameter or less."""
    error = geodesic_error(found, truth, distances)
    within = share_within(error, error.new_tensor([0.05]))
    return {"geodesic_error": error.mean().item(), "within_5_percent": within.item()}
