import pytest
import torch
from scipy.spatial.transform import Rotation
from torch_geometric.data import Data

import cotan
from cotan_voxels.turn import rotations, turned

trimesh = pytest.importorskip("trimesh")


def shapes(count, seed=0):
    """Boxes, and balls."""
    generator = torch.Generator().manual_seed(seed)
    out = []
    for number in range(count):
        mesh = trimesh.creation.box() if number % 2 else trimesh.creation.icosphere(subdivisions=2)
        stretch = 1 + 0.3 * torch.rand(3, generator=generator)
        pos = torch.tensor(mesh.vertices.copy()).float() * stretch
        out.append(Data(pos=pos, face=torch.tensor(mesh.faces.copy()).t().contiguous(), y=number % 2))
    return out


@pytest.mark.parametrize("residual", [True, False])
@pytest.mark.parametrize("resolution", [8, 17, 32])
def test_shapes_of_voxel(residual, resolution):
    model = cotan.create_model("voxel", 1, 7, width=4, resolution=resolution, residual=residual).eval()
    assert cotan.apply(model, shapes(3)).shape == (3, 7)


def test_it_asks_for_its_voxels():
    model = cotan.create_model("voxel", 1, 2, width=4, resolution=16, fill="tsdf", padding=3)
    grid = cotan.inputs(model, shapes(2))["voxels"]
    assert grid.shape == (2, 16, 16, 16)
    assert grid.min() < 0
    assert grid[:, 0].min() > 0.7


@pytest.mark.parametrize("name", ["voxel", "voxel-dbn"])
def test_it_learns(name):
    options = {"width": 4, "dropout": 0.0} if name == "voxel" else {"widths": (6,), "kernels": (6,), "strides": (2,)}
    torch.manual_seed(0)
    model = cotan.create_model(name, 1, 2, resolution=16, **options)
    batch, target = cotan.inputs(model, shapes(16)), torch.arange(16) % 2
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model.train()(**batch), target).backward()
        optimiser.step()
    test = cotan.inputs(model, shapes(10, seed=1))
    assert (model.eval()(**test).argmax(1) == torch.arange(10) % 2).float().mean() > 0.85


def test_voxels_are_turned_in_training_only():
    model = cotan.create_model("voxel", 1, 2, width=4, resolution=16, dropout=0.0)
    batch = cotan.inputs(model, shapes(2))
    for block in model.modules():
        if isinstance(block, torch.nn.BatchNorm3d):
            block.momentum = 0.0
    assert torch.equal(model.eval()(**batch), model(**batch))
    assert not torch.equal(model.train()(**batch), model(**batch))
    still = cotan.create_model("voxel", 1, 2, width=4, resolution=16, dropout=0.0, turn=0.0)
    assert torch.equal(still.train()(**batch), still(**batch))


def test_a_turn_by_nothing_is_nothing():
    grid = torch.rand(2, 9, 9, 9, dtype=torch.float64)
    assert torch.allclose(turned(grid, 0.0, 0.0), grid)


def test_rotations_are_those_of_scipy():
    vectors = torch.tensor(
        [[0, 0, 0], [0.3, -0.2, 0.1], [1e-9, 0, 0], [0, 2, -3], [0, torch.pi, 0]], dtype=torch.float64
    )
    expected = torch.from_numpy(Rotation.from_rotvec(vectors.numpy()).as_matrix())
    torch.testing.assert_close(rotations(vectors), expected, rtol=0, atol=1e-14)


def test_turns_keep_a_ball_and_move_a_rod():
    line = torch.arange(33, dtype=torch.float64) - 16
    far = (line[:, None, None] ** 2 + line[:, None] ** 2 + line**2).sqrt()
    ball = torch.sigmoid(2 * (10 - far))[None]
    torch.manual_seed(0)
    assert (turned(ball, 0.5, 0.0) - ball).abs().max() < 0.15
    assert turned(ball, 0.5, 0.0).sum() == pytest.approx(float(ball.sum()), rel=0.01)
    rod = torch.zeros(4, 33, 33, 33, dtype=torch.float64)
    rod[:, 16, 16, 4:29] = 1
    moved = turned(rod, 0.5, 0.0)
    assert moved[:, 16, 16, 16].min() > 0.9
    assert moved[:, 16, 16, 28].max() < 0.9


