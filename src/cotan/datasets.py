"""Datasets: lists of shapes in splits, by name or from the caller's own lists."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any

import torch
from torch import Tensor

from . import dataset_store, registry
from .data import check_data, way_to_data
from .errors import CotanError, expect, one_of
from .store import store
from .stored import Facts
from .targets import check_template, counted, mask_of, target
from .values import digest

SPLITS = ("train", "val", "test")
SPREAD = ("workers", "progress")  # options of a dataset that say how it is made, not what it is


@dataclass
class Splits:
    """A dataset: lists of `Data`, each with its target `y`, and a boolean `mask` where only some of it counts.

    For tasks per vertex y is (V,), or (V, D) of D numbers; with `y_index` (n, N) it is (N,) or (N, D): for N edges, faces or
    other places, at each of which a model's output is the mean of that at its n vertices. A `group`, a number or text, says
    what several shapes are of, such as a patient or a simulation: a val that is cut has all shapes of a group or none.

    Attributes:
        classes: names of the values of y, for tasks with classes.
        stress: variants of the test shapes, by name.
        skipped: files that could not be read, with the reason.
        task: what it is for.
        name, options: how `load_dataset` made it.
        template: for the task `match`, the mesh whose vertices are the values of y.
    """

    train: list[Any]
    val: list[Any] = field(default_factory=list)
    test: list[Any] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    stress: dict[str, list[Any]] = field(default_factory=dict)
    skipped: list[tuple[str, str]] = field(default_factory=list)
    task: str = "classify"
    name: str = "own data"
    options: dict[str, Any] = field(default_factory=dict)
    template: Any = None

    def __post_init__(self) -> None:
        for name in SPLITS:
            expect(name, getattr(self, name), Sequence | torch.utils.data.Dataset, "a list of Data")
        expect("stress", self.stress, Mapping, "lists of Data by name")
        expect("classes", self.classes, Sequence, "names")
        if self.template is not None:
            check_data(self.template)

    @property
    def distances(self) -> Tensor | None:
        """(T, T) along the template's surface, by which the task `match` measures errors; None without a template. Stored."""
        if self.template is None:
            return None
        check_template(self)
        return _distances(self.template.pos, self.template.face)

    @cached_property
    def digest(self) -> str:
        """Of what every split holds: two results with one digest are about the same shapes."""
        content: dict[str, Any] = {name: [digest(shape) for shape in shapes] for name, shapes in self._digests.items()}
        if self.template is not None:
            content["template"] = digest(_digests(self.template, {}))
        return digest(content)

    @cached_property
    def _digests(self) -> dict[str, list[dict[str, str]]]:
        """Of each attribute of each shape, by list."""
        known: dict[int, tuple[Tensor, str]] = {}
        return {name: [_digests(shape, known) for shape in shapes] for name, shapes in self.lists().items()}

    def lists(self) -> dict[str, list[Any]]:
        """Everything there is, by name: train, val, test, and `stress_NAME`."""
        plain = {name: getattr(self, name) for name in SPLITS}
        return {**plain, **{f"stress_{name}": shapes for name, shapes in self.stress.items()}}

    def split(self, name: str) -> list[Any]:
        """One list, by `train`, `val`, `test` or the name of a stress variant."""
        if name in SPLITS:
            return list(getattr(self, name))
        one_of(f"split of {self.name!r}", name, [*SPLITS, *self.stress])
        return self.stress[name]

    def with_val(self, seed: int = 0, share: float = 0.2) -> Splits:
        """This, with a val: the share of each class in train that a permutation by `seed` puts first.

        Shapes of one group are counted and cut as one.
        """
        if self.val or share == 0 or not self.train:
            return self
        generator = torch.Generator().manual_seed(seed)
        task = registry.lookup("task", self.task).target
        several = len(self.train) == 1 and torch.as_tensor(self.train[0].y).numel() > 1
        if several and (task.categorical or task.per == "vertex"):
            own = self.train[0]
            known = mask_of(own)
            if task.scaled:  # NaN is a number that is missing
                known = known & ~target(own, "vertex").reshape(len(known), -1).isnan().all(1).to(known.device)
            among = known.nonzero()[:, 0]
            chosen = torch.zeros_like(mask_of(own))
            labels = target(own, "vertex")[among] if task.categorical else torch.zeros(len(among))
            chosen[among[_share(labels, share, generator)]] = True
            if not chosen.any():
                raise self._too_few(f"{len(among)} training targets")
            train, val = _masked(own, mask_of(own) & ~chosen), _masked(own, chosen)
            return replace(self, train=[train], val=[val])
        y = [counted(shape, task.per).reshape(-1) for shape in self.train]
        groups = list(map(_group, self.train))
        given = [i for i, each in enumerate(y) if not each.isnan().all()]  # an atom has no bonds to be labelled
        sample: dict[Any, int] = {}  # of each group a shape with a target
        for i in given:
            sample.setdefault(groups[i], i)
        labels = torch.zeros(len(sample))
        if task.categorical and task.per == "shape":
            first = torch.stack([y[i][0] for i in sample.values()])
            # No class has two groups, of which one could be cut, yet a group has several classes.
            alone = len(first.unique()) == len(first)
            mixed = alone and any(y[i][0] != y[sample[groups[i]]][0] for i in given)
            labels = labels if first.is_floating_point() or mixed else first
        order = list(sample)
        picked = {order[i] for i in _share(labels, share, generator).tolist()}
        if not picked:
            of = " with a target" if len(given) < len(y) else ""
            of += f", of {len(sample)} groups," if len(sample) < len(given) else ""
            raise self._too_few(f"{len(given)} training shapes{of}")
        train = [shape for shape, group in zip(self.train, groups) if group not in picked]
        return replace(self, train=train, val=[s for s, group in zip(self.train, groups) if group in picked])

    def _too_few(self, what: str) -> CotanError:
        return CotanError(
            f"dataset {self.name!r} has no val, and its {what} are too few to cut one; fit(..., val_share=0) trains on all"
        )

    def seen(self, name: str = "test", other: str = "train") -> int:
        """How many of one list's shapes, or of its vertices of one masked graph, are in another too, whatever their targets."""
        same: dict[Any, list[Any]] = {}
        for shape, digests in zip(self.split(other), self._digests[other]):
            same.setdefault(_unlabelled(digests), []).append(shape)
        counts = [
            max((_shared(shape, each) for each in same.get(_unlabelled(digests), [])), default=0)
            for shape, digests in zip(self.split(name), self._digests[name])
        ]
        return sum(counts) if len(counts) == 1 else sum(map(bool, counts))

    def related(self, name: str = "test", other: str = "train") -> int:
        """How many of one list's shapes are of a group that another has too."""
        groups = set(map(_group, self.split(other)))
        return sum(_group(shape) in groups for shape in self.split(name))

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name} {len(shapes)}" for name, shapes in self.lists().items())
        classes = f"; {len(self.classes)} classes" if self.classes else ""
        return f"Splits({self.name!r}: {sizes}{classes})"


