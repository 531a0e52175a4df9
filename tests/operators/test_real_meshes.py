"""Every mesh at hand, the broken ones too: a result that satisfies its definition, or one clear sentence."""

import os
import warnings
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_leaves

import cotan

FOLDER = Path(os.environ.get("COTAN_DATA", "")) / "meshes"
FILES = sorted(FOLDER.glob("*/*")) if os.environ.get("COTAN_DATA") else []
NODES = {
    "gradient": {},
    "mass": {},
    "vertex_normals": {},
    "mean_curvature": {},
    "gauss_curvature": {},
    "heat_kernel_signature": {"spectrum": cotan.node("spectrum", k=32)},
    "spectrum": {"k": 32},
}
WITHOUT_AREA = {"degenerate_mesh.obj"}


def residual(L, mass, spectrum):
    """The largest ||M^-1/2 (L phi - lambda M phi)|| / max(lambda, first that is not zero)."""
    values, phi = spectrum.values, spectrum.vectors
    above = values[values > 1e-10 * (L.diagonal() / mass).median()]
    error = ((L @ phi - mass[:, None] * phi * values) / mass.sqrt()[:, None]).norm(dim=0)
    return float((error / values.clamp(min=float(above[0]) if len(above) else 1.0)).max())


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def file(request):
    return request.param


@pytest.mark.skipif(not FILES, reason="COTAN_DATA is not set")
def test_each_node(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cotan.MeshWarning)
        data = cotan.read(file)
    if file.name in WITHOUT_AREA:
        for name in ("spectrum", "mass", "heat_kernel_signature"):
            with pytest.raises(cotan.CotanError, match="without area"):
                cotan.compute(data, name)
        return
    found = {name: cotan.compute(data, name, dtype=torch.float64, **options) for name, options in NODES.items()}
    for name, value in found.items():
        assert all(bool(leaf.isfinite().all()) for leaf in tree_leaves(value) if torch.is_tensor(leaf)), name
    L, mass, spectrum = cotan.compute(data, "laplacian", dtype=torch.float64), found["mass"], found["spectrum"]
    assert float(mass.min()) > 0
    assert len(spectrum.values) == min(32, len(mass))
    gram = spectrum.vectors.T @ (mass[:, None] * spectrum.vectors)
    torch.testing.assert_close(gram, torch.eye(len(gram), dtype=torch.float64), rtol=0, atol=1e-8)
    assert residual(L, mass, spectrum) < 2e-6
    assert float(found["heat_kernel_signature"].min()) >= 0


@pytest.mark.skipif(not FILES, reason="COTAN_DATA is not set")
def test_the_mended_mesh_has_fewer_faults(file):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", cotan.MeshWarning)
        if file.name in WITHOUT_AREA:
            with pytest.raises(cotan.CotanError, match="no face is left"):
                cotan.read(file, repair=True)
            return
        report = cotan.compute(cotan.read(file, repair=True, dtype=torch.float64), "mesh_report")
    for fault in ("duplicate_vertices", "degenerate_faces", "flat_faces", "duplicate_faces", "unreferenced_vertices"):
        assert report[fault] == 0, fault
