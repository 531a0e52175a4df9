"""`poses`: articulated creatures in random poses, every shape meshed anew, with stress variants of the test shapes."""

import itertools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

import cotan
from cotan.errors import at_least, one_of

from .alter import ALTER
from .body import PARTS
from .creatures import CLASSES
from .generate import Seed, generate, make
from .spread import spread

if TYPE_CHECKING:
    from torch_geometric.data import Data

SPLITS = ("train", "val", "test")
TASKS = ("classify", "label", "match")
STRESS = ("poses", "fine", "coarse", *ALTER)

Job = dict[str, Any]


def creature(name: str, seed: Seed, *, task: str = "classify", **options: Any) -> "Data":
    """One shape: `Data` with pos (V, 3), face (3, F), part (V,), body (V, 3) and y, the class or (V,) the parts.

    `body` is the place of the vertex in the rest pose of its class. The options (`pose`, `mesh`, `vertices`, `bend`,
    `vary`, `rotate`) are those of `generate`.
    """
    _check("creature", [name], CLASSES)
    _check("task", [task], ("classify", "label"))
    return _data(generate(name, seed, **options), CLASSES.index(name), task)


@cotan.dataset("poses", version=2)  # raised when the shapes change: they are kept in the store under it
def poses(
    *,
    vertices: int = 250,
    per_class: int = 20,
    seed: int = 0,
    bend: float = 0.5,
    rotate: bool = False,
    task: str = "classify",
    creatures: Sequence[str] = CLASSES,
    stress: Sequence[str] = STRESS,
    workers: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> cotan.Splits:
    """Articulated creatures in random poses, every shape meshed anew. A fifth each are val and test, the others train.

    The stress variants are the test shapes again: bent further than any in train, on four times or half as many
    vertices, turned, with noise, with holes, larger or smaller.

    Arguments:
        vertices, per_class: of a shape, and shapes of each class.
        bend: the share of their limits up to which joints bend; in the variant "poses", from there to the limits.
        rotate: turn every shape at random. creatures, stress: which classes and variants there are.
        task: y is the class of a shape ("classify"), the part of each vertex ("label"), or, of one creature, the vertex
            of the template at the same place of the body ("match"). The template stands in the rest pose.
        workers: processes that make the shapes (default: one a processor); they change nothing in them.
        progress: called with the numbers of shapes done and in all.
    """
    _check("task", [task], TASKS)
    if task == "match" and len(creatures) != 1:
        raise cotan.CotanError(f"poses: task='match' is about one creature, got creatures={tuple(creatures)}")
    todo = jobs(
        vertices=vertices, per_class=per_class, seed=seed, bend=bend, rotate=rotate, creatures=creatures, stress=stress
    )
    every = [job for some in todo.values() for job in some]
    made = iter(spread(make, every, workers=workers, progress=progress))
    lists = {
        name: [_data(next(made), list(creatures).index(job["name"]), task) for job in some]
        for name, some in todo.items()
    }
    split = {name: lists.pop(name) for name in SPLITS}
    for kind, change in enumerate(ALTER):
        if change in stress:
            lists[change] = [
                ALTER[change](shape, np.random.default_rng([4, kind, seed, i])) for i, shape in enumerate(split["test"])
            ]
    classes = {"classify": tuple(creatures), "label": PARTS, "match": ()}[task]
    found = cotan.Splits(**split, stress={name: lists[name] for name in stress}, classes=classes, task=task)
    if task == "match":
        from scipy.spatial import cKDTree

        found.template = creature(
            creatures[0], (seed, len(SPLITS)), task="label", vertices=vertices, bend=(0, 0), vary=0
        )
        nearest = cKDTree(found.template.body)
        for shape in itertools.chain(*split.values(), *lists.values()):
            shape.y = torch.from_numpy(nearest.query(shape.body)[1])
    return found


def jobs(
    *,
    vertices: int,
    per_class: int,
    seed: int,
    bend: float,
    rotate: bool,
    creatures: Sequence[str],
    stress: Sequence[str],
) -> dict[str, list[Job]]:
    """What to generate, by split and stress variant: arguments of `generate` (JSON values), one dict a shape.

    An individual's seed is (seed, split, number), so that more shapes leave those there are unchanged.
    """
    _check("creatures", creatures or ["none"], CLASSES)
    _check("stress", stress, STRESS)
    at_least(125, "poses", vertices=vertices)
    at_least(3, "poses", per_class=per_class)
    if not 0 < bend < 1:
        raise cotan.CotanError(f"poses: bend={bend}, expected a number between 0 and 1")
    fifth = max(1, per_class // 5)
    counts = {"train": per_class - 2 * fifth, "val": fifth, "test": fifth}
    todo = {
        split: [
            {"name": name, "seed": [seed, number, i], "vertices": vertices, "bend": [0.0, bend], "rotate": rotate}
            for name in creatures
            for i in range(counts[split])
        ]
        for number, split in enumerate(SPLITS)
    }
    change: dict[str, Job] = {
        "poses": {"pose": 1, "mesh": 1, "bend": [bend, 1.0]},
        "fine": {"mesh": 2, "vertices": 4 * vertices},
        "coarse": {"mesh": 3, "vertices": max(125, vertices // 2)},
    }
    return todo | {name: [job | change[name] for job in todo["test"]] for name in change if name in stress}


def _data(arrays: dict[str, Any], label: int, task: str) -> "Data":
    from torch_geometric.data import Data

    part = torch.as_tensor(arrays["part"], dtype=torch.int64)
    return Data(
        pos=torch.as_tensor(arrays["pos"], dtype=torch.float32),
        face=torch.as_tensor(np.ascontiguousarray(arrays["face"]), dtype=torch.int64),
        y=torch.tensor([label]) if task == "classify" else part.clone(),
        part=part,
        body=torch.as_tensor(arrays["body"], dtype=torch.float32),
    )


def _check(what: str, got: Sequence[str], known: Sequence[str]) -> None:
    for name in got:
        one_of(f"{what} of poses", name, known)
