"""`bench`: models x datasets x seeds on the same shapes, by the same protocol, into one table.

Each result is a line of results.jsonl as soon as it is there; a second call does only what is missing.
"""

from __future__ import annotations

import json
import os
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import registry
from .atomic import save
from .batching import Prepared, per_of, prepare, task_of
from .datasets import Splits, load_dataset
from .errors import CotanError, expect
from .suite import Entry, Suite
from .table import Table
from .training import fit, model_for
from .training.folder import DIGESTS, RESULTS, AnotherRun, InUse, alone, append, check_kind
from .training.progress import Progress
from .training.recipe import node_of
from .training.run import Run, read_json, read_lines, versions

__all__ = ["Entry", "Suite", "Table", "bench"]


def bench(
    suite: Suite | Mapping[str, Any] | str | os.PathLike[str],
    *,
    out: str | os.PathLike[str] | None = None,
    models: Sequence[str] = (),
    seeds: Sequence[int] = (),
    progress: str = "auto",
) -> Table:
    """Runs a suite, or what of it is missing, and gives the table of all its results.

    A model that fails on a dataset is listed in `table.failures`, and the others go on. Ctrl-C ends with what there is.

    Arguments:
        suite: a `Suite`, a mapping, a TOML file, or the name of one that comes with cotan (`cotan list suite`).
        out: the folder, `runs/NAME` by default: results.jsonl, a run folder for each result, and the report. Several
            processes may run parts of one suite in it at once; the table of each has what all have finished by its end.
        models, seeds: run only these, models by label; the table is that of the whole suite.
        progress: as in `fit`.

    >>> cotan.bench("demo").show()
    """
    expect("bench: out", out, str | os.PathLike | None, "a folder")
    if isinstance(suite, Mapping):
        suite = Suite.of(suite)
    elif not isinstance(suite, Suite):
        suite = Suite.read(suite)
    suite.check()
    part = suite.only(models, seeds)
    # Absolute, since the caller may change directory meanwhile.
    folder = Path(out if out is not None else f"runs/{suite.name}").absolute()
    check_kind(folder, suite=True)
    with Progress(progress) as show:
        table = _Bench(suite, part, folder, show).run()
    table.suite = suite
    table.rows = results(suite, folder)
    done = table.done()
    table.failures = [failure for failure in table.failures if failure[:3] not in done]  # others may have done it since
    return table


def results(suite: Suite, folder: Path) -> list[dict[str, Any]]:
    """What there is of a suite in a folder, in the suite's order. What the suite calls it may have changed.

    A result of other shapes than its dataset held when it was last made (DIGESTS) is left out.
    """
    known, digests = (
        {line.get("key"): line for line in read_lines(folder / RESULTS)},
        read_json(folder / DIGESTS),
    )
    out = []
    for dataset, model, seed in suite.each():
        line = known.get(suite.key(dataset, model, seed))
        if line is not None and digests.get(suite.data_key(dataset, seed)) in (None, line.get("split_digest")):
            out.append(line | {"dataset": dataset.group, "model": model.label})
    return out


