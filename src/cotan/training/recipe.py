"""The recipe: every number that training depends on, beside the model and the data."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from ..errors import CotanError, one_of, unknown
from ..nodes import Node, node
from ..sampling import check_sizes

CHOICES = {
    "optimizer": ("adam", "adamw", "sgd"),
    "schedule": ("none", "cosine", "step"),
    "precision": ("32", "bf16"),
}


ELSEWHERE = {  # what other trainers take
    **dict.fromkeys(("loss", "loss_fn", "criterion", "metrics"), "A task of yours has its own loss and metrics"),
    **dict.fromkeys(("callbacks", "callback", "logger"), "fit(on_epoch=) calls a function of yours after each epoch"),
    **dict.fromkeys(
        ("clip_grad_norm", "gradient_clip_val", "accumulate_grad_batches", "scheduler"),
        "What a recipe does not have, a loop of yours has: cotan.prepare gives its batches",
    ),
}
USED_BY = {"momentum": ("optimizer", "sgd"), "step_size": ("schedule", "step"), "gamma": ("schedule", "step")}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        epochs, batch_size: passes over the training shapes, and shapes a step, 16 by default; with `sample` training
            vertices, 1024 by default.
        lr, weight_decay, optimizer: "adam", "adamw", or "sgd" with `momentum`.
        schedule: of the learning rate: "none", "cosine" (to zero), "step" (times `gamma` every `step_size` epochs).
        seed: of weights, order, dropout, augmentation, and of the val that is cut where a dataset has none.
        val_share: of each class in train, cut as val where a dataset has none; 0 cuts none, and the last epoch is kept.
        precision: "32" or "bf16" (mixed). device: "auto", "cpu", "cuda"...
        label_smoothing: share of each training target that is spread over all classes.
        class_balance: weigh each class by the inverse of its share of the training targets, and choose the epoch by the
            mean over classes of what is found of each.
        sample: how many neighbours each hop draws about the vertices of a step, such as (15, 10), for targets at vertices of
            graphs that are too large to take whole (`NeighbourSampler`); val and test are taken whole.
        augment: requests for augmentations of the training shapes, drawn anew each epoch: "random_rotation".
        patience: epochs without a better val after which it stops; 0 for never.

    >>> Recipe(epochs=100, lr=1e-2, augment=("random_rotation",))
    """

    epochs: int = 50
    batch_size: int = None  # type: ignore[assignment]
    lr: float = 1e-3
    weight_decay: float = 0.0
    optimizer: str = "adam"
    momentum: float = 0.9
    schedule: str = "none"
    step_size: int = 20
    gamma: float = 0.5
    seed: int = 0
    val_share: float = 0.2
    precision: str = "32"
    device: str = "auto"
    label_smoothing: float = 0.0
    class_balance: bool = False
    sample: tuple[int, ...] = ()
    augment: tuple[Any, ...] = ()
    patience: int = 0

    _sized = True  # whether a batch_size was given; no field

    def __post_init__(self) -> None:
        for name, choices in CHOICES.items():
            one_of(f"{name} of a recipe", str(getattr(self, name)), choices)
        for name in ("precision", "device"):
            object.__setattr__(self, name, str(getattr(self, name)))
        given = self.augment if isinstance(self.augment, list | tuple) else [self.augment]
        object.__setattr__(self, "augment", tuple(node_of(a) for a in given))
        none = isinstance(self.sample, tuple | list) and not self.sample
        object.__setattr__(self, "sample", () if none else check_sizes("recipe: sample", self.sample))
        if self.batch_size is None:
            object.__setattr__(self, "batch_size", 1024 if self.sample else 16)
            object.__setattr__(self, "_sized", False)
        for request in self.augment:
            if "seed" in dict(request.settings):
                raise CotanError(f"recipe: augment={request.key!r}, expected no seed: there is one for each epoch")
        for field in fields(self):
            if hasattr(value := getattr(self, field.name), "item"):  # a number of numpy's or torch's
                object.__setattr__(self, field.name, value.item())
            if field.type in _NUMBERS:
                self._check_number(field.name, *_NUMBERS[str(field.type)])
        for name, (by, choice) in USED_BY.items():
            if getattr(self, name) != getattr(Recipe, name) and getattr(self, by) != choice:
                raise CotanError(
                    f"recipe: {name}={getattr(self, name)!r} is for {by}={choice!r}; here {by}={getattr(self, by)!r}"
                )

    def _check_number(self, name: str, kind: Any, words: str) -> None:
        value = getattr(self, name)
        low = 0 if name in ("seed", "patience", "weight_decay", "momentum", "label_smoothing", "val_share") else None
        right = isinstance(value, kind) and isinstance(value, bool) == (kind is bool) and math.isfinite(value)
        if not right or (kind is not bool and (value < 0 if low == 0 else value <= 0)):
            bound = "" if kind is bool else ", zero or more" if low == 0 else ", more than zero"
            raise CotanError(f"recipe: {name}={value!r}, expected {words}{bound}")
        if name in ("label_smoothing", "val_share") and value >= 1:
            raise CotanError(f"recipe: {name}={value!r}, expected a share below one")
        if name == "seed" and value >= 2**32:
            raise CotanError(f"recipe: seed={value!r}, expected a number below 2**32")

    @classmethod
    def of(cls, recipe: Recipe | Mapping[str, Any] | str | os.PathLike[str] | None = None, **overrides: Any) -> Recipe:
        """A recipe from another, a mapping, or a TOML file (its table `recipe`, or all of it), some values replaced."""
        if isinstance(recipe, str | os.PathLike):
            content = read_toml(recipe, "recipe")
            recipe = content.get("recipe", content)
        known = [field.name for field in fields(cls)]
        for name in [*(recipe if isinstance(recipe, Mapping) else ()), *overrides]:
            if name not in known:
                instead = ELSEWHERE.get(name, "A model's options go to cotan.model_for")
                raise CotanError(f"{unknown('key of a recipe', name, known)}. {instead}")
        for name, (by, choice) in USED_BY.items():  # what served a choice that is overridden is not meant
            if overrides.get(by, choice) != choice:
                overrides.setdefault(name, getattr(cls, name))
        if recipe is None or isinstance(recipe, Mapping):
            return cls(**{**(recipe or {}), **overrides})
        if not isinstance(recipe, Recipe):
            raise CotanError(f"recipe: expected a Recipe, a mapping or a TOML file, got {type(recipe).__name__}")
        if not recipe._sized:
            overrides.setdefault("batch_size", None)  # the default of what a step is of now
        return replace(recipe, **overrides)

    def record(self) -> dict[str, Any]:
        """As JSON can say it; a `sample` only where it is one, as records were before there was any."""
        record = {**asdict(replace(self, augment=())), "augment": [record_of(a) for a in self.augment]}
        return {name: value for name, value in record.items() if name != "sample" or value}

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        if self.schedule == "cosine":
            return self.lr * 0.5 * (1 + math.cos(math.pi * epoch / self.epochs))
        if self.schedule == "step":
            return self.lr * self.gamma ** (epoch // self.step_size)
        return self.lr

    def make_optimizer(self, parameters: Any) -> torch.optim.Optimizer:
        if self.optimizer == "sgd":
            return torch.optim.SGD(parameters, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
        kind = torch.optim.AdamW if self.optimizer == "adamw" else torch.optim.Adam
        parameters = list(parameters)
        fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)  # one call for all
        return kind(parameters, lr=self.lr, weight_decay=self.weight_decay, fused=fused)


_NUMBERS = {"int": (int, "a whole number"), "float": ((int, float), "a number"), "bool": (bool, "true or false")}


def read_toml(path: str | os.PathLike[str], what: str) -> dict[str, Any]:
    try:
        return tomllib.loads(Path(path).read_text("utf-8-sig"))
    except OSError as reason:
        raise CotanError(f"{what} {path} cannot be read: {reason.strerror or reason}") from reason
    except (ValueError, RecursionError) as reason:
        raise CotanError(f"{what} {path} is not TOML: {reason}") from reason


def record_of(request: Node) -> Any:
    """A request as JSON: its name, or {name, options, on}."""
    out: dict[str, Any] = {name: record_of(v) if isinstance(v, Node) else v for name, v in request.settings}
    if request.on is not None:
        out["on"] = record_of(request.on)
    return {"name": request.name, **out} if out else request.name


def node_of(record: Any) -> Node:
    """A request from what `record_of` wrote, a name or a table {name = "random_scale", low = 0.5}; a node is one."""
    if not isinstance(record, Mapping):
        return node(record)
    if "name" not in record:
        raise CotanError(f"a node is written as its name or as a table with a name, got {record!r}")
    options = {
        key: node_of(v) if isinstance(v, Mapping) else v for key, v in record.items() if key not in ("name", "on")
    }
    return node(record["name"], on=node_of(record["on"]) if "on" in record else None, **options)
