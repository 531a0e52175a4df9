"""What a model is trained for: whether its output is per shape or per vertex, its loss and its metrics."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from .decorators import task

LESS_IS_BETTER = ("error", "loss")  # how such metrics end


@task("classify")
class Classify:
    """One class a shape. Output (B, classes), target (B,) int64.

    mean_recall is the mean over classes of the share of each that is found; the epoch is chosen by it with `class_balance`.
    """

    per = "shape"
    categorical = True

    @staticmethod
    def loss(output: Tensor, target: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        return functional.cross_entropy(output, target, weight, label_smoothing=smoothing)

    @staticmethod
    def metrics(output: Tensor, target: Tensor) -> dict[str, float]:
        right = (output.argmax(-1) == target) & output.amax(-1).isfinite()  # NaN would pass for the first class
        counts = torch.bincount(target)
        recall = torch.bincount(target[right], minlength=len(counts)).double() / counts
        return {"accuracy": right.double().mean().item(), "mean_recall": recall[counts > 0].mean().item()}


@task("label")
class Label(Classify):
    """One class a vertex. Output (V, classes), target (V,) int64."""

    per = "vertex"


@task("match")
class Match(Label):
    """A vertex of one template for each vertex (Masci et al. 2015). Output (V, vertices of the template), target (V,).

    Where the dataset has the template, `fit` and `evaluate` measure errors along its surface (see `geodesic_error`).
    """


@task("regress")
class Regress:
    """Numbers a shape. Output (B, D), target (B, D) or (B,); NaN is a number that is missing, and counts nowhere.

    The loss is in the model's deviations, if it has some.
    """

    per = "shape"
    scaled = True

    @staticmethod
    def loss(output: Tensor, target: Tensor, deviation: Tensor | float = 1.0) -> Tensor:
        target = target.reshape(output.shape).to(output.dtype)
        missing = target.isnan()
        error = (output - target.where(~missing, output)) / deviation
        return (error**2).sum() / (~missing).sum().clamp(min=1)

    @staticmethod
    def metrics(output: Tensor, target: Tensor) -> dict[str, float]:
        target = target.reshape(output.shape)
        error = (output - target)[~target.isnan()].double()
        return {
            "mean_absolute_error": error.abs().mean().item(),
            "root_mean_square_error": torch.sqrt((error**2).mean()).item(),
        }


@task("regress-vertices")
class RegressVertices(Regress):
    """Numbers a vertex. Output (V, D), target (V, D) or (V,), scaled as for `regress`."""

    per = "vertex"