class _Bench:
    def __init__(self, full: Suite, suite: Suite, folder: Path, show: Progress):
        self.full, self.suite, self.folder, self.show = full, suite, folder, show
        self.table = Table(suite, folder)
        self.total = len(suite.each())
        self.digests: dict[str, str] = {}

    def run(self) -> Table:
        # The datasets of which something is missing, with all folds, and all models are made once before any is trained:
        # a wrong option is met at once.
        there = self._done()
        missing = {d.group for d, model, seed in self.suite.each() if self.suite.key(d, model, seed) not in there}
        datasets = [dataset for dataset in self.suite.datasets if dataset.group in missing]
        loaded = {dataset.label: self._load(dataset) for dataset in datasets}
        for dataset in datasets:
            for model in self.suite.models_on(dataset):
                self._model(model, loaded[dataset.label], 0)
        if loaded:
            self._compare(loaded)
        if done := len(results(self.suite, self.folder)):
            self.show.say(f"{done} of {self.total} results are in {self.folder / RESULTS} already")
        for dataset in datasets:
            self._dataset(dataset, loaded.pop(dataset.label))
            if self.table.stopped:
                break
        return self.table

    def _compare(self, loaded: Mapping[str, Splits]) -> None:
        """Keeps the digests of what the datasets hold now, for every seed; says how many results were of other shapes."""
        here = [dataset for dataset in self.full.datasets if dataset.label in loaded]
        share = self.full.recipe.val_share
        self.digests = {
            self.full.data_key(d, seed): loaded[d.label].with_val(seed, share).digest
            for d in here
            for seed in self.full.seeds
        }
        before = Counter(row["dataset"] for row in results(self.full, self.folder))
        with alone(self.folder, timeout=60):
            content = read_json(self.folder / DIGESTS) | self.digests
            save(self.folder / DIGESTS, (json.dumps(content, indent=2) + "\n").encode())
        stale = before - Counter(row["dataset"] for row in results(self.full, self.folder))
        for label, count in stale.items():
            self.show.say(f"{label} holds other shapes than before; results of it that count as missing: {count}")

    def _load(self, entry: Entry) -> Splits:
        options = {name: _expanded(value) for name, value in entry.options.items()}
        splits: Splits = load_dataset(entry.name, progress=self.show.counter(f"make {entry.label}"), **options)
        self.table.datasets[entry.group] = splits
        for path, reason in splits.skipped:
            self.show.say(f"skipped {path}: {reason}")
        return splits

    def _model(self, entry: Entry, splits: Splits, seed: int) -> nn.Module:
        features = entry.features and [node_of(feature) for feature in entry.features]
        return model_for(entry.name, splits, task=self.suite.task, features=features, seed=seed, **entry.options)

    def _dataset(self, dataset: Entry, whole: Splits) -> None:
        cache: dict[str, dict[str, dict[str, Prepared]]] = {}
        models, seeds = self.suite.models_on(dataset), self.suite.seeds
        for seed in seeds:
            done = self._done()
            missing = [
                (m.label, each) for m in models for each in seeds if self.suite.key(dataset, m, each) not in done
            ]
            todo = [m for m in models if (m.label, seed) in missing]
            if not todo:
                continue
            splits = whole.with_val(seed, self.suite.recipe.val_share)
            content = self.digests[self.suite.data_key(dataset, seed)]
            if content not in cache:
                labels = {label for label, _ in missing}
                needed = {m.label: self._model(m, splits, 0) for m in models if m.label in labels}
                cache = {content: self._prepare(dataset, needed, splits)}
            for model in todo:
                prepared = cache[content].get(model.label)
                try:
                    if prepared is not None:
                        self._one(dataset, model, seed, splits, prepared)
                except InUse:  # not done yet, and not failed
                    self.show.say(f"{model.label} on {dataset.label}, seed {seed}: another process is at it")
                except CotanError as reason:
                    self._failed(dataset, model.label, seed, reason)
                if self.table.stopped:
                    return

    def _done(self) -> set[str]:
        """The keys of the results that are there by now, of this process or another."""
        return {row["key"] for row in results(self.suite, self.folder)}

    def _prepare(
        self, dataset: Entry, models: Mapping[str, nn.Module], splits: Splits
    ) -> dict[str, dict[str, Prepared]]:
        """By model and split. Models share what they both need; one whose plan fails leaves the others alone."""
        out: dict[str, dict[str, Prepared]] = {label: {} for label in models}
        per = per_of(next(iter(models.values())))
        for name, shapes in splits.lists().items():
            count = self.show.counter(f"prepare {dataset.label} {name}")
            if not shapes or not out:
                continue
            models = {label: model for label, model in models.items() if label in out}
            try:
                found = prepare(models, shapes, per=per, refuse=True, progress=count)
            except CotanError:
                found = self._each(dataset, models, name, shapes, per)
            for label in models:
                if label in found and len(found[label]):
                    out[label][name] = found[label]
                    continue
                if label in found:
                    self._failed(dataset, label, None, CotanError(f"{name}: {found[label].refusals()}"))
                if not name.startswith("stress_"):  # a stress variant that a model cannot take is an empty cell
                    del out[label]
        return out

    def _each(
        self, dataset: Entry, models: Mapping[str, nn.Module], name: str, shapes: list[Any], per: str
    ) -> dict[str, Prepared]:
        """One split, model by model, where together it failed; the values that they share are in the store by now."""
        out = {}
        for label, model in models.items():
            try:
                out[label] = prepare(model, shapes, per=per, refuse=True)
            except CotanError as reason:
                self._failed(dataset, label, None, CotanError(f"{name}: {reason}"))
        return out

    def _one(self, dataset: Entry, entry: Entry, seed: int, splits: Splits, prepared: Mapping[str, Prepared]) -> None:
        key = self.suite.key(dataset, entry, seed)
        where = self.folder / "runs" / f"{_plain(dataset.label)}-{_plain(entry.label)}-{seed}-{key[:6]}"
        recipe = self.suite.recipe_of(entry, seed)
        options: dict[str, Any] = {"out": where, "progress": self.show.style, "prepared": prepared}
        with alone(where):
            done = self._done()
            if key in done:  # another process was quicker
                return
            self.show.say(f"{len(done) + 1} of {self.total}: {entry.label} on {dataset.label}, seed {seed}")
            try:
                resume = (where / "last.safetensors").exists()
                run = fit(self._model(entry, splits, seed), splits, recipe, resume=resume, **options)
            except AnotherRun as reason:  # of other data, or of another version of an operator
                self.show.say(str(reason))
                run = fit(self._model(entry, splits, seed), splits, recipe, **options)
            if run.status == "stopped":
                self.table.stopped = True
                return
            self._keep(dataset, entry, seed, run, where, _chosen_on(splits))

    def _keep(self, dataset: Entry, entry: Entry, seed: int, run: Run, where: Path, chosen_on: str) -> None:
        key = self.suite.key(dataset, entry, seed)
        row = {"key": key, "dataset": dataset.group, "model": entry.label, "seed": seed, **_facts(run)}
        row |= {"model_name": entry.name, "model_options": dict(entry.options), "features": entry.features}
        row |= {"dataset_name": dataset.name, "dataset_options": dict(dataset.options)}
        row |= {"run": str(where.relative_to(self.folder)), "suite": self.suite.name, "chosen_on": chosen_on}
        row["checkpoint_sha256"] = read_json(where / "run.json")["checkpoint_sha256"]
        with alone(self.folder, timeout=60):
            append(self.folder / RESULTS, row)

    def _failed(self, dataset: Entry, label: str, seed: int | None, reason: Exception) -> None:
        self.table.failures.append((dataset.label, label, seed, str(reason)))
        self.show.say(f"{label} on {dataset.label} failed: {reason}")


