"""What a model is trained for: whether its output is per shape or per vertex, its loss and its metrics."""

from __future__ import annotations

from statistics import fmean

import torch
from torch import Tensor
from torch.nn import functional

from .decorators import task
from .errors import CotanError

EACH, MOST = "mean_absolute_error_", 100  # of one number of several; more numbers than these are no list of targets
SCORES = ("mean_recall", "mean_iou", "roc_auc", "average_precision")  # which count no refusal


def less_is_better(metric: str) -> bool:
    """Whether less of it is better, as of mean_absolute_error_0, by how its name ends."""
    return metric.rstrip("_0123456789").endswith(("error", "loss"))


def ranking_metrics(score: Tensor, target: Tensor) -> dict[str, float]:
    """Of scores of what is (target 1) and what is not (0): `roc_auc` and `average_precision`, as scikit-learn has them.

    roc_auc is how often one that is scores more than one that is not, equal scores being half; average_precision the mean of the
    precision at the score of each that is.

    score, target: (N,), or (N, D), of whose columns both are means. A target that is NaN or negative is missing. Columns without
    both kinds are left out; nothing is given if none is left, or if a score is NaN.
    """
    if score.shape != target.shape:
        raise CotanError(f"scores of shape {tuple(score.shape)}, expected that of the targets, {tuple(target.shape)}")
    areas, precisions = [], []
    for column, wanted in zip(*(each[:, None].flatten(1).unbind(1) for each in (score, target))):
        known = wanted >= 0
        scores, place = column[known].unique(return_inverse=True)
        kinds = (place[(wanted[known] > 0) == kind] for kind in (True, False))
        there, others = (each.bincount(minlength=len(scores)) for each in kinds)  # with each score, ascending
        if scores.isnan().any():
            return {}
        if there.any() and others.any():
            below = (others.cumsum(0) - others.double() / 2) / others.sum()
            found, asked = (each.flip(0).cumsum(0).flip(0) for each in (there, there + others))  # with this one or more
            areas.append(float(there.double() @ below / there.sum()))
            precisions.append(float(there.double() @ (found.double() / asked) / there.sum()))
    return {"roc_auc": fmean(areas), "average_precision": fmean(precisions)} if areas else {}


def _of_classes(output: Tensor, target: Tensor) -> tuple[dict[str, float], Tensor]:
    """Metrics of classes, and of each its intersection over union, NaN where it is neither a target nor an answer."""
    highest, found = output.max(-1)
    answered = highest.isfinite()  # NaN would pass for the first class
    rows = (target, found[answered], target[answered & (found == target)])
    there, found, right = (each.bincount(minlength=output.shape[-1]).double() for each in rows)
    metrics = {"accuracy": (right.sum() / there.sum()).item(), "mean_recall": (right / there).nanmean().item()}
    if output.shape[-1] == 2:
        metrics |= ranking_metrics(output[:, 1] - output[:, 0], target)
    return metrics, right / (there + found - right)


@task("classify")
class Classify:
    """One class a shape. Output (B, classes), target (B,) int64.

    mean_recall is the mean over classes of the share of each that is found (balanced accuracy); the epoch is chosen by it with
    `class_balance`. Of two classes there are also `roc_auc` and `average_precision` of the second, where both are there.
    """

    per = "shape"
    categorical = True

    @staticmethod
    def loss(output: Tensor, target: Tensor, weight: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
        if weight is not None and len(weight) != output.shape[-1]:  # of a module for more classes than train has
            weight = functional.pad(weight, (0, output.shape[-1] - len(weight)))
        return functional.cross_entropy(output, target, weight, label_smoothing=smoothing)

    @staticmethod
    def metrics(output: Tensor, target: Tensor) -> dict[str, float]:
        return _of_classes(output, target)[0]


@task("label")
class Label(Classify):
    """One class a vertex. Output (V, classes), target (V,) int64.

    Metrics are over all vertices, those of large shapes and of small ones alike. mean_iou is the mean over classes, those that
    are a target or an answer, of the vertices that are both over those that are either.
    """

    per = "vertex"

    @staticmethod
    def metrics(output: Tensor, target: Tensor) -> dict[str, float]:
        metrics, overlap = _of_classes(output, target)
        return {**metrics, "mean_iou": overlap.nanmean().item()}


@task("match")
class Match(Classify):
    """A vertex of one template for each vertex (Masci et al. 2015). Output (V, vertices of the template), target (V,).

    Where the dataset has the template, `fit` and `evaluate` measure errors along its surface (see `geodesic_error`).
    """

    per = "vertex"
    template = True


@task("regress")
class Regress:
    """Numbers a shape. Output (B, D), target (B, D) or (B,); NaN is a number that is missing, and counts nowhere.

    The loss is in the model's deviations, if it has some. Errors are over all numbers; of 2 to 100 of them that of each is given
    too: mean_absolute_error_0, mean_absolute_error_1...
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
        there = ~target.isnan()
        error = (output.reshape(target.shape) - target).double().where(there, 0)
        absolute, count = error.abs().sum(0), there.sum(0)
        metrics = {
            "mean_absolute_error": (absolute.sum() / count.sum()).item(),
            "root_mean_square_error": torch.sqrt((error**2).sum() / count.sum()).item(),
        }
        if target.ndim == 2 and 1 < target.shape[1] <= MOST:
            each = enumerate((absolute / count).tolist())
            metrics |= {f"{EACH}{i}": value for i, value in each if count[i]}
        return metrics


@task("regress-vertices")
class RegressVertices(Regress):
    """Numbers a vertex. Output (V, D), target (V, D) or (V,), scaled as for `regress`."""

    per = "vertex"
