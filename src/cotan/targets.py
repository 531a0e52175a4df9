"""Targets: what y of a shape has to be for a task, and what of it counts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from . import registry
from .data import number_of_vertices, way_to_data
from .errors import CotanError
from .sparse import check_range
from .values import numbers

if TYPE_CHECKING:
    from .datasets import Splits

MOST = 100_000  # classes: a label beyond is no class number


def target(shape: Any, per: str) -> Tensor:
    """y of a shape as a batch takes it: (1,) or (1, D) for tasks per shape; for tasks per vertex (V,) or (V, D), or of the N
    places of `y_index` (N,) or (N, D).
    """
    y = torch.as_tensor(shape.y)
    y = y if y.is_floating_point() else y.long()
    if per == "vertex":
        index = shape.get("y_index")
        rows = (number_of_vertices(shape),) if index is None else index.shape[-1:]
        several = y.ndim == 2 and y.shape[1] > 1 and y.shape[:1] == rows
        return y if several else y.reshape(-1)
    return y.reshape(1) if y.numel() == 1 else y.reshape(1, -1)


def _each(y: Tensor) -> int:
    """How many numbers a target is."""
    return y.shape[1] if y.ndim == 2 else 1


def _count(shape: Any, task: Any) -> int:
    """How many targets a shape has: each number of y for classes, each row for numbers."""
    return torch.as_tensor(shape.y).numel() if task.categorical else len(target(shape, task.per))


def mask_of(shape: Any) -> Tensor:
    """(N,) which of the N targets count: all, where the shape has no mask."""
    mask = shape.get("mask")
    return torch.ones(len(target(shape, "vertex")), dtype=torch.bool) if mask is None else mask


def counted(shape: Any, per: str) -> Tensor:
    """The targets that count."""
    y = target(shape, per)
    return y[shape.mask] if per == "vertex" and shape.get("mask") is not None else y


def width(splits: Splits, task: str) -> int:
    """The `out_dim` that a task on this dataset wants: classes, or numbers a shape or a vertex."""
    shapes = [shape for some in splits.lists().values() for shape in some]
    definition = registry.lookup("task", task).target
    if not definition.categorical:
        return _each(target(shapes[0], definition.per))
    if definition.template and splits.template is not None:
        return len(splits.template.pos)
    if splits.classes:
        return len(splits.classes)
    labels = (counted(shape, definition.per) for shape in shapes)
    highest = max((int(y[y.isfinite()].max()) for y in labels if y.isfinite().any()), default=0)
    if highest >= MOST:
        raise CotanError(f"dataset {splits.name!r}: labels up to {highest}, expected classes numbered from 0")
    return 1 + highest


def check_form(splits: Splits, task: str) -> None:
    """Raise for what is no shape with numbers for a target, and for a mask that is not one truth value a target."""
    definition = registry.lookup("task", task).target
    per = definition.per
    if not any(splits.lists().values()):
        raise CotanError(f"dataset {splits.name!r} has no shapes")
    if definition.template:
        check_template(splits)
    for name, shapes in splits.lists().items():
        indexed = [hasattr(shape, "_store") and shape.get("y_index") is not None for shape in shapes]
        if per == "vertex" and any(indexed) and not all(indexed):
            raise CotanError(
                f"dataset {splits.name!r}, {name}: {sum(indexed)} of {len(shapes)} shapes have y_index, "
                f"number {indexed.index(False)} has none"
            )
        for i, shape in enumerate(shapes):
            where = f"dataset {splits.name!r}, {name}[{i}]"
            if not hasattr(shape, "_store"):
                kind, way = type(shape).__name__, way_to_data(shape)
                raise CotanError(f"{where} is a {kind}, expected a torch_geometric Data{way}")
            if shape.get("y") is None:
                raise CotanError(f"{where} has no y, the target of task {task!r}")
            numbers(f"{where}: y", shape.y)
            if per == "vertex":
                _check_mask(shape, _count(shape, definition), where, task)


def check_template(splits: Splits) -> None:
    """Raise for a template that is no mesh, such as a cloud, which has no surface to measure along."""
    lacking = [name for name in ("pos", "face") if splits.template is not None and splits.template.get(name) is None]
    if lacking:
        raise CotanError(
            f"dataset {splits.name!r}: the template has no {' and no '.join(lacking)}, expected a mesh, along which errors are "
            "measured; with template=None none are"
        )


def check(splits: Splits, task: str, out_dim: int | None, *, train: bool = True) -> None:
    """Raise where targets are not what the task and the width of the output want; to `train` takes two classes.

    out_dim: of the model, None where it is not known.
    """
    check_form(splits, task)
    definition = registry.lookup("task", task).target
    if train and not splits.train:
        raise CotanError(f"dataset {splits.name!r} has no training shapes")
    size, scaled = 0, definition.scaled  # then NaN is a number that is missing
    if not definition.categorical:
        if definition.per == "shape":
            _check_not_per_vertex(splits, task)
        size = out_dim or width(splits, task)
    for name, shapes in splits.lists().items():
        for i, shape in enumerate(shapes):
            where = f"dataset {splits.name!r}, {name}[{i}]"
            y = torch.as_tensor(shape.y)
            if definition.per == "vertex" and shape.get("y_index") is not None:
                _check_index(shape.y_index, _count(shape, definition), number_of_vertices(shape), where)
            elif definition.per == "vertex" and _count(shape, definition) != number_of_vertices(shape):
                what, vertices = "label" if definition.categorical else "number", number_of_vertices(shape)
                several = f", {tuple(y.shape)}: expected ({vertices},) or ({vertices}, D)" * (what == "number")
                raise CotanError(
                    f"{where}: task {task!r} wants a {what} for each of {vertices} vertices; y has {y.numel()}{several}"
                )
            if definition.categorical and definition.per == "shape" and y.numel() != 1:
                raise CotanError(
                    f"{where}: task {task!r} wants one class a shape; y has {y.numel()} values. For others there are the tasks "
                    "'label', 'regress' and 'regress-vertices'"
                )
            if definition.categorical:
                _check_labels(counted(shape, definition.per), where, out_dim or len(splits.classes) or MOST)
            elif _each(target(shape, definition.per)) != size or bool((y.isinf() if scaled else ~y.isfinite()).any()):
                got = y.tolist() if y.numel() < 10 else f"of shape {tuple(y.shape)}"
                wanted = f"{size} finite numbers" + (" at each vertex" if definition.per == "vertex" else "")
                hint = "; what is missing may be -1, say, where the task leaves it out" if y.isnan().any() else ""
                raise CotanError(f"{where}: y is {got}, expected {wanted}{hint}")
        if shapes and not any(len(counted(shape, definition.per)) for shape in shapes):
            raise CotanError(f"dataset {splits.name!r}, {name}: no target counts, as mask is false everywhere")
        if shapes and scaled:
            absent = torch.cat([counted(shape, definition.per) for shape in shapes]).isnan().all(0)
            if absent.all() or (train and name == "train" and absent.any()):
                which = f"number {int(absent.nonzero()[0])} of " if not absent.all() else ""
                raise CotanError(f"dataset {splits.name!r}, {name}: {which}y is NaN everywhere")
    if definition.categorical and train:
        there = torch.cat([counted(shape, definition.per).cpu() for shape in splits.train]).unique().tolist()
        if len(there) < 2:
            only = there[0]
            called = f" ({splits.classes[only]})" if only < len(splits.classes) else ""
            raise CotanError(
                f"dataset {splits.name!r}: all training targets are class {only}{called}; expected two classes or more"
            )


def remarks(splits: Splits, task: str) -> list[str]:
    """What is odd about targets that pass, a line each: classes that train or all lists lack, numbers that are missing."""
    definition = registry.lookup("task", task).target
    y = {
        name: torch.cat([counted(shape, definition.per).cpu() for shape in shapes])
        for name, shapes in splits.lists().items()
        if shapes
    }
    if not definition.categorical:
        absent = {name: int(each.isnan().sum()) for name, each in y.items()}
        counts = ", ".join(f"{count} of {y[name].numel()} in {name}" for name, count in absent.items() if count)
        return [f"numbers of y that are missing (NaN): {counts}"] if counts else []
    if definition.template:  # not every vertex of it is in train
        return []
    highest = max(int(each.max()) for each in y.values())
    there = {name: each.bincount(minlength=highest + 1) for name, each in y.items()}
    lines = []
    if splits.test:
        names, what = dict(enumerate(splits.classes)), "shape" if definition.per == "shape" else "target"
        missing = (there["test"] * (there["train"] == 0)).tolist()
        lines.append(
            "; ".join(f"class {names.get(i, i)!r}: no training {what}, {n} in test" for i, n in enumerate(missing) if n)
        )
    lacking = (torch.stack([*there.values()]).sum(0) == 0).nonzero()[:, 0].tolist()
    if lacking and not splits.classes:
        which = f"class {lacking[0]}" if len(lacking) == 1 else f"{len(lacking)} classes, the first {lacking[0]},"
        hint = f"; if {highest} stands for no label, a mask leaves it out" if highest - 1 in lacking else ""
        lines.append(f"no target is of {which} of {highest + 1}{hint}")
    return [*filter(None, lines)]


def check_output(output: Any, target: Tensor, rows: Tensor | None, model: Any, task: Any) -> None:
    """Raise where a model gives something else than an output for each target, of which those of some rows count, or all."""
    wanted = f"({len(target)}, classes)" if task.categorical else f"{tuple(target.shape)}"
    got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    right = isinstance(output, Tensor) and (
        (output.ndim == 2 and len(output) == len(target)) if task.categorical else output.numel() == target.numel()
    )
    if not right:
        raise CotanError(
            f"{type(model).__qualname__} gives {got} for a batch with {len(target)} targets, one a {task.per}; expected "
            f"{wanted}" + ("; cotan.Readout makes one of all vertices of a shape" if task.per == "shape" else "")
        )
    known = target if rows is None else target[rows]
    if task.categorical and len(known) and int(known.max()) >= output.shape[1]:
        raise CotanError(
            f"{type(model).__qualname__} gives {output.shape[1]} classes, and there are targets up to {int(known.max())}"
        )


def _check_mask(shape: Any, count: int, where: str, task: str) -> None:
    mask = shape.get("mask")
    if mask is None and shape.get("train_mask") is not None:
        raise CotanError(
            f"{where} has train_mask and no mask, so that all of it would count: give the Data itself as the dataset, "
            "or set mask"
        )
    if mask is None or (isinstance(mask, Tensor) and mask.dtype == torch.bool and mask.shape == (count,)):
        return
    y = torch.as_tensor(shape.y)
    if isinstance(mask, Tensor) and (count,) != mask.shape == y.shape[:1]:
        raise CotanError(
            f"{where}: y has shape {tuple(y.shape)}, expected one target of task {task!r} a row, ({len(y)},)"
        )
    got = f"{tuple(mask.shape)} of {mask.dtype}" if isinstance(mask, Tensor) else f"a {type(mask).__name__}"
    raise CotanError(f"{where}: mask is {got}, expected a bool tensor ({count},), true where y counts")


def _check_not_per_vertex(splits: Splits, task: str) -> None:
    """Raise where y (V,) or (V, D) of every shape would be taken for numbers of the whole shape."""
    shapes = [shape for some in splits.lists().values() for shape in some]
    if all(torch.as_tensor(shape.y).shape[:1] == (number_of_vertices(shape),) != (1,) for shape in shapes):
        raise CotanError(
            f"dataset {splits.name!r}: task {task!r} wants numbers of a whole shape, (1, D), and every y is as long as its "
            "shape has vertices; a number a vertex is the task 'regress-vertices'"
        )


def _check_labels(y: Tensor, where: str, out_dim: int) -> None:
    if y.is_floating_point():
        raise CotanError(
            f"{where}: y holds {y.dtype}, expected class numbers (int64); for numbers there are the tasks 'regress' "
            "and 'regress-vertices'"
        )
    if y.numel() and (int(y.min()) < 0 or int(y.max()) >= out_dim):
        none = y.numel() > 1 and (int(y.min()) < 0 or int(y.max()) > out_dim)  # by one it may be a count from 1
        hint = "; a mask leaves out what has no label" if none else ""
        raise CotanError(
            f"{where}: labels {int(y.min())} to {int(y.max())}, but there are {out_dim} classes (0 to {out_dim - 1}){hint}"
        )


def _check_index(index: Tensor, count: int, vertices: int, where: str) -> None:
    if index.ndim != 2 or index.shape[1] != count or index.dtype != torch.int64:
        raise CotanError(
            f"{where}: y_index is {tuple(index.shape)} of {index.dtype}; expected the int64 vertices (n, {count}) of "
            f"each of {count} targets"
        )
    check_range(f"{where}: y_index", index, vertices)
