"""What training leaves behind: the model, its history, its metrics, and how all of it came about."""

from __future__ import annotations

import json
import os
import platform
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import CotanError, Unregistered, expect
from . import checkpoint
from .make import at_most, rebuild
from .recipe import Recipe

SMALL = 2**27  # parameters that a model may have whatever its file holds: a part of it may have been left out
RECORD = {"recipe": dict, "metrics": dict, "classes": list, "dataset": dict, "versions": dict, "model": dict | None}
MODEL = {"name": str, "in_dim": int, "out_dim": int, "task": str, "features": list, "options": dict}


@dataclass
class Run:
    """A trained model with its record.

    Attributes:
        model: with the weights of the best epoch.
        history: one dict an epoch, as in metrics.jsonl.
        metrics: of the best epoch on val, then on test and each stress variant (`stress_rotated_accuracy`).
        status: "finished", or "stopped" by Ctrl-C, and then test was not touched; "running" of one that was killed.
        costs: of preparing the shapes: seconds in all and by node, and store hits.
        path: the run's folder, if it has one.
    """

    model: nn.Module
    recipe: Recipe
    history: list[dict[str, Any]] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)
    status: str = "running"
    best_epoch: int | None = None
    classes: tuple[str, ...] = ()
    dataset: dict[str, Any] = field(default_factory=dict)
    costs: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    path: Path | None = None

    @classmethod
    def load(cls, path: Any, model: nn.Module | None = None) -> Run:
        """The run in a folder, with its best weights. `model` is needed for a module that `create_model` did not make.

        >>> cotan.Run.load("runs/spectral").model
        """
        expect("Run.load", path, str | os.PathLike, "a run's folder")
        folder = Path(path)
        if not os.path.isdir(folder):
            raise CotanError(f"no run folder {folder}")
        final = read_json(folder / "run.json")  # before the weights, which a training may replace meanwhile
        found = checkpoint.load(folder, "best")
        if found is None:
            raise CotanError(f"{folder} has no best.safetensors: no epoch of a run was finished there")
        tensors, record = found
        where = str(folder / "best.safetensors")
        _check(record, RECORD, where)
        if model is None:
            if record["model"] is None:
                raise CotanError(
                    f"the model of {folder} was not made by create_model, or not of what a file can say, or has other parts "
                    "or nodes since; give it: Run.load(path, model=...)"
                )
            _check(record["model"], MODEL, f"{where}, model")
            largest = max(SMALL, 2 * sum(map(torch.Tensor.numel, tensors.values())))
            with at_most(largest, where), torch.random.fork_rng(devices=[]):  # the weights that are drawn do not stay
                try:
                    model = rebuild(record["model"])
                except Unregistered as reason:
                    raise CotanError(
                        f"{folder}: {reason}\n"
                        "(what a notebook or a script defines is known once that has run, what a plugin defines always)"
                    ) from reason
        checkpoint.load_model(model, tensors, where)
        status = final.get("status", "running")
        known = final.get("checkpoint_sha256")
        if known is not None and known != checkpoint.sha256(folder / "best.safetensors"):
            raise CotanError(
                f"{where} is not the file that run.json is about: it was damaged, or is from another run. Without run.json it "
                "loads, with what it says of itself"
            )
        return cls(
            model=model.eval(),
            recipe=Recipe.of(record["recipe"]),
            history=read_lines(folder / "metrics.jsonl"),
            metrics=record["metrics"] if status == "running" else final.get("metrics", {}),
            status=status,
            best_epoch=record.get("epoch"),
            classes=tuple(record["classes"]),
            dataset=record["dataset"],
            costs=final.get("costs", {}),
            versions=record["versions"],
            path=folder,
        )

    def __repr__(self) -> str:
        shown = "\n    ".join(map(", ".join, lines_of(self.metrics)))
        return f"Run({self.status}, {len(self.history)} epochs, best {self.best_epoch}: {shown})"


def lines_of(metrics: Mapping[str, Any]) -> list[list[str]]:
    """Metrics as text: those of val, of test, and of each stress variant."""
    lines: dict[str, list[str]] = {}
    splits = [name.removesuffix("loss") for name in metrics if name.endswith("_loss")]
    for name, value in metrics.items():
        if isinstance(value, int | float):
            lines.setdefault(next(filter(name.startswith, splits), ""), []).append(f"{name} {value:.4g}")
    return list(lines.values())


def _check(record: Any, kinds: Mapping[str, Any], where: str) -> None:
    """Raise where a record is of another kind than those that are written."""
    for name, kind in kinds.items():
        if not isinstance(record, dict) or name not in record or not isinstance(record[name], kind):
            raise CotanError(f"{where}: its record has no {name!r}, or none that is {kind}")


def trained(given: Any) -> tuple[nn.Module, tuple[str, ...]]:
    """The module and the classes of a model, a `Run` or a run's folder."""
    run = Run.load(given) if isinstance(given, str | os.PathLike) else given
    model, classes = (run.model, run.classes) if isinstance(run, Run) else (run, ())
    if not isinstance(model, nn.Module):
        raise CotanError(f"expected a model, a Run or a run's folder, got {type(model).__name__}")
    return model, classes


def versions() -> dict[str, str]:
    """Of what the numbers depend on."""
    out = {"python": platform.python_version()}
    for name in ("cotan", "torch", "torch-geometric", "numpy", "scipy"):
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "?"
    return out


def read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        return _record(path.read_text())
    except (OSError, ValueError) as reason:
        raise CotanError(f"{path} cannot be read: {reason}. Remove it: resume, or bench, writes it anew") from reason


def _record(text: str) -> dict[str, Any]:
    try:
        content = json.loads(text)
    except RecursionError as reason:
        raise ValueError("nested too deep") from reason
    if not isinstance(content, dict):
        raise ValueError(f"expected a JSON object, got a {type(content).__name__}")
    return content


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a .jsonl file. A last one that a kill cut short is left out, another that is damaged is said too."""
    if not path.is_file():
        return []
    try:
        text = path.read_text(errors="replace")
    except OSError as reason:
        raise CotanError(f"{path} cannot be read: {reason}") from reason
    out, lines = [], text.splitlines()
    for number, line in enumerate(lines):
        try:
            out.append(_record(line))
        except ValueError as reason:
            if number < len(lines) - 1 or text.endswith("\n"):
                warnings.warn(f"{path}, line {number + 1}, is left out, as it is not JSON: {reason}", RuntimeWarning, 2)
    return out
