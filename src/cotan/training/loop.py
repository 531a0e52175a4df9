"""`fit`: train on train, select on val, touch test once."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .. import registry
from ..application import features_of, place_of
from ..augment import check_augment
from ..batching import Augmented, Batch, Prepared, per_of, prepare, task_of
from ..datasets import Splits, as_splits, load_dataset
from ..errors import CotanError, expect
from ..network import made
from ..targets import check, check_output, missing, untrained
from . import checkpoint, folder
from .device import keep_pages, make_fabric, own_randomness
from .evaluate import Forward, over_all, score, units
from .make import check_model, describe, model_for
from .progress import Progress
from .recipe import Recipe
from .run import Run, read_lines, versions


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
        progress: "bar", "lines" or "none"; "auto" is a bar on a terminal.
        on_epoch: called after each epoch with its dict, as in metrics.jsonl: for a logger of your own.
        prepared: what `cotan.prepare` gave for this model, by split.

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
    with Progress(progress) as show:
        if isinstance(dataset, str):
            dataset = load_dataset(dataset, progress=show.counter(f"make {dataset}"))
        splits = as_splits(dataset)
        if isinstance(model, str):
            model = model_for(model, splits, seed=chosen.seed)
        if not isinstance(model, nn.Module) or not any(p.requires_grad for p in model.parameters()):
            lacks = " without parameters to train" if isinstance(model, nn.Module) else ""
            raise CotanError(f"expected a model (an nn.Module) or the name of one, got {type(model).__name__}{lacks}")
        task = task_of(model, splits.task)
        if not made(model):
            registry.unwrapped(model).task = task
        check(splits, task, made(model).get("out_dim"))
        categorical = registry.lookup("task", task).target.categorical
        for option in ("label_smoothing", "class_balance"):
            if getattr(chosen, option) and not categorical:
                raise CotanError(f"{option} is for tasks with classes")
        whole = replace(splits, task=task)
        splits = whole.with_val(chosen.seed, chosen.val_share)
        if splits is not whole and not categorical:  # what is left of train may lack a number everywhere
            check(splits, task, made(model).get("out_dim"))
    with show, nullcontext() if path is None else folder.alone(path):
        lists = {name: shapes for name, shapes in splits.lists().items() if shapes}
        if prepared is None:
            prepared = {
                n: prepare(model, s, per=per_of(model), refuse=True, progress=show.counter(f"prepare {n}"))
                for n, s in lists.items()
            }
        for name, split in prepared.items():
            if split.refused:
                if not split.answered and name in ("train", "val"):
                    raise CotanError(f"{name}: {split.refusals()}")
                show.say(f"{name}: {split.refusals()}")
        if splits.skipped:
            count, (file, reason) = len(splits.skipped), splits.skipped[0]
            show.say(f"{count} {'files were' if count > 1 else 'file was'} skipped, the first {file}: {reason}")
        if splits.seen:
            show.say(f"{splits.seen} of test {'is' if splits.seen == 1 else 'are'} in train too")
        said = (
            untrained(splits, task),
            missing(splits, task),
            far_from_one(prepared["train"]),
            numbered(splits, prepared),
        )
        for text in filter(None, said):
            show.say(text)
        prepared = {name: split for name, split in prepared.items() if split.answered}
        run = Run(model, chosen, classes=splits.classes, versions=versions(), path=path)
        run.dataset = {"name": splits.name, "options": splits.options, "digest": splits.digest}
        run.costs = _costs(prepared)
        with own_randomness():
            _Fit(run, task, splits, prepared, show, fabric, on_epoch).run_all(resume)
    return run


def checked_fabric(model: Any, recipe: Recipe, options: Mapping[str, Any] | None = None) -> Any:
    """Fabric, or an error for what there is not, before a dataset is made: a model, an option, a device, an augmentation."""
    if isinstance(model, str):
        check_model(model, options or {})
    check_augment(recipe.augment)
    return make_fabric(recipe)


class _Fit:
    """One call of `fit`: the model on its device, its optimizer, and where it is."""

    def __init__(
        self,
        run: Run,
        task: str,
        splits: Splits,
        prepared: Mapping[str, Prepared],
        show: Progress,
        fabric: Any,
        on_epoch: Callable[[dict[str, Any]], object] | None = None,
    ):
        self.run, self.recipe, self.splits, self.show, self.on_epoch = run, run.recipe, splits, show, on_epoch
        self.task: Any = registry.lookup("task", task).target
        if task == "match" and splits.template is not None and (size := splits.template.num_nodes) > 1000:
            show.say(
                f"distances between all {size:,} vertices of the template: about {6e-6 * size**2:.0f} s, once a process"
            )
        self.distances = splits.distances if task == "match" else None
        self.fabric = fabric
        run.model.to(self.fabric.device)
        optimizer = self.recipe.make_optimizer([p for p in run.model.parameters() if p.requires_grad])
        self.step, self.optimizer = self.fabric.setup(Forward(run.model), optimizer)
        device = self.fabric.device
        if device.type == "cpu":
            keep_pages()
        self.prepared = {name: p.to(device) for name, p in prepared.items()}
        self.fixed = {n: list(p.batches(self.recipe.batch_size)) for n, p in self.prepared.items() if n != "train"}
        if units(run.model):
            self._scale(registry.unwrapped(run.model))
        self.options: dict[str, Any] = {**units(run.model)}  # of the loss
        if self.recipe.class_balance:
            self.options["weight"] = self._class_weights()
        if self.recipe.label_smoothing:
            self.options["smoothing"] = self.recipe.label_smoothing
        self.augmented = None
        if self.recipe.augment:
            moved = [shape for i, shape in enumerate(splits.train) if i not in prepared["train"].refused]
            self.augmented = Augmented(run.model, moved, self.recipe.augment, self.task.per)
        self.epoch = 0  # finished ones
        self.best: tuple[float, ...] | None = None
        self.best_state: dict[str, Tensor] = {}

    def run_all(self, resume: bool) -> None:
        if self.run.path is not None:
            self._open(self.run.path, resume)
        self.show.start(self._title(), self.recipe.epochs, self.epoch)
        try:
            if self.epoch == 0:
                self._before()
            while self.epoch < self.recipe.epochs and not self._tired():
                self._one_epoch()
            self.run.status = "finished"
        except KeyboardInterrupt:
            self.run.status = "stopped"
        finally:
            self.show.stop()
        self._finish()

    def _before(self) -> None:
        """A first stage of the model's own, such as the layer by layer training of a belief network."""
        stage = getattr(registry.unwrapped(self.run.model), "before_training", None)
        if stage is not None:
            torch.manual_seed(self.recipe.seed)
            batches = self.prepared["train"].batches(self.recipe.batch_size)
            stage([(batch.values, batch.target) for batch in batches], self.show.say)

    def _one_epoch(self) -> None:
        # Each epoch its own: a resumed one needs no state. torch.manual_seed keeps calls for a GPU that is not there.
        here = self.fabric.device.type == "cpu"
        (torch.default_generator.manual_seed if here else torch.manual_seed)(self._seed())
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.rate(self.epoch)
        train = (
            self.prepared["train"]
            if self.augmented is None
            else self.augmented.epoch(self._seed()).to(self.fabric.device)
        )
        start = time.perf_counter()
        loss = self._train(self._shuffled(train))
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        self.run.model.eval()
        val = self._score("val") if "val" in self.fixed else {}
        line = {"epoch": self.epoch + 1, "lr": self.recipe.rate(self.epoch), "train_loss": loss}
        line |= {f"val_{name}": value for name, value in val.items()}
        line |= {"train_seconds": seconds, "val_seconds": time.perf_counter() - start}
        losses = {"train": loss} | ({"val": val["loss"]} if val else {})
        if not all(map(math.isfinite, losses.values())):
            raise CotanError(
                f"the loss is not finite in epoch {self.epoch + 1} ({', '.join(f'{n} {v}' for n, v in losses.items())}): "
                f"a smaller lr than {self.recipe.lr} may help"
            )
        self.epoch += 1
        self.run.history.append(line)
        self._keep(line, val)
        self.show.step(self.epoch, _facts(line))
        if self.on_epoch is not None:
            self.on_epoch(dict(line))

    def _train(self, batches: Iterable[Batch]) -> float:
        """One pass; the mean loss. Nothing in it waits for the device."""
        self.run.model.train()
        total: Any = 0.0
        count = 0
        for batch in batches:
            self.optimizer.zero_grad(set_to_none=True)
            output = self.step(batch)
            if batch.index is None and self.epoch == count == 0:
                check_output(output, batch.target, self.run.model, self.task)
            output, target = batch.counted(output)
            loss = self.task.loss(output, target, **self.options)
            self.fabric.backward(loss)
            self.optimizer.step()
            total = total + loss.detach() * batch.count
            count += batch.count
        return float(total) / max(count, 1)

    def _shuffled(self, train: Prepared) -> Iterator[Batch]:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(self._seed()))
        return train.batches(self.recipe.batch_size, order.tolist())

    def _seed(self) -> int:
        return self.recipe.seed * 1_000_003 + self.epoch

    def _keep(self, line: dict[str, Any], val: dict[str, float]) -> None:
        """The epoch's line, then the checkpoints: whatever is cut short here is done again by a resumed run."""
        rank: tuple[float, ...] = (self.epoch,)  # without a val, the last epoch is the best
        if val:
            found = {"mean_recall", "mean_recall_answered"} & val.keys() if self.recipe.class_balance else ()
            by = next(iter(found), "accuracy")
            rank = (val[by], -val["loss"]) if by in val else (-val["loss"],)
        better = self.best is None or rank > self.best
        if better:
            self.best = rank
            self.run.best_epoch = self.epoch
            self.run.metrics = {f"val_{name}": value for name, value in val.items()}
            self.best_state = {name: v.detach().clone() for name, v in checkpoint.state_of(self.run.model)[0].items()}
        if self.run.path is not None:
            folder.append(self.run.path / "metrics.jsonl", line)
            if better:
                checkpoint.save(self.run.path, "best", self.best_state, self._record(self.run.metrics))
            tensors, extra = checkpoint.state_of(self.run.model, _bare(self.optimizer))
            record = {
                **self._record(line),
                "optimizer": extra,
                "best": {"epoch": self.run.best_epoch, "rank": self.best},
            }
            checkpoint.save(self.run.path, "last", tensors, record)

    def _record(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "metrics": {k: v for k, v in metrics.items() if not k.endswith("_seconds")},
            "model": describe(self.run.model),
            "recipe": self.recipe.record(),
            "dataset": self.run.dataset,
            "classes": list(self.run.classes),
            "plan": {label: step.identity for label, step in self.prepared["train"].plan.roots.items()},
            "versions": self.run.versions,
        }

    def _open(self, path: Path, resume: bool) -> None:
        """The folder, empty or as the run to be resumed left it."""
        found = checkpoint.load(path, "last") if resume else None
        if found is None:
            aside = folder.put_aside(path)
            if resume:
                self.show.say(f"{path} has no checkpoint to resume: starting afresh")
            if aside:
                self.show.say(f"{path} held a run; it is now in {aside}")
        else:
            self._resume(path, *found)
        folder.write_run(self.run)

    def _resume(self, path: Path, tensors: Mapping[str, Tensor], record: dict[str, Any]) -> None:
        """The run as its last epoch left it."""
        folder.check_same(path, record, self._record({}))
        checkpoint.load_model(self.run.model, tensors, str(path / "last.safetensors"))
        checkpoint.load_optimizer(_bare(self.optimizer), tensors, record["optimizer"])
        best = checkpoint.load(path, "best")
        if best is None:
            raise CotanError(f"{path} cannot be resumed: it has no best.safetensors beside last.safetensors")
        self.epoch, self.run.best_epoch = record["epoch"], record["best"]["epoch"]
        self.best = tuple(record["best"]["rank"])
        self.run.history = [line for line in read_lines(path / "metrics.jsonl") if line["epoch"] <= self.epoch]
        # A kill between the two checkpoints leaves a best newer than last: its epoch is done again, to the same end.
        self.best_state, self.run.metrics = best[0], best[1]["metrics"]
        folder.rewrite(path / "metrics.jsonl", self.run.history)
        self.show.say(f"resuming {path} after epoch {self.epoch} of {self.recipe.epochs}")

    def _tired(self) -> bool:
        return 0 < self.recipe.patience <= self.epoch - (self.run.best_epoch or 0)

    def _finish(self) -> None:
        """The best weights back in the model; test, if training came to its end."""
        if self.best_state:
            checkpoint.load_model(self.run.model, self.best_state, "the best epoch")
        self.run.model.eval()
        if self.run.status == "finished":
            for name in self.fixed:
                if name != "val":
                    self.run.metrics |= {f"{name}_{metric}": value for metric, value in self._score(name).items()}
        if self.run.path is not None:
            folder.write_run(self.run)
        self.show.say(self._last_words())

    def _score(self, name: str) -> dict[str, float]:
        return over_all(
            score(self.run.model, self.task, self.fixed[name], self.step, self.distances), self.prepared[name]
        )

    def _last_words(self) -> str:
        where = "" if self.run.path is None else f", in {self.run.path}"
        best = ", ".join(
            f"{name.replace('_', ' ')} {value:.4g}" for name, value in self.run.metrics.items() if "stress" not in name
        )
        if self.run.best_epoch is None:
            return f"{self._title()}: stopped before the first epoch was finished; nothing is kept"
        text = f"{self._title()}: {self.run.status} after epoch {self.epoch}; "
        text += f"best epoch {self.run.best_epoch}: {best}{where}"
        if self.run.status == "stopped" and self.run.path is not None:
            text += f"\nbest.safetensors and last.safetensors are there; resume goes on from epoch {self.epoch}"
        return text

    def _title(self) -> str:
        description = describe(self.run.model)
        if description is None:
            return type(registry.unwrapped(self.run.model)).__name__
        layer = description["options"].get("layer")
        return str(layer or description["name"])

    def _targets(self) -> Tensor:
        """Of train, those that count."""
        train = self.prepared["train"]
        return torch.cat([t if train.masks is None else t[train.masks[i]] for i, t in enumerate(train.targets)])

    def _scale(self, model: Any) -> None:
        """To the mean and deviation of train; a number that is the same everywhere has none."""
        y = self._targets().double()
        y = y.reshape(len(y), -1)
        mean = y.nanmean(0)
        deviation = ((y - mean) ** 2).nanmean(0).sqrt()
        model.target_mean.copy_(mean)
        model.target_deviation.copy_(deviation.where(deviation > 0, 1))

    def _class_weights(self) -> Tensor:
        """n / (C n_c), so that every class weighs the same; classes without a target weigh nothing."""
        y = self._targets()
        size = made(self.run.model).get("out_dim") or len(self.run.classes) or int(y.max()) + 1
        counts = torch.bincount(y, minlength=size).double()
        weight = torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()), 0.0)
        return weight.to(place_of(self.run.model)[0])