def test_stretches_go_both_ways():
    line = torch.arange(17, dtype=torch.float64) - 8
    ball = torch.sigmoid(4 * (5 - (line[:, None, None] ** 2 + line[:, None] ** 2 + line**2).sqrt()))[None]
    torch.manual_seed(0)
    size = (turned(ball.expand(100, 17, 17, 17), 0.0, 0.2).sum((1, 2, 3)) / ball.sum()) ** (1 / 3)
    assert 1 / 1.22 < size.min() < 1 / 1.15 < 1 / 0.85 < size.max() < 1 / 0.78


@pytest.mark.parametrize("mirror", [False, True])
def test_mixed_precision_turns_as_single_does(mirror):
    grid = torch.rand(4, 32, 32, 32)
    torch.manual_seed(0)
    expected = turned(grid, 0.5, mirror=mirror)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(turned(grid, 0.5, mirror=mirror), expected)


def test_mirrored_grids_are_the_48_symmetries_of_the_cube():
    corner = torch.zeros(1, 4, 4, 4, dtype=torch.float64)
    corner[0, 0, 0, 0], corner[0, 1, 0, 0], corner[0, 1, 1, 0] = 3, 2, 1  # no two symmetries agree on it
    torch.manual_seed(0)
    moved = turned(corner.expand(1000, 4, 4, 4), 0.0, 0.0, mirror=True)
    assert torch.allclose(moved, moved.round(), atol=1e-9)
    assert torch.equal(moved.round().flatten(1).sort().values[:, -4:], torch.tensor([0.0, 1, 2, 3]).expand(1000, 4))
    seen, times = moved.round().flatten(1).unique(dim=0, return_counts=True)
    assert len(seen) == 48
    assert times.min() > 5


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("voxel", {"task": "label"}, "does not do task 'label'"),
        ("voxel", {"resolution": 4}, "resolution=4, expected a whole number of at least 8"),
        ("voxel-dbn", {"task": "regress"}, "does not do task 'regress'"),
        ("voxel-dbn", {"fill": "tsdf"}, "binary units"),
        ("voxel-dbn", {"widths": (3,)}, "as many widths as kernels"),
        ("voxel", {"fill": "foo"}, "filled as solid, surface, union, tsdf; got 'foo'"),
        ("voxel", {"method": "foo"}, "told by auto, winding, parity, flood; got 'foo'"),
        ("voxel", {"fill": "surface", "method": "flood"}, "does not use method"),
        ("voxel", {"normalize": "foo"}, "normalised by box, sphere, none; got 'foo'"),
        ("voxel", {"padding": 16.0}, "below half of the resolution 32, got 16"),
        ("voxel", {"width": 0}, "width=0, expected a whole number of at least 1"),
        ("voxel", {"turn": -1.0}, "turn is an angle from 0, in radians; got -1"),
        ("voxel-dbn", {"fill": "foo"}, "filled as solid, surface, union, tsdf; got 'foo'"),
        ("voxel-dbn", {"samples": 0}, "samples=0, expected a whole number of at least 1"),
        ("voxel-dbn", {"strides": (0, 2)}, "voxel-dbn: strides=0, expected a whole number of at least 1"),
        ("voxel-dbn", {"kernels": (6, 0)}, "kernels=0, expected"),
        ("voxel-dbn", {"widths": (24, 1.5)}, "widths=1.5, expected"),
        ("voxel-dbn", {"hidden": 0}, "hidden=0, expected"),
        ("voxel-dbn", {"top": -1}, "top=-1, expected"),
        ("voxel-dbn", {"turn": float("nan")}, "in radians; got nan"),
        ("voxel-dbn", {"pretraining": -1}, "pretraining=-1, expected a whole number of at least 0"),
        ("voxel-dbn", {"resolution": 8}, "a kernel of 4 does not fit a grid of 2"),
    ],
)
def test_refusals(name, options, message):
    with pytest.raises(cotan.CotanError, match=message):
        cotan.create_model(name, 1, 2, **options)


@pytest.mark.parametrize("name", ["voxel", "voxel-dbn"])
def test_they_are_made_on_any_device(name):
    with torch.device("meta"):
        assert next(cotan.create_model(name, 1, 2).parameters()).device.type == "meta"


def test_they_are_made_without_filling_a_grid(monkeypatch):
    monkeypatch.setattr("cotan_voxels.voxels._filled", None)
    cotan.create_model("voxel", 1, 2, fill="tsdf", resolution=128)
    cotan.create_model("voxel-dbn", 1, 2)
