"""A stranger's package beside cotan: found by its entry point; one that fails to import stops nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAYER = '''
import torch
from torch import nn

import cotan


@cotan.layer("stranger-heat")
class Heat(nn.Module):
    """exp(-t L) x in the eigenbasis, one learned time for each channel, then a linear map."""

    def __init__(self, in_dim, out_dim, *, k=16):
        super().__init__()
        self.needs = {"spectrum": cotan.node("spectrum", k=k)}
        self.time = nn.Parameter(torch.full((in_dim,), 0.1))
        self.linear = nn.Linear(in_dim, out_dim)

    def forward(self, x, spectrum, mass):
        coefficients = spectrum.vectors.T @ (mass[:, None] * x)
        return self.linear(spectrum.vectors @ (torch.exp(-spectrum.values[:, None] * self.time) * coefficients))
'''

SETUP = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "1.0"
[project.entry-points."cotan.plugins"]
{name} = "{name}"
[tool.setuptools]
py-modules = ["{name}"]
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """Two packages, installed by pip into a folder of their own."""
    target = tmp_path_factory.mktemp("site")
    for name, code in (("strangerheat", LAYER), ("strangerbroken", "raise RuntimeError('no such library')\n")):
        source = tmp_path_factory.mktemp(name)
        (source / "pyproject.toml").write_text(SETUP.format(name=name))
        (source / f"{name}.py").write_text(code)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
        subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True)
    return target


def run(site: Path, *arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True)


def test_a_stranger_layer_is_checked_and_a_model_beside_a_broken_package(site):
    code = (
        "import cotan; from cotan.show import sphere\n"
        "print(cotan.testing.check_layer('stranger-heat', compile=False))\n"
        "model = cotan.create_model('stack', in_dim=3, out_dim=5, layer='stranger-heat', width=8, depth=2)\n"
        "print(cotan.apply(model, sphere()).shape)\n"
        "cotan.create_layer('spectrall', 1, 1)"
    )
    out = run(site, "-c", code)
    assert "checks passed" in out.stdout, out.stderr
    assert "torch.Size([1, 5])" in out.stdout, out.stderr
    assert "Did you mean 'spectral'" in out.stderr
    assert "plugin 'strangerbroken' failed to import: RuntimeError: no such library" in out.stderr


def test_a_broken_package_stops_nothing_and_is_named(site):
    doctor = run(site, "-m", "cotan", "doctor")
    assert doctor.returncode == 1
    assert "strangerbroken" in doctor.stdout
    assert "FAILED to import: RuntimeError: no such library" in doctor.stdout
    listed = run(site, "-m", "cotan", "list", "layer").stdout
    assert "spectral" in listed
    assert "stranger-heat" in listed
