"""Signatures of one creature in two poses agree far better than those of two creatures."""

import pytest
import torch

import cotan
from cotan_datasets.creatures import CLASSES
from cotan_datasets.poses import creature

K = cotan.node("spectrum", k=64)


def unit_area(shape):
    shape.pos = shape.pos / float(cotan.compute(shape, "mass").sum()) ** 0.5
    return shape


@pytest.fixture(scope="module")
def shapes():
    """Of each of five classes, one individual in two poses, on two triangulations, at area one."""
    return [[unit_area(creature(name, 0, pose=i, mesh=i, vertices=300)) for i in (0, 2)] for name in CLASSES[:5]]


def test_eigenvalues(shapes):
    first, second = (
        torch.stack([cotan.compute(pair[i], "shape_dna", spectrum=K, dtype=torch.float64).log() for pair in shapes])
        for i in (0, 1)
    )
    distance = torch.cdist(first, second)
    same, other = distance.diagonal(), distance[~torch.eye(len(shapes), dtype=torch.bool)]
    print(f"logarithms of 20 eigenvalues: {same.mean():.3f} apart between poses, {other.mean():.3f} between creatures")
    assert (distance.argmin(1) == torch.arange(len(shapes))).all()
    assert same.mean() < 0.2 * other.mean()


@pytest.mark.parametrize("name", ["heat_kernel_signature", "wave_kernel_signature"])
def test_vertex_by_vertex(name, shapes):
    """The relative change at corresponding vertices; `body` is a vertex's place at rest."""

    def change(a, b):
        nearest = torch.cdist(b.body, a.body).argmin(1)
        x, y = (cotan.compute(s, name, spectrum=K, dtype=torch.float64) for s in (a, b))
        return float((x[nearest] - y).abs().sum() / y.sum())

    same = torch.tensor([change(a, b) for a, b in shapes]).mean()
    other = torch.tensor([change(a[0], b[1]) for a in shapes for b in shapes if a is not b]).mean()
    print(f"{name}: changes by {same:.1%} between poses, by {other:.1%} between creatures")
    assert same < 0.5 * other