def _facts(run: Run) -> dict[str, Any]:
    """What a line says of a run: all that is needed to judge it and to run it again."""
    return {
        **run.metrics,
        "parameters": sum(p.numel() for p in run.model.parameters()),
        "epochs": len(run.history),
        "best_epoch": run.best_epoch,
        "epoch_seconds": statistics.median(line["train_seconds"] for line in run.history),
        "prepare_seconds": run.costs["prepare_seconds"],
        "prepare_hits": run.costs["hits"],
        "node_seconds": run.costs["node_seconds"],
        "split_digest": run.dataset["digest"],
        "recipe": run.recipe.record(),
        "task": task_of(run.model),
        "chosen_by": registry.lookup("task", task_of(run.model)).target.chosen_by,
        "device": _device(run),
        "threads": torch.get_num_threads(),
        "versions": versions(),
    }


def _device(run: Run) -> str:
    device = next(run.model.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def _chosen_on(splits: Splits) -> str:
    """On what the epoch is chosen: val, which may be the test shapes themselves; without one the last epoch is kept."""
    val, test = splits.val, splits.test
    if len(val) == len(test) > 0 and Splits(val).digest == Splits(test).digest:
        return "test"
    return "val" if val else ""


def _expanded(value: Any) -> Any:
    """An option with its $VARIABLES replaced: a suite that ships cannot know where a user's data lie."""
    if not isinstance(value, str) or "$" not in value:
        return value
    found = os.path.expandvars(value)
    if "$" in found:
        raise CotanError(f"{value!r} in the suite names an environment variable that is not set")
    return found


def _plain(label: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in label)
