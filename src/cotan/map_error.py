"""How far a map to a template is from the true one, along the template's surface (after Kim, Lipman and Funkhouser 2011)."""

from __future__ import annotations

import torch
from torch import Tensor


def geodesic_error(found: Tensor, truth: Tensor, distances: Tensor) -> Tensor:
    """For each vertex, how far what was found is from the truth, as a share of the template's diameter. (V,)

    Kim, Lipman and Funkhouser 2011, and many after them, divide by the root of the template's area: compare like with like.

    Arguments:
        found, truth: (V,) vertices of the template. distances: (T, T) between these (`Splits.distances`).

    >>> geodesic_error(cotan.predict(run, shape).label, shape.y, splits.distances).mean()
    """
    diameter = distances[torch.isfinite(distances)].max()
    return (distances[truth.cpu(), found.cpu()] / diameter).clamp(max=1)  # where no way leads, the diameter


def share_within(error: Tensor, radius: Tensor) -> Tensor:
    """The share of vertices with an error of at most each radius: the curve by which maps are compared. (R,)"""
    return (error <= radius[:, None]).double().mean(1)


def geodesic_metrics(found: Tensor, truth: Tensor, distances: Tensor) -> dict[str, float]:
    """The mean error, and the share of vertices that are off by 5% of the diameter or less."""
    error = geodesic_error(found, truth, distances)
    within = share_within(error, error.new_tensor([0.05]))
    return {"geodesic_error": error.mean().item(), "within_5_percent": within.item()}
