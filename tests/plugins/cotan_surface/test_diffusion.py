import importlib
import os
from pathlib import Path

import pytest
import torch
from torch.nn.functional import linear
from torch_geometric.data import Data

import cotan
from cotan.testing.shapes import example


@pytest.fixture(scope="module")
def published():
    if "COTAN_DATA" not in os.environ:
        pytest.skip("COTAN_DATA is not set")
    import numpy as np

    folder = Path(os.environ["COTAN_DATA"]) / "diffusion_net"
    state = torch.load(folder / "human_seg_xyz_4x128.pth", map_location="cpu", weights_only=True)
    model = importlib.import_module("cotan_surface.diffusion_weights").from_published(state)
    arrays = np.load(folder / "reference_xyz.npz", allow_pickle=False)
    return model, {name: torch.from_numpy(arrays[name]) for name in arrays}


def per_face(scores, face):
    return scores[face].mean(0).log_softmax(-1)


def gradients(z):
    size = len(z["pos"])
    parts = (("grad_index", "grad_x"), ("grad_y_index", "grad_y"))
    return [cotan.Sparse.from_coo(*z[index].long(), z[values], (size, size)) for index, values in parts]


def restated(state, z):
    """DiffusionNet (Sharp et al. 2022) from its equations, with the published names and order of products."""
    G_x, G_y = gradients(z)
    x = linear(z["features"], state["first_lin.weight"], state["first_lin.bias"])
    for n in range(4):
        own = {
            name.removeprefix(f"block_{n}."): value for name, value in state.items() if name.startswith(f"block_{n}.")
        }
        heat = torch.exp(-z["values"][:, None] * own["diffusion.diffusion_time"])
        h = z["vectors"] @ (heat * (z["vectors"].T @ (x * z["mass"][:, None])))
        a, b, real, imaginary = (
            G_x @ h,
            G_y @ h,
            *(own[f"gradient_features.A_{part}.weight"].T for part in ("re", "im")),
        )
        g = torch.tanh(a * (a @ real - b @ imaginary) + b * (b @ real + a @ imaginary))
        y = torch.cat([x, h, g], 1)
        for i in range(3):
            layer = f"mlp.miniMLP_mlp_layer_{i:03d}"
            y = linear(y.relu() if i else y, own[f"{layer}.weight"], own[f"{layer}.bias"])
        x = x + y
    return per_face(linear(x, state["last_lin.weight"], state["last_lin.bias"]), faces(z))


def test_published_output_on_the_published_operators(published):
    model, z = published
    matrices = gradients(z)
    nodes = {name: value for name, value in cotan.inputs(model, shape(z)).items() if name in ("batch", "ptr")}
    for key, wanted in cotan.needs(model).items():
        if wanted.name == "spectrum":
            nodes[key] = cotan.Spectrum(z["values"], z["vectors"])
        elif wanted.name == "mass":
            nodes[key] = z["mass"]
        elif wanted.name == "gradient":
            nodes[key] = type(cotan.compute(shape(z), "gradient"))(*matrices)
    with torch.no_grad():
        out = per_face(model(z["features"], **nodes), faces(z))
    # A processor whose float32 rounds otherwise than that of the reference may be some 1e-4 from it: by the equations too.
    folder = Path(os.environ["COTAN_DATA"]) / "diffusion_net"
    state = torch.load(folder / "human_seg_xyz_4x128.pth", map_location="cpu", weights_only=True)
    plain = restated(state, z)
    error, rounding = (float((y - z["log_probabilities"]).abs().max()) for y in (out, plain))
    assert float((out - plain).abs().max()) < 1e-4
    assert error < max(1e-4, 2 * rounding)


@pytest.mark.parametrize("size", [1, 100])
def test_published_labels_on_our_operators(published, size):
    model, z = published
    mesh = shape(z)
    mesh.pos = mesh.pos * size
    with torch.no_grad():
        out = per_face(model(z["features"], **cotan.inputs(model, mesh)), faces(z))
    assert float((out.argmax(1) == z["log_probabilities"].argmax(1)).double().mean()) >= 0.99


@pytest.mark.parametrize("size", [1, 100])
def test_published_labels_of_a_mesh_alone(published, size):
    """The published code takes positions about the mean of the vertices; about that of the surface, 96% of labels agree."""
    model, z = published
    mesh = shape(z)
    mesh.pos = size * (mesh.pos + 3)
    torch.testing.assert_close(cotan.compute(mesh, model.features[0]), z["features"])
    out = per_face(cotan.apply(model, mesh), faces(z))
    assert float((out.argmax(1) == z["log_probabilities"].argmax(1)).double().mean()) >= 0.99


