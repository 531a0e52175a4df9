"""The epochs of a training: each trains, is scored on val and kept; the best one is in the model at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import atomic, registry
from ..application import place_of
from ..batching import Augmented, Batch, Prepared
from ..datasets import Splits
from ..errors import CotanError
from ..network import as_made
from ..sampling import Sampled
from ..targets import check_output
from ..tasks import EACH, less_is_better
from . import checkpoint, folder
from .device import keep_pages
from .evaluate import Forward, over_all, score, units
from .make import describe
from .progress import Progress
from .run import Run, read_lines

DEAR = 60.0  # seconds of training, from which on each epoch waits until it is on the disk, some milliseconds


class Fit:
    """One call of `fit`: the model on its device, its optimizer, and the epochs that are done."""

    def __init__(
        self,
        run: Run,
        splits: Splits,
        prepared: Mapping[str, Prepared],
        show: Progress,
        fabric: Any,
        on_epoch: Callable[[dict[str, Any]], object] | None = None,
    ):
        self.run, self.recipe, self.splits, self.show, self.on_epoch = run, run.recipe, splits, show, on_epoch
        self.task: Any = registry.lookup("task", splits.task).target
        if self.task.template and splits.template is not None and (size := splits.template.num_nodes) > 1000:
            show.say(
                f"distances between all {size:,} vertices of the template: about {6e-6 * size**2:.0f} s, unless stored"
            )
        self.distances = splits.distances if self.task.template else None
        self.fabric = fabric
        run.model.to(self.fabric.device)
        self.frozen = [n for n, p in registry.unwrapped(run.model).named_parameters() if not p.requires_grad]
        optimizer = self.recipe.make_optimizer([p for p in run.model.parameters() if p.requires_grad])
        self.step, self.optimizer = self.fabric.setup(Forward(run.model), optimizer)
        device = self.fabric.device
        keep_pages(device)
        self.prepared = {name: p.to(device) for name, p in prepared.items()}
        size = 1 if self.recipe.sample else self.recipe.batch_size  # shapes; with a sample the other counts vertices
        self.fixed = {n: list(p.batches(size)) for n, p in self.prepared.items() if n != "train"}
        if units(run.model):
            self._scale(registry.unwrapped(run.model))
        self.options: dict[str, Any] = {**units(run.model)}  # of the loss
        if self.recipe.class_balance:
            self.options["weight"] = self._class_weights()
        if self.recipe.label_smoothing:
            self.options["smoothing"] = self.recipe.label_smoothing
        self.augmented = self.sampled = None
        answered = [shape for i, shape in enumerate(splits.train) if i not in prepared["train"].refused]
        if self.recipe.augment:
            self.augmented = Augmented(run.model, answered, self.recipe.augment, self.task.per)
        if self.recipe.sample:
            self.sampled = Sampled(run.model, answered, self.prepared["train"], self.recipe.sample)
        self.best: tuple[float, ...] | None = None
        self.best_state: dict[str, Tensor] = {}

    @property
    def epoch(self) -> int:
        """How many are finished."""
        return len(self.run.history)

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
        if self.sampled is None:
            loss = self._train(self._shuffled(train))
        else:
            loss = self._train(self.sampled.batches(self.recipe.batch_size, self._seed()))
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        self.run.model.eval()
        val = self._score("val") if "val" in self.fixed else {}
        line = {"epoch": self.epoch + 1, "lr": self.recipe.rate(self.epoch), "train_loss": loss}
        line |= {f"val_{name}": value for name, value in val.items()}
        line |= {"train_seconds": seconds, "val_seconds": time.perf_counter() - start}
        self._check_finite({"train": loss} | ({"val": val["loss"]} if val else {}))
        self.run.history.append(line)
        self._keep(line, val)
        self.show.step(self.epoch, _facts(line))
        if self.on_epoch is not None:
            self.on_epoch(dict(line))
            held = {id(p) for group in self.optimizer.param_groups for p in group["params"]}
            free = [n for n, p in self.run.model.named_parameters() if p.requires_grad and id(p) not in held]
            if free:
                raise CotanError(
                    f"on_epoch unfroze or replaced {', '.join(free)}, and the optimizer has what was trained from the start: "
                    "stop, and fit once more"
                )

    def _check_finite(self, losses: Mapping[str, float]) -> None:
        """Raise where training diverged, with the best weights so far back in the model."""
        finite = torch.stack([p.isfinite().all() for p in self.run.model.parameters() if p.requires_grad])
        if all(map(math.isfinite, losses.values())) and finite.all():
            return
        if self.best_state:
            checkpoint.load_model(self.run.model, self.best_state, "the best epoch")
        said = ", ".join(f"{name} loss {value}" for name, value in losses.items())
        raise CotanError(
            f"training diverged in epoch {self.epoch + 1} ({said}): a smaller lr than {self.recipe.lr} may help"
            + (f"; the model has its weights of epoch {self.run.best_epoch} again" if self.best_state else "")
        )

    def _train(self, batches: Iterable[Batch]) -> float:
        """One pass; the mean loss. Nothing in it waits for the device."""
        self.run.model.train()
        total: Any = 0.0
        count = 0
        for batch in batches:
            self.optimizer.zero_grad(set_to_none=True)
            output = self.step(batch)
            if batch.index is None and self.epoch == count == 0:
                check_output(output, batch.target, batch.rows, self.run.model, self.task)
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
            balanced = "mean_recall" if self.recipe.class_balance else "accuracy"
            named = [self.task.chosen_by] if self.task.chosen_by else [balanced, "accuracy"]
            by = next((n for name in named for n in (name, f"{name}_answered") if n in val), "")
            if self.task.chosen_by and not by:
                raise CotanError(f"the epoch is chosen by {named[0]!r}, and val has none; it has {', '.join(val)}")
            rank = (-val["loss"],)
            if by:
                found = -val[by] if less_is_better(by) else val[by]
                rank = (-math.inf if math.isnan(found) else found, *rank)  # nothing is more than NaN
        better = self.best is None or rank > self.best
        if better:
            self.best = rank
            self.run.best_epoch = self.epoch
            self.run.metrics = {f"val_{name}": value for name, value in val.items()}
            self.best_state = {name: v.detach().clone() for name, v in checkpoint.state_of(self.run.model)[0].items()}
        if self.run.path is not None:
            dear = sum(epoch["train_seconds"] for epoch in self.run.history) > DEAR
            folder.append(self.run.path / "metrics.jsonl", line, sync=dear)
            if better:
                checkpoint.save(self.run.path, "best", self.best_state, self._record(self.run.metrics), sync=dear)
            tensors, extra = checkpoint.state_of(self.run.model, self.optimizer)
            record = {
                **self._record(line),
                "optimizer": extra,
                "best": {"epoch": self.run.best_epoch, "rank": self.best},
            }
            checkpoint.save(self.run.path, "last", tensors, record, sync=dear)

    def _record(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "epoch": self.epoch,
            "metrics": {k: v for k, v in metrics.items() if not k.endswith("_seconds")},
            "model": describe(self.run.model),
            "recipe": self.recipe.record(),
            "dataset": self.run.dataset,
            "classes": list(self.run.classes),
            "chosen_by": self.task.chosen_by,
            "frozen": self.frozen,
            "plan": self.prepared["train"].plan.identities,
            "versions": self.run.versions,
        }

    def _open(self, path: Path, resume: bool) -> None:
        """The folder, empty or as the run to be resumed left it."""
        for leftover in path.glob(f"{atomic.BESIDE}*"):  # of a job that was killed while it wrote a checkpoint
            with suppress(OSError):
                leftover.unlink()
        if not resume or not self._resume(path):
            aside = folder.put_aside(path)
            if aside:
                self.show.say(f"{path} held a run; it is now in {aside}")
        folder.write_run(self.run)

    def _resume(self, path: Path) -> bool:
        """The run as its last epoch left it; False where its files are not there, or not whole."""
        try:
            last, best = checkpoint.load(path, "last"), checkpoint.load(path, "best")
            if last is None or best is None:
                raise checkpoint.Damaged(f"{path} has no checkpoint to resume")
            (tensors, record), (weights, chosen) = last, best
            for stored in (record, chosen):
                folder.check_same(path, stored, self._record({}))
            done, known = record["epoch"], record["best"]["epoch"]
            # A kill between the two checkpoints leaves a best newer than last: its epoch is done again, to the same end.
            if known != chosen["epoch"] <= done:
                raise checkpoint.Damaged(f"{path} has no best.safetensors of epoch {known}")
            history = [line for line in read_lines(path / "metrics.jsonl") if line["epoch"] <= done]
            if len(history) != done:
                raise checkpoint.Damaged(f"{path / 'metrics.jsonl'} has {len(history)} of {done} epochs")
        except checkpoint.Damaged as reason:
            self.show.say(f"{reason}: starting afresh")
            return False
        checkpoint.load_model(self.run.model, tensors, str(path / "last.safetensors"))
        checkpoint.load_optimizer(self.optimizer, tensors, record["optimizer"])
        self.run.best_epoch = known
        self.best = tuple(record["best"]["rank"])
        self.run.history = history
        self.best_state, self.run.metrics = weights, chosen["metrics"]
        folder.rewrite(path / "metrics.jsonl", self.run.history)
        self.show.say(f"resuming {path} after epoch {self.epoch} of {self.recipe.epochs}")
        return True

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
            f"{name.replace('_', ' ')} {value:.4g}"
            for name, value in self.run.metrics.items()
            if "stress" not in name and EACH not in name
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
        return torch.cat(self.prepared["train"].counted())

    def _scale(self, model: Any) -> None:
        """To the mean and deviation of train; a number that is the same everywhere has none."""
        y = self._targets().double()
        y = y.reshape(len(y), -1)
        mean = y.nanmean(0)
        deviation = ((y - mean) ** 2).nanmean(0).sqrt()
        varies = deviation > 1e-12 * mean.abs()  # by more than the mean is rounded
        step = torch.finfo(model.target_mean.dtype).eps * mean.abs()
        for i in (varies & (step > 0.01 * deviation)).nonzero()[:1, 0].tolist():
            self.show.say(
                f"number {i} of y is {mean[i]:.2g} ± {deviation[i]:.2g}, where the model's precision has steps of {step[i]:.2g}: "
                "subtract from y what is known of it, such as the sum of the energies of single atoms"
            )
        if mean.shape != model.target_mean.shape:  # its head was replaced
            raise CotanError(
                f"y has {len(mean)} numbers, and the model was made for {len(model.target_mean)}: cotan.model_for makes one for "
                "these, which may be given the other parts of this one"
            )
        model.target_mean.copy_(mean)
        model.target_deviation.copy_(deviation.where(varies, 1))

    def _class_weights(self) -> Tensor:
        """n / (C n_c), so that every class weighs the same; classes without a target weigh nothing."""
        y = self._targets()
        size = as_made(self.run.model).get("out_dim") or len(self.run.classes) or int(y.max()) + 1
        counts = torch.bincount(y, minlength=size).double()
        weight = torch.where(counts > 0, counts.sum() / (counts.clamp(min=1) * (counts > 0).sum()), 0.0)
        return weight.to(place_of(self.run.model)[0])


def _facts(line: Mapping[str, Any]) -> str:
    shown = {"loss": line["train_loss"]}
    val = {k: v for k, v in line.items() if k.startswith("val_") and k != "val_seconds" and EACH not in k}
    shown |= {name.replace("_", " "): value for name, value in val.items()}
    return "  ".join(f"{name} {value:.4g}" for name, value in shown.items()) + f"  {line['train_seconds']:.3g} s/epoch"