def load_dataset(
    name: str, /, *, split: str | None = None, progress: Callable[[int, int], object] | None = None, **options: Any
) -> Any:
    """A registered dataset as `Splits`, or one of its lists.

    Arguments:
        split: train, val, test, or the name of a stress variant; all of them by default.
        progress: called with the numbers of shapes done and in all, by datasets that take long.
        options: of the dataset; one that it does not have is answered with those that it has.

    >>> cotan.load_dataset("poses", per_class=10).train[0]
    """
    folder = isinstance(name, str | os.PathLike) and os.path.isdir(name)
    if folder and not registry.has("dataset", name):
        raise CotanError(f"{name!r} is a folder; meshes in one are the dataset 'folder' with the option root={name!r}")
    definition = registry.lookup("dataset", name)
    registry.check_options(definition, options)
    version = definition.version
    key = found = None
    try:
        if version is not None:
            settings = {k: v for k, v in sorted({**definition.options, **options}.items()) if k not in SPREAD}
            key = digest([name, version(**settings) if callable(version) else version, settings])
            if (there := dataset_store.get(key)) is not None:
                found = Splits(**there)
        if found is None:
            extra = {"progress": progress} if progress is not None and "progress" in definition.options else {}
            found = as_splits(definition.target(**options, **extra), name)
            if key is not None:
                dataset_store.put(key, found)
    except CotanError:
        raise
    except (TypeError, ValueError, OSError) as reason:
        raise CotanError(f"dataset {name!r}: {reason}") from reason
    except Exception as reason:  # a reader of broken files, or a stranger's, may raise anything
        raise CotanError(f"dataset {name!r}: {type(reason).__name__}: {reason}") from reason
    found.name, found.options = name, {k: v for k, v in options.items() if k not in SPREAD}
    if not found.train and not found.test:
        raise CotanError(
            f"dataset {name!r} is empty" + (f" ({len(found.skipped)} files were skipped)" if found.skipped else "")
        )
    return found if split is None else found.split(split)


def as_splits(dataset: Any, name: str | None = None) -> Splits:
    """`Splits` from a name, an object with .train .val .test, a mapping of lists, or a `Data` with train_mask ..."""
    if isinstance(dataset, Splits):
        return dataset
    if isinstance(dataset, str):
        return load_dataset(dataset)

    listed: Any = dataset if isinstance(dataset, torch.utils.data.Dataset | list) else ()
    one = listed[0] if len(listed) == 1 else dataset
    if hasattr(one, "_store") and one.get("train_mask") is not None:
        return _by_masks(one, name or "own data")

    def get(key: str, default: Any = None) -> Any:
        return dataset.get(key, default) if isinstance(dataset, Mapping) else getattr(dataset, key, default)

    if get("train", None) is None:
        way = way_to_data(dataset)
        if hasattr(one, "_store"):
            way = ": of one graph, torch_geometric.transforms.RandomNodeSplit()(data) draws the masks"
        elif isinstance(dataset, list | torch.utils.data.Dataset):
            way = ": cut it, cotan.Splits(train=data[:80], test=data[80:])"
        raise CotanError(
            (f"dataset {name!r} gives a {type(dataset).__name__}: " if name else "")
            + "expected a dataset's name, an object with .train, .val and .test (lists of Data), or a Data with train_mask, "
            f"val_mask and test_mask; got a {type(dataset).__name__}{way}"
        )
    lists: dict[str, Any] = {key: list(get(key, None) or []) for key in SPLITS}
    return Splits(
        **lists,
        classes=tuple(str(c) for c in get("classes", None) or ()),
        stress={str(key): list(shapes) for key, shapes in (get("stress", None) or {}).items()},
        skipped=list(get("skipped", None) or []),
        task=get("task", None) or "classify",
        template=get("template", None),
        name=name or get("name", None) or "own data",
    )