def test_other_published_features_are_those_of_the_data():
    state = as_published()
    state["first_lin.weight"] = torch.rand(4, 16)
    read = importlib.import_module("cotan_surface.diffusion_weights").from_published
    assert not read(state).features
    assert [node.key for node in read(as_published()).features] == ["normalized_pos(centre='vertices')"]


def faces(z):
    return z["face"].T if z["face"].shape[0] != 3 else z["face"]


def shape(z):
    return Data(pos=z["pos"].double(), face=faces(z))


def as_published(width=4, classes=2):
    """One block under the names that its authors gave."""
    block = {"diffusion.diffusion_time": (width,), "gradient_features.A_re.weight": (width, width)}
    block |= {"gradient_features.A_im.weight": (width, width)}
    for i, wide in enumerate((3 * width, width, width)):
        block |= {f"mlp.miniMLP_mlp_layer_00{i}.weight": (width, wide), f"mlp.miniMLP_mlp_layer_00{i}.bias": (width,)}
    sizes = {"first_lin.weight": (width, 3), "first_lin.bias": (width,), "last_lin.weight": (classes, width)}
    sizes |= {"last_lin.bias": (classes,), **{f"block_0.{name}": size for name, size in block.items()}}
    return {name: torch.rand(size) for name, size in sizes.items()}


def test_another_file_is_refused_in_a_sentence():
    read = importlib.import_module("cotan_surface.diffusion_weights").from_published
    right = as_published()
    assert torch.equal(read(right).blocks[0].mlp[3].weight, right["block_0.mlp.miniMLP_mlp_layer_001.weight"])
    plain = {name.replace("A_re", "A"): value for name, value in right.items() if "A_im" not in name}
    odd = {"block_0.mlp.first.weight": torch.ones(2)}
    time = {"block_0.diffusion.diffusion_time": torch.ones(3)}
    for state, message in [
        (time, "with first_lin.weight and last_lin.weight, got block_0.diffusion.diffusion_time"),
        ({"model": right, "epoch": 3}, "expected a published DiffusionNet state dict, .* got model, epoch"),
        (torch.nn.Linear(2, 2), "expected a published DiffusionNet state dict, .* got Linear"),
        ({}, "expected a published DiffusionNet state dict, .* got an empty one"),
        ({**right, "epoch": 3}, r"another network than `diffusion` of 1 blocks of 4: Unexpected key.* \"blocks.epoch"),
        (plain, r"Unexpected key\(s\) in state_dict: \"blocks.0.gradient_features.A.weight\""),
        ({**right, **odd}, r"Unexpected key\(s\) in state_dict: \"blocks.0.mlp.first.weight\""),
        ({**right, **time}, r"size mismatch for blocks.0.time"),
    ]:
        with pytest.raises(cotan.CotanError, match=message):
            read(state)


def test_a_constant_stays_under_diffusion():
    layer = cotan.create_layer("diffusion", 2, 4, k=16)
    layer.time.data.fill_(0.3)
    mesh = example("mesh")
    got = layer(torch.ones(mesh.num_nodes, 2), **cotan.inputs(layer, mesh))
    assert torch.allclose(got, got[:1].expand_as(got), atol=1e-4)


def test_implicit_is_certified():
    cotan.testing.check_layer("diffusion", method="implicit", compile=False)
    cotan.testing.check_model("diffusion", method="implicit", depth=1, compile=True)


def test_without_gradients_it_is_certified():
    cotan.testing.check_layer("diffusion", gradients=False, k=5, compile=False)


def test_of_a_graph_without_places_it_is_said_once():
    with pytest.raises(cotan.CotanError, match=r"needs 'pos' .*such as gradients=False\.") as raised:
        cotan.inputs(cotan.create_model("diffusion", 3, 2), example("graph"))
    assert str(raised.value).count("'pos'") == 1


def test_what_is_scaled_does_not_see_the_size():
    report = cotan.testing.check_layer("diffusion", scale="area", compile=False)
    assert "declared invariance to scale" in report.passed


def test_implicit_asks_for_no_spectrum_and_spectral_for_no_laplacian():
    assert set(cotan.needs(cotan.create_layer("diffusion", 2, 2, method="implicit"))) == {
        "mass",
        "gradient",
        "laplacian",
    }
    assert set(cotan.needs(cotan.create_layer("diffusion", 2, 2))) == {"mass", "gradient", "spectrum"}
    with pytest.raises(cotan.CotanError, match=r"unknown method of diffusion 'implict'. Did you mean 'implicit'"):
        cotan.create_layer("diffusion", 2, 2, method="implict")


