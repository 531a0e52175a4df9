"""`fit`: train on train, select on val, touch test once. The epochs are in `epochs`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from .. import registry
from ..application import features_of, kinds_of, model_plan, shared_plan
from ..augment import check_augment
from ..batching import Prepared, per_of, prepare, task_of
from ..data import number_of_vertices
from ..datasets import Splits, as_splits, load_dataset
from ..errors import CotanError, expect
from ..network import as_made, made
from ..packing import Packing
from ..sampling import check_sampled, too_deep
from ..targets import check, counted, remarks
from . import folder
from .device import make_fabric, own_randomness
from .epochs import Fit
from .make import check_model, model_for
from .progress import Progress
from .recipe import Recipe
from .run import Run, versions


@torch.inference_mode(False)
@torch.enable_grad()
def fit(
    model: nn.Module | str,
    dataset: Any,
    recipe: Recipe | Mapping[str, Any] | str | Path | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: str = "auto",
    on_epoch: Callable[[dict[str, Any]], object] | None = None,
    prepared: Mapping[str, Prepared] | None = None,
    **overrides: Any,
) -> Run:
    """Trains a model; gives it with the weights of the epoch that is best on val.

    Arguments:
        model: a module, or the name of a model or layer, made for the dataset with its default options (others:
            `cotan.model_for`). A module of your own is for the task that its attribute `task` says, else the dataset's.
        dataset: a name, `Splits`, or an object with .train .val .test. Without a val, it is cut from train by the seed.
        recipe: a `Recipe`, a mapping, or a TOML file; `overrides` replace some of its values.
        out: the run's folder; without it, nothing is written.
        resume: go on from the folder's last epoch, to more epochs too, unless the schedule is "cosine". A run that was there
            is otherwise put aside, in `earlier-1`.
        progress: "bar", "lines" or "none"; "auto" is a bar on a terminal, elsewhere lines.
        on_epoch: called after each epoch with its dict, as in metrics.jsonl: for a logger of your own.
        prepared: what `cotan.prepare` gave for this model, by split; test and stress variants may be left out, and are then not
            scored. Splits.with_val cuts a val before.

    >>> cotan.fit("spectral", "poses", epochs=20, out="runs/spectral")
    """
    if resume and out is None:
        raise CotanError("resume goes on from the last epoch in a run's folder: expected out=")
    expect("fit: out", out, str | os.PathLike | None, "a folder")
    expect("fit: on_epoch", on_epoch, Callable | None, "a function")  # type: ignore[operator]
    expect("fit: prepared", prepared, Mapping | None, "a mapping")
    chosen = Recipe.of(recipe, **overrides)
    fabric = checked_fabric(model, chosen)
    path = None if out is None else Path(out).absolute()  # the caller may change the working directory meanwhile
    if path is not None:
        folder.check_kind(path, suite=False)
    with Progress(progress) as show:
        if isinstance(dataset, str):
            dataset = load_dataset(dataset, progress=show.counter(f"make {dataset}"))
        splits = as_splits(dataset)
        if isinstance(model, str):
            model = model_for(model, splits, seed=chosen.seed)
        if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
            lacks = " without parameters to train" if isinstance(model, nn.Module) else ""
            raise CotanError(f"expected a model (an nn.Module) or the name of one, got {type(model).__name__}{lacks}")
        if any(not is_lazy(p) and p.is_inference() for p in model.parameters()):
            raise CotanError("the model was made in torch.inference_mode, and cannot be trained: make it outside")
        task = task_of(model, splits.task)
        if not made(model):
            registry.unwrapped(model).task = task
        out_dim = as_made(model).get("out_dim")
        try:
            check(splits, task, out_dim)
        except CotanError as wrong:
            if task == splits.task:
                raise
            raise CotanError(f"{wrong}. The model is for task {task!r}, the dataset for {splits.task!r}") from wrong
        if chosen.sample:
            check_sampled(model, task, splits.train, chosen.augment)
        categorical = registry.lookup("task", task).target.categorical
        for option in ("label_smoothing", "class_balance"):
            if getattr(chosen, option) and not categorical:
                raise CotanError(f"{option} is for tasks with classes")
        whole = replace(splits, task=task)
        splits = whole.with_val(chosen.seed, chosen.val_share)
        if splits is not whole and not categorical:  # what is left of train may lack a number everywhere
            check(splits, task, out_dim)
    with show, nullcontext() if path is None else folder.alone(path):
        lists = {name: shapes for name, shapes in splits.lists().items() if shapes}
        if prepared is None:
            prepared = _prepare(model, lists, show)
        else:
            check_prepared(prepared, model, lists, per_of(model))
        for name, split in prepared.items():
            if split.refused:
                if not split.answered and name in ("train", "val"):
                    raise CotanError(f"{name}: {split.refusals()}")
                show.say(f"{name}: {split.refusals()}")
        if splits.skipped:
            count, (file, reason) = len(splits.skipped), splits.skipped[0]
            show.say(f"{count} {'files were' if count > 1 else 'file was'} skipped, the first {file}: {reason}")
        for name, other in (("test", "train"), ("val", "train"), ("test", "val")):
            related = splits.related(name, other), f"of a group that is in {other}"
            for count, what in ((splits.seen(name, other), f"in {other}"), related):
                if count:
                    show.say(f"{count} of {name} {'is' if count == 1 else 'are'} {what} too")
        said = (
            *remarks(splits, task),
            far_from_one(prepared["train"]),
            numbered(splits, prepared),
            too_deep(model, chosen.sample),
        )
        for text in filter(None, said):
            show.say(text)
        prepared = {name: split for name, split in prepared.items() if split.answered}
        run = Run(model, chosen, classes=splits.classes, versions=versions(), path=path)
        run.dataset = {"name": splits.name, "options": splits.options, "digest": splits.digest}
        run.costs = _costs(prepared)
        with own_randomness():
            Fit(run, splits, prepared, show, fabric, on_epoch).run_all(resume)
    return run


@torch.no_grad()  # shapes may require grad still, as after a look at what a model answers and why
def _prepare(model: nn.Module, lists: Mapping[str, Any], show: Progress) -> dict[str, Prepared]:
    """Of all lists: those of one graph, which differ in what counts, have one matrix."""
    keep, per = Packing(), per_of(model)
    return {
        name: prepare(model, shapes, per=per, refuse=True, progress=show.counter(f"prepare {name}"), keep=keep)
        for name, shapes in lists.items()
    }


def check_prepared(
    prepared: Mapping[str, Prepared], model: nn.Module, lists: Mapping[str, Sequence[Any]], per: str
) -> None:
    """Raise where what a caller prepared is of another model, or of other shapes or targets than those of the lists."""
    for name, split in prepared.items():
        expect(f"fit: prepared[{name!r}]", split, Prepared, "what cotan.prepare gives")
    needed = {"train", "val"} & lists.keys()  # what else is left out is not scored
    if not needed <= prepared.keys() <= lists.keys():
        raise CotanError(
            f"fit: prepared has {', '.join(sorted(prepared))}, expected {', '.join(lists)}"
            + ("; splits.with_val() cuts val first, and fit takes what it gives" if "val" in needed else "")
        )
    for name, split in prepared.items():
        wanted = shared_plan(kinds_of(lists[name]), partial(model_plan, model))
        has, wants = ({root: step.label for root, step in plan.roots.items()} for plan in (split.plan, wanted))
        if lacking := [step for root, step in wants.items() if has.get(root) != step]:
            raise CotanError(f"fit: prepared[{name!r}] is of another model: it lacks {', '.join(lacking)}")
        shapes = [shape for i, shape in enumerate(lists[name]) if i not in split.refused]
        if [sample.vertices[None] for sample in split.samples] != [number_of_vertices(shape) for shape in shapes]:
            raise CotanError(f"fit: prepared[{name!r}] is of other shapes than {name}")
        now, then = [counted(shape, per) for shape in shapes], split.counted()
        if [y.shape for y in now] != [y.shape for y in then] or not torch.equal(*map(_numbers, (now, then))):
            raise CotanError(f"fit: prepared[{name!r}] has other targets than {name}, or of another task: per={per!r}")


def _numbers(targets: Sequence[Tensor]) -> Tensor:
    """All numbers of some targets, to be compared: those that are missing are NaN, which equals nothing."""
    return torch.cat([torch.zeros(0), *(y.flatten().cpu() for y in targets)]).nan_to_num()


def checked_fabric(model: Any, recipe: Recipe, options: Mapping[str, Any] | None = None) -> Any:
    """Fabric; before a dataset is made, an error for a model, an option, a device or an augmentation that there is not."""
    if isinstance(model, str):
        check_model(model, options or {})
    check_augment(recipe.augment)
    return make_fabric(recipe)


def far_from_one(train: Prepared) -> str:
    """A line on features of whose numbers, in the first shapes, a model learns little: large, small, or all alike but for a
    few percent, as temperatures in kelvin are.
    """
    far = []
    first = [features_of(sample) for sample in train.samples[:8]]
    for name, step in features_of(train.plan.roots).items():
        values = [f[name].detach() for f in first if f[name].is_floating_point() and f[name].numel()]
        size = max((float(v.square().mean().sqrt()) for v in values), default=0.0)
        if size and not 1e-3 < size < 300:
            far.append(f"{step.label} (about {size:.1g})")
        elif size and step.definition is None and values[0].ndim < 3:  # operators' numbers are cotan's own affair
            table = torch.cat([v.reshape(len(v), -1) for v in values])
            deviation, mean = torch.std_mean(table, 0, correction=0)
            one_side = (table > 0).all(0) | (table < 0).all(0)  # not a mask that is true nearly everywhere
            alike = one_side & (mean.abs() > 5 * deviation) & (deviation > 1e-6 * mean.abs())  # nor one number, rounded
            for i in alike.nonzero()[:1, 0].tolist():
                column = f"[:, {i}]" if table.shape[1] > 1 else ""
                far.append(f"{step.label}{column} ({mean[i]:.3g} ± {deviation[i]:.2g})")
    return f"features far from 0 ± 1, of which models learn little: {', '.join(far)}" if far else ""


def numbered(splits: Splits, prepared: Mapping[str, Prepared]) -> str:
    """A line on whole numbers that the model takes for amounts and that may be names, such as those of atoms."""
    x, plan = splits.train[0].get("x"), prepared["train"].plan
    if plan.keeps_integers or x is None or x.is_floating_point() or x.numel() == 0 or int(x.max()) < 2:
        return ""
    if all(step.name != "x" for step in features_of(plan.roots).values()):
        return ""
    return (
        f"x holds whole numbers (up to {int(x.max())} in the first shape), taken as amounts: where they are kinds, as of atoms, "
        "make them one-hot, or a module with an nn.Embedding"
    )


def _costs(prepared: Mapping[str, Prepared]) -> dict[str, Any]:
    nodes: dict[str, float] = {}
    for one in prepared.values():
        for label, seconds in one.nodes.items():
            nodes[label] = nodes.get(label, 0.0) + seconds
    return {
        "prepare_seconds": sum(one.seconds for one in prepared.values()),
        "hits": sum(one.hits for one in prepared.values()),
        "node_seconds": nodes,
    }
