"""What a trained model says of a shape."""

from __future__ import annotations

import reprlib
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .. import registry
from ..application import forward, place_of
from ..batching import prepare, task_of
from ..collation import uncollate
from ..errors import CotanError
from ..files import read
from ..shapes import listed
from .device import keep_pages
from .evaluate import in_eval, no_answer
from .run import trained


class Prediction(NamedTuple):
    """What a model says of one shape: label, name, probability, probabilities, classes.

    For one class a shape, label and probability are numbers, and `name` is the name of the class; `probabilities` is
    (classes,). For a class a vertex, label and probability are (V,), `name` is None, and `probabilities` is (V, classes).
    For numbers, label is the output, (D,), (V,) or (V, D), and the others are None.
    """

    label: Any
    name: str | None
    probability: Any
    probabilities: Tensor | None
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        parts = {**{name: repr(part) for name, part in self._asdict().items()}, "classes": reprlib.repr(self.classes)}
        return f"Prediction({', '.join(f'{name}={part}' for name, part in parts.items())})"


def predict(model: Any, data: Any, *, batch_size: int = 16) -> Any:
    """Labels with probabilities of one shape, a `Prediction`, or a list of them for a list.

    Arguments:
        model: a model, a `Run`, or a run's folder.
        data: a `Data`, a file, a list of these, PyG's `Batch` or a dataset of its.

    >>> cotan.predict("runs/spectral", "mesh.off").name
    'dog'
    """
    model, classes = trained(model)
    task = registry.lookup("task", task_of(model)).target
    weld = task.per != "vertex"  # labels are of the file's vertices, as those of a folder that it was trained on
    several = listed(data)
    shapes = [read(d, weld=weld) if isinstance(d, str | Path) else d for d in ([data] if several is None else several)]
    if not shapes:
        return []
    device = place_of(model)[1]
    keep_pages(device)
    with in_eval(model), torch.no_grad():
        prepared = prepare(model, shapes, per=None).to(device)
        out: list[Prediction] = []
        for places in prepared.places(batch_size):
            values = prepared.values(places)
            output = forward(model, values).detach().float().cpu()  # a module that gives forces has a graph
            vertices = [prepared.samples[i].vertices[None] for i in places]
            rows = sum(vertices) if task.per == "vertex" else len(places)
            if output.shape[:1] != (rows,):
                raise CotanError(
                    f"{type(registry.unwrapped(model)).__qualname__} gives {tuple(output.shape)} for {len(places)} shapes with "
                    f"{sum(vertices)} vertices; expected {rows} rows, one a {task.per}, of task {task_of(model)!r}"
                )
            for i, each in zip(places, uncollate(output, vertices, per=task.per)):
                if each.numel() and not each.max().isfinite():  # the largest of some with a NaN is NaN
                    raise no_answer(model, "" if several is None else f"shape {i} of {len(shapes)}: ")
                out.append(_prediction(each, task.categorical, task.per, classes))
    return out[0] if several is None else out


def _prediction(output: Tensor, categorical: bool, per: str, classes: tuple[str, ...]) -> Prediction:
    if not categorical:
        if per == "vertex":
            output = output.reshape(len(output), -1).squeeze(1)
        return Prediction(output, None, None, None, ())
    names = classes if len(classes) == output.shape[-1] else tuple(map(str, range(output.shape[-1])))
    probabilities = output.softmax(-1)
    probability, label = probabilities.max(-1)
    if per == "vertex":
        return Prediction(label, None, probability, probabilities, names)
    return Prediction(int(label), names[int(label)], float(probability), probabilities, names)
