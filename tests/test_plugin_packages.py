"""A stranger's package beside cotan: found by its entry point; one that fails to import stops nothing."""

import os
import re
import subprocess
import sys

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


USE = """
import sys

import cotan
from cotan.cli import main
from cotan.show import sphere

print(cotan.testing.check_layer("stranger-heat", compile=False))
model = cotan.create_model("stack", in_dim=3, out_dim=5, layer="stranger-heat", width=8, depth=2)
print(cotan.apply(model, sphere()).shape)
for command in (["doctor"], ["list", "layer"]):
    sys.argv[1:] = command
    try:
        print(f"=== {command[0]}")
        main()
    except SystemExit as end:
        print(f"exit {end.code}")
cotan.create_layer("spectrall", 1, 1)
"""


def test_a_stranger_layer_is_checked_and_a_model_beside_a_broken_package_that_is_named(tmp_path):
    """Both are installed by pip into a folder of their own."""
    site, sources = tmp_path / "site", []
    for name, code in (("strangerheat", LAYER), ("strangerbroken", "raise RuntimeError('no such library')\n")):
        sources.append(source := tmp_path / name)
        source.mkdir()
        (source / "pyproject.toml").write_text(SETUP.format(name=name))
        (source / f"{name}.py").write_text(code)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(site), *map(str, sources)], check=True, capture_output=True)
    environment = {**os.environ, "PYTHONPATH": str(site)}
    out = subprocess.run([sys.executable, "-c", USE], env=environment, capture_output=True, text=True)
    assert "Did you mean 'spectral'" in out.stderr
    assert "plugin 'strangerbroken' failed to import: RuntimeError: no such library" in out.stderr
    used, doctor, listed = re.split("=== .*\n", out.stdout)
    assert "checks passed" in used
    assert "torch.Size([1, 5])" in used
    assert "strangerbroken" in doctor
    assert "FAILED to import: RuntimeError: no such library" in doctor
    assert doctor.endswith("exit 1\n")
    assert "spectral" in listed
    assert "stranger-heat" in listed
