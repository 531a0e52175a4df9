"""Loss and metrics of a model on shapes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn

from .. import registry
from ..application import forward, place_of
from ..batching import Batch, Prepared, per_of, prepare, task_of
from ..datasets import Splits, as_splits
from ..errors import CotanError
from ..map_error import geodesic_metrics
from ..network import as_made
from ..shapes import listed
from ..targets import check, check_output
from ..tasks import SCORES
from .device import keep_pages
from .run import trained


def evaluate(model: Any, dataset: Any, *, split: str = "test", batch_size: int = 16) -> dict[str, float]:
    """Loss and the task's metrics of a model, a `Run` or a run's folder on a list of shapes, or on a split of a dataset.

    >>> cotan.evaluate(run.model, cotan.load_dataset("poses"), split="rotated")
    {'loss': 0.31, 'accuracy': 0.92, 'mean_recall': 0.92}

    For the task `match` on a dataset with a template, also the mean `geodesic_error` and the share `within_5_percent`, by
    distances along the template of which its diameter is 1.
    """
    model, _ = trained(model)
    shapes = listed(dataset)
    masked = isinstance(dataset, torch.utils.data.Dataset) and shapes and shapes[0].get("train_mask") is not None
    splits = as_splits(dataset) if shapes is None or masked else None  # PyG's Planetoid is one graph with its splits
    shapes = shapes if splits is None else splits.split(split)
    if not shapes:
        has = "" if splits is None else f": {split!r} of {splits} is empty"
        has += "; what fit cut from train is splits.with_val(seed).val" if has and split == "val" else ""
        raise CotanError(f"there are no shapes to evaluate on{has}")
    name = task_of(model)
    check(Splits(train=[], test=list(shapes)), name, as_made(model).get("out_dim"), train=False)
    device = place_of(model)[1]
    keep_pages(device)
    with torch.no_grad():
        prepared = prepare(model, shapes, per=per_of(model), refuse=True).to(device)
    if not prepared.answered:
        raise CotanError(prepared.refusals())
    task = registry.lookup("task", name).target
    distances = splits.distances if splits is not None and task.template else None
    with in_eval(model):
        metrics = score(model, task, prepared.batches(batch_size), distances=distances)
    if math.isnan(metrics["loss"]):
        raise no_answer(model)
    return over_all(metrics, prepared)


@contextmanager
def in_eval(model: nn.Module) -> Iterator[None]:
    """The model in eval mode inside, then each part in the mode it had, which the last thread to leave it sets."""
    parts = list(model.modules())
    with _entering:
        for part in parts:
            count, training = _inside.get(part, (0, part.training))
            _inside[part] = count + 1, training
        model.eval()
    try:
        yield
    finally:
        with _entering:
            left = [(part, *_inside.pop(part)) for part in parts]
            held = {part: (count - 1, training) for part, count, training in left if count > 1}
            _inside.update(held)
            for part, count, training in left:
                if not held and part.training != training:
                    part.train(training)  # which may do more, such as take out of the weights what eval put there
                elif count == 1:
                    part.training = training


_inside: dict[nn.Module, tuple[int, bool]] = {}  # by part, how many threads are, and the mode before
_entering = Lock()


def score(
    model: nn.Module,
    task: Any,
    batches: Iterable[Batch],
    step: nn.Module | None = None,
    distances: Tensor | None = None,
) -> dict[str, float]:
    """Loss and metrics over all that counts in some batches. `step` is the model's `Forward`, as Fabric wrapped it.

    distances: on the template, for the errors of a map to it.
    """
    outputs: list[Tensor] = []
    targets: list[Tensor] = []
    with torch.no_grad():
        for batch in batches:
            output, target = batch.counted(step(batch) if step is not None else forward(model, batch.values))
            output = output.detach()  # of what takes derivatives itself, the graphs of all batches would be kept
            outputs.append(output.float() if output.dtype in (torch.bfloat16, torch.float16) else output)
            targets.append(target)
        output, target = torch.cat(outputs), torch.cat(targets)
        # A task of the caller's own may want more numbers than a target has.
        if task.categorical or len(output) != len(target):
            check_output(output, target, None, registry.unwrapped(model), task)
        metrics = {"loss": task.loss(output, target, **units(model)).item(), **task.metrics(output, target)}
    return metrics if distances is None else metrics | geodesic_metrics(output.argmax(-1), target, distances)


def no_answer(model: nn.Module, where: str = "") -> CotanError:
    """Of an output that is not finite, which would pass for the first class."""
    state = registry.unwrapped(model).state_dict()
    lost = [name for name, value in state.items() if isinstance(value, Tensor) and not value.isfinite().all()]
    what = (
        f"not finite in {len(lost)} of {len(state)} tensors, such as {lost[0]}: training diverged" if lost else "finite"
    )
    return CotanError(f"{where}the model's output is not finite; its weights are {what}")


def units(model: nn.Module) -> dict[str, Tensor]:
    """The deviation of targets that the loss of a scaled task takes, of a model that `create_model` made for one."""
    deviation = getattr(registry.unwrapped(model), "target_deviation", None)
    return {} if deviation is None else {"deviation": deviation}


def over_all(metrics: dict[str, float], prepared: Prepared) -> dict[str, float]:
    """The metrics with refused shapes counted as wrong in `accuracy`; all others, `..._answered` too, are of the rest."""
    if not prepared.refused:
        return metrics
    metrics = {**metrics, "refused": len(prepared.refused)}
    if "accuracy" in metrics:
        metrics["accuracy_answered"] = metrics["accuracy"]
        metrics["accuracy"] *= prepared.answered / (prepared.answered + prepared.lost)
    return {f"{name}_answered" if name in SCORES else name: value for name, value in metrics.items()}


class Forward(nn.Module):
    """The model as Fabric wraps it: a batch in, the output out."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> Any:
        return forward(self.model, batch.values)
