import torch
from torch_geometric.data import Data

import cotan


def bumpy():
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=2)
    pos = torch.tensor(mesh.vertices.copy()) * torch.tensor([1.0, 2.0, 3.0])
    return Data(pos=pos, face=torch.tensor(mesh.faces.copy()).t().contiguous())


def test_size_does_not_matter():
    shape = bumpy()
    larger = Data(pos=3 * shape.pos, face=shape.face)
    one, three = (cotan.compute(d, "log_signature", dtype=torch.float64) for d in (shape, larger))
    assert torch.allclose(one, three, atol=1e-6)


def test_its_exponential_has_mean_one():
    shape = bumpy()
    mass = cotan.compute(shape, "mass", dtype=torch.float64)
    found = cotan.compute(shape, "log_signature", dtype=torch.float64)
    assert torch.allclose((mass[:, None] * found.exp()).sum(0) / mass.sum(), torch.ones(16).double(), atol=1e-9)


def test_another_signature_stands_in():
    shape = bumpy()
    wave = cotan.compute(shape, cotan.node("log_signature", heat_kernel_signature="wave_kernel_signature"))
    area = cotan.compute(shape, "mass").sum()
    assert torch.allclose(wave.exp(), area * cotan.compute(shape, "wave_kernel_signature"), rtol=1e-4)


def test_zero_stays_finite():
    shape = bumpy()
    shape.heat_kernel_signature = torch.zeros(len(shape.pos), 4)
    found = cotan.compute(shape, cotan.node("log_signature"))
    assert torch.isfinite(found).all()
