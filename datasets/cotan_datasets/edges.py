"""`edges`: find where a pattern on a creature changes, then on the creature in another pose and triangulation.

What a filter that was fitted on one shape is worth on another.
"""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

import cotan
from cotan.errors import at_least

from .poses import creature

if TYPE_CHECKING:
    from torch_geometric.data import Data

CARRIED = {
    "new pose": {"pose": 1, "mesh": 0},
    "new triangles": {"pose": 0, "mesh": 1},
    "new both": {"pose": 1, "mesh": 1},
}


@cotan.dataset("edges")
def edges(*, name: str = "dog", vertices: int = 500, patterns: int = 8, seed: int = 0) -> cotan.Splits:
    """Patterns x (V, 1) on one shape, each with y (V,): does the pattern change more there than at half of the vertices?

    A standard example of courses on spectral networks: a filter fitted to find edges on the mesh of a horse fails once the
    horse has moved. train, val and test are the same: test says how well a model can be fitted. The stress variants say
    whether it carries over: to the same patterns, at the same places of the body, in a new pose, on new triangles, and on
    both; and to new patterns on the shape itself.

    Arguments:
        name: a creature of `poses`.
    """
    at_least(1, "edges", patterns=patterns)

    def shape(pose: int, mesh: int) -> "Data":
        return creature(name, seed, vertices=vertices, bend=(0.0, 0.3), pose=pose, mesh=mesh)

    here = shape(0, 0)
    size = here.body.double().std(0).norm()  # one for all, so that a pattern is the same on all
    waves, others = crossing_waves(patterns, 2 * seed), crossing_waves(patterns, 2 * seed + 1)
    fitted = examples(here, size, waves)
    stress = {key: examples(shape(**change), size, waves) for key, change in CARRIED.items()}
    stress["new patterns"] = examples(here, size, others)
    return cotan.Splits(fitted, fitted, fitted, classes=("even", "edge"), stress=stress, task="label")


def crossing_waves(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Frequencies (2, 3, count) and phases (2, 1, count)."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.randn(2, 3, count, generator=generator, dtype=torch.float64) * 2
    return frequency, torch.rand(2, 1, count, generator=generator, dtype=torch.float64) * 2 * torch.pi


def examples(data: "Data", size: Tensor, waves: tuple[Tensor, Tensor]) -> list["Data"]:
    """The shape once for each pattern: two waves that cross, light and dark with steep slopes between."""
    frequency, phase = waves
    laplacian, mass = cotan.compute(data, ["laplacian", "mass"], dtype=torch.float64).values()
    x = torch.tanh(4 * torch.sin(data.body.double() / size @ frequency + phase).sum(0))  # (V, count)
    # |grad x|^2 = x M^-1 L x - M^-1 L x^2 / 2
    steep = (x * (laplacian @ x) - (laplacian @ (x * x)) / 2) / mass[:, None]
    y = (steep > steep.median(0).values).long()
    return [type(data)(pos=data.pos, face=data.face, x=one[:, None].float(), y=label) for one, label in zip(x.T, y.T)]