@lru_cache(maxsize=1)  # `Splits` with a val cut for each seed have one template
def _distances(pos: Tensor, face: Tensor) -> Tensor:
    """All distances of a mesh, in float32: from the store, since they take minutes where it is large."""
    from .operators.geodesic_distance import all_distances

    front = registry.lookup("operator", "geodesic_distance")
    key = digest([front.version, pos, face])
    distances: Tensor | None = store().get(key, front.name)
    if distances is None:
        start = time.perf_counter()
        distances = all_distances(pos, face).float()
        store().put(key, distances, Facts(front.name, front.name, {}, "", time.perf_counter() - start))
    return distances


def _digests(shape: Any, known: dict[int, tuple[Tensor, str]]) -> dict[str, str]:
    """Of what a shape holds, but not of the file it is from. A tensor that shapes share is read once."""
    parts = {}
    for name in sorted(shape.keys()):
        value = shape[name]
        if isinstance(value, Tensor):
            if id(value) not in known:
                known[id(value)] = value, digest(value)  # held, so that no other tensor gets its id
            parts[name] = known[id(value)][1]
        elif not isinstance(value, str):
            try:
                parts[name] = digest(value)
            except CotanError as reason:
                raise CotanError(f"a shape's {name!r} is {reason}; del shape.{name} drops it") from None
    return parts


def _unlabelled(digests: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in digests.items() if name not in ("y", "mask", "group"))


def _group(shape: Any) -> Any:
    """What a shape is of; a thing of its own where it does not say."""
    group = shape.get("group")
    if hasattr(group, "tolist"):  # of torch or numpy; of several numbers, one a vertex, say, it is something else
        group = group.reshape(-1).tolist()
        group = group[0] if len(group) == 1 else None
    expect("group of a shape", group, str | float | int | None, "one number or text, such as a patient's")
    return object() if group is None else group


def _shared(shape: Any, other: Any) -> int:
    """How many targets of one shape count in both of two splits; 1 of a shape without a mask."""
    if shape.get("mask") is None and other.get("mask") is None:
        return 1
    return int((mask_of(shape) & mask_of(other)).sum())


def _by_masks(data: Any, name: str) -> Splits:
    """One graph, a mask for each split, as PyG has it."""
    masks = {split: data[f"{split}_mask"] for split in SPLITS if data.get(f"{split}_mask") is not None}
    y = data.get("y")
    for split, mask in masks.items():
        if isinstance(y, Tensor) and y.ndim:
            _check_split(f"{split}_mask", mask, y.numel() if len(y) == 1 else len(y), name)
    bare = copy(data)
    for split in masks:
        del bare[f"{split}_mask"]
    lists: dict[str, Any] = {"train": [], **{split: [_masked(bare, mask)] for split, mask in masks.items()}}
    return Splits(**lists, task="label", name=name)


def _check_split(name: str, mask: Any, count: int, dataset: str) -> None:
    """Raise for a mask that is not one truth value a target, with what makes such a one of it."""
    given, mask = mask, torch.as_tensor(mask)
    if given is mask and mask.dtype == torch.bool and mask.shape == (count,):
        return
    way = ""
    if given is not mask:
        way = f": data.{name} = torch.as_tensor(data.{name})"
    elif mask.ndim == 2 and len(mask) == count:
        way = f": data.{name} = data.{name}[:, 0] is the first of its {mask.shape[1]} splits"
    elif mask.shape == (count,):
        way = f": data.{name} = data.{name}.bool()"
    elif mask.ndim == 1 and mask.dtype == torch.int64:
        way = f": data.{name} = torch_geometric.utils.index_to_mask(data.{name}, {count})"
    raise CotanError(
        f"dataset {dataset!r}: {name} is {tuple(mask.shape)} of {mask.dtype}, expected a bool tensor ({count},), true where y "
        f"counts{way}"
    )


def _masked(shape: Any, mask: Tensor) -> Any:
    return copy(shape).update({"mask": mask})


def _share(labels: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Places of a share of each class, never all of it."""
    picked = [torch.zeros(0, dtype=torch.long)]
    labels = labels.cpu()
    for label in sorted(set(labels.tolist())):
        places = (labels == label).nonzero()[:, 0]
        count = min(max(1, round(share * len(places))), len(places) - 1)
        picked.append(places[torch.randperm(len(places), generator=generator)[:count]])
    return torch.cat(picked).sort().values