@pytest.mark.parametrize("method", ["spectral", "implicit"])
def test_without_its_operator_it_says_so(method):
    mesh = example("mesh")
    layer = cotan.create_layer("diffusion", 3, 4, method=method)
    nodes = {name: value for name, value in cotan.inputs(layer, mesh).items() if name in ("mass", "gradient")}
    with pytest.raises(cotan.CotanError, match="diffusion: neither spectrum nor laplacian was given"):
        layer(torch.randn(mesh.num_nodes, 3), **nodes)


def test_implicit_is_backward_euler_of_all_pairs():
    mesh = example("mesh")
    x = torch.randn(mesh.num_nodes, 3, dtype=torch.float64)
    layer = cotan.create_layer("diffusion", 3, 4, gradients=False, method="implicit").double()
    layer.mlp = torch.nn.Identity()  # what is left is x beside h
    layer.time.data = torch.tensor([0.01, 0.3, -2.0], dtype=torch.float64)
    h = layer(x, **cotan.inputs(layer, mesh))[:, 3:]
    spectrum = cotan.compute(mesh, "spectrum", k=mesh.num_nodes, dtype=torch.float64)
    mass = cotan.compute(mesh, "mass", dtype=torch.float64)
    coefficients = spectrum.vectors.T @ (mass[:, None] * x) / (1 + spectrum.values[:, None] * layer.time.detach().abs())
    assert torch.allclose(h, spectrum.vectors @ coefficients, atol=1e-7)


def test_of_scaled_shapes_the_scaled_layer_says_the_same():
    mesh = example("mesh")
    big = mesh.clone()
    big.pos = 100 * mesh.pos
    x = torch.randn(mesh.num_nodes, 3)
    for method in ("spectral", "implicit"):
        layer = cotan.create_layer("diffusion", 3, 4, k=16, scale="area", method=method)
        small, large = (layer(x, **cotan.inputs(layer, shape)) for shape in (mesh, big))
        assert torch.allclose(small, large, atol=1e-4)
        plain = cotan.create_layer("diffusion", 3, 4, k=16, method=method)
        assert not torch.allclose(*(plain(x, **cotan.inputs(plain, shape)) for shape in (mesh, big)), atol=1e-2)


def features_of(mesh, dtype):
    gradient = cotan.compute(mesh, "gradient", dtype=dtype)
    h = torch.randn(mesh.num_nodes, 3, dtype=dtype, requires_grad=True)
    real, imaginary = (torch.randn(3, 3, dtype=dtype, requires_grad=True) for _ in range(2))
    return h, real, imaginary, gradient


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_are_those_of_the_complex_products(dtype):
    diffusion = importlib.import_module("cotan_surface.diffusion")
    h, real, imaginary, gradient = features_of(example("mesh"), dtype)
    w = torch.complex(gradient.x @ h, gradient.y @ h)
    expected = torch.tanh((w.conj() * (w @ torch.complex(real, imaginary).T)).real)
    inputs, g = (h, real, imaginary), torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, inputs, g)
    for function in (diffusion.gradient_features, diffusion.composed):
        got = function(h, real, imaginary, gradient)
        torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(torch.autograd.grad(got, inputs, g), wanted, rtol=1e-3, atol=1e-4)


def test_features_have_second_derivatives():
    diffusion = importlib.import_module("cotan_surface.diffusion")
    h, real, imaginary, gradient = features_of(example("mesh"), torch.float64)
    rows = torch.zeros(len(h), dtype=torch.float64)
    rows[:2] = 0.1

    def two(h, real, imaginary):
        return rows @ diffusion.gradient_features(h, real, imaginary, gradient)

    assert torch.autograd.gradgradcheck(two, (h.detach() * 0.1, real, imaginary), fast_mode=True)


def test_compiles_in_one_graph():
    mesh = example("mesh")
    model = cotan.create_model("diffusion", 3, 4, task="classify", width=8, depth=1, k=16)
    inputs = cotan.inputs(model, mesh)
    x = torch.randn(mesh.num_nodes, 3)
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x, **inputs), model(x, **inputs), rtol=1e-4, atol=1e-5)


def test_points_are_taken_as_they_are_and_by_nearest_neighbours():
    points = [Data(pos=torch.rand(size, 3, generator=torch.Generator().manual_seed(size))) for size in (50, 80)]
    model = cotan.create_model("diffusion", 3, 2, task="label", width=8, depth=2, k=16).eval()
    alone = torch.cat([cotan.apply(model, shape) for shape in points])
    torch.testing.assert_close(cotan.apply(model, points), alone)
    for shape in points:
        shape.edge_index = cotan.compute(shape, "nearest_neighbours", k=8)
    assert not torch.allclose(cotan.apply(model, points), alone)  # of the graph's Laplacian
