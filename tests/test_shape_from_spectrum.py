import importlib.util
from pathlib import Path

import pytest
import torch

from cotan.show import sphere

PATH = Path(__file__).parent.parent / "docs" / "shape_from_spectrum.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("shape_from_spectrum", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_sphere_takes_the_eigenvalues_of_an_ellipsoid(demo):
    target = sphere()
    target.pos = target.pos * torch.tensor([1.0, 1.2, 1.5])
    fitted = demo.fit(demo.eigenvalues(target, 8), steps=40, rate=0.03, smooth=16)
    assert fitted.errors[-1] < 0.1 * fitted.errors[0]


def test_a_sphere_takes_twenty_eigenvalues_of_a_shark(demo, tmp_path):
    from cotan_datasets.poses import creature

    target = creature("shark", 0, vertices=400)
    fitted = demo.fit(demo.eigenvalues(target), steps=100)
    print(f"mean error of 20 eigenvalues: {fitted.errors[0]:.1%} before, {fitted.errors[-1]:.2%} after")
    assert fitted.errors[-1] < 0.01 < 0.3 < fitted.errors[0]
    demo.picture(target, fitted, tmp_path / "picture.png")
    assert (tmp_path / "picture.png").stat().st_size > 10_000