def far_from_one(train: Prepared) -> str:
    """Features that a model learns little of, as their numbers are very large or small in the first shapes, in a line."""
    sizes: dict[str, float] = {}
    for sample in train.samples[:8]:
        for name, value in features_of(sample).items():
            if value.is_floating_point() and value.numel():
                label = train.plan.roots[name].label
                sizes[label] = max(sizes.get(label, 0.0), float(value.detach().square().mean().sqrt()))
    far = ", ".join(f"{label} (about {size:.1g})" for label, size in sizes.items() if size and not 1e-3 < size < 300)
    return f"features far from 1, of which models learn little: {far}" if far else ""


def numbered(splits: Splits, prepared: Mapping[str, Prepared]) -> str:
    """Whole numbers that a model takes for amounts and that may be names, such as those of atoms, in a line."""
    x, plan = splits.train[0].get("x"), prepared["train"].plan
    if plan.keeps_integers or x is None or x.is_floating_point() or x.numel() == 0 or int(x.max()) < 2:
        return ""
    if all(step.name != "x" for step in features_of(plan.roots).values()):
        return ""
    return (
        f"x holds whole numbers (up to {int(x.max())} in the first shape), taken as amounts: where they are kinds, as of atoms, "
        "make them one-hot, or a module with an nn.Embedding"
    )


def _bare(optimizer: Any) -> torch.optim.Optimizer:
    inner: torch.optim.Optimizer = getattr(optimizer, "optimizer", optimizer)
    return inner


def _facts(line: Mapping[str, Any]) -> str:
    shown = {"loss": line["train_loss"]}
    shown |= {k.replace("_", " "): v for k, v in line.items() if k.startswith("val_") and k != "val_seconds"}
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items()) + f"  {line['train_seconds']:.3g} s/epoch"


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
