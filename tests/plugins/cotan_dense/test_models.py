"""shallow, mlp, cnn: what they can and cannot learn, and the signals that they take."""

import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch_geometric.data import Data

import cotan

XOR = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
TRUTH = torch.tensor([[0.0], [1.0], [1.0], [0.0]])


def train(model, steps=300, rate=0.05):
    data = Data(x=XOR, num_nodes=4)
    nodes = cotan.inputs(model, data)
    optimizer = torch.optim.Adam(model.parameters(), rate)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = binary_cross_entropy_with_logits(model(XOR, **nodes), TRUTH)
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("seed", range(3))
def test_xor_is_learned_with_one_hidden_layer_and_by_no_linear_map(seed):
    torch.manual_seed(seed)
    assert train(cotan.create_model("shallow", 2, 1, task="label", width=8)) < 0.05
    # A linear map can do no better than to say "one half" of all four: log 2.
    assert train(cotan.create_model("shallow", 2, 1, task="label", width=8, activation="none")) > math.log(2) - 1e-3


def test_nothing_before_a_step_learns():
    model = cotan.create_model("shallow", 2, 1, task="label", width=8, activation="step")
    before = model.hidden.affine.weight.detach().clone()
    train(model, steps=10)
    assert torch.equal(model.hidden.affine.weight, before)


def test_wider_is_closer_to_a_continuous_function():
    """Least squares over the last map alone, with random ridges, already shows the theorem."""
    torch.manual_seed(0)
    x = torch.linspace(-1, 1, 400, dtype=torch.float64)[:, None]
    y = torch.sin(5 * x) + x.abs()
    errors = []
    for width in (4, 16, 64, 256):
        model = cotan.create_model("shallow", 1, 1, task="label", width=width, activation="tanh").double()
        model.hidden.affine.weight.data.normal_(0, 6)
        model.hidden.affine.bias.data.uniform_(-6, 6)
        h = model.hidden(x).detach()
        solution = torch.linalg.lstsq(h, y, driver="gelsd").solution
        model.readout.linear.weight.data, model.readout.linear.bias.data = solution.T, torch.zeros(1).double()
        with torch.no_grad():
            errors.append(float((cotan.apply(model, Data(x=x, num_nodes=400)) - y).abs().max()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 < errors[0]


@pytest.mark.parametrize("name", ["shallow", "mlp"])
def test_images_are_flattened(name):
    """The same numbers as an image, or as the features of a vertex."""
    model = cotan.create_model(name, 2 * 3 * 4, 5, features="image", width=16)
    images = torch.randn(6, 2, 3, 4)
    out = cotan.apply(model, [Data(image=image, num_nodes=0) for image in images])
    as_vertices = cotan.create_model(name, 24, 5, width=16)
    as_vertices.load_state_dict(model.state_dict())
    assert out.shape == (6, 5)
    expected = cotan.apply(as_vertices, [Data(x=image.flatten()[None]) for image in images])
    assert torch.allclose(out, expected, atol=1e-6)


@pytest.mark.parametrize("options", [{}, {"residual": "identity"}, {"residual": "projection"}, {"dense": True}])
@pytest.mark.parametrize("task", ["classify", "label"])
def test_mlp_kit(task, options):
    cotan.testing.check_model("mlp", task=task, width=8, **options)


def test_mlp_shortcuts():
    x = torch.randn(5, 3)
    data = Data(x=x, num_nodes=5)
    for residual in ("none", "identity", "projection"):
        model = cotan.create_model("mlp", 3, 2, task="label", width=4, depth=2, residual=residual)
        for layer in model.layers:
            layer.weight.data.zero_(), layer.bias.data.zero_()
        h = x @ model.shortcuts[0].weight.T if residual == "projection" else torch.zeros(5, 4)
        assert torch.allclose(cotan.apply(model, data), model.readout.linear(h), atol=1e-6)


def test_mlp_dense_layers_see_all_outputs_before():
    model = cotan.create_model("mlp", 3, 2, width=4, depth=3, dense=True)
    assert [layer.in_features for layer in model.layers] == [3, 7, 11]
    assert model.readout.linear.in_features == 15


@pytest.mark.parametrize(
    ("dims", "signal", "sides"), [(1, "sequence", (13,)), (2, "image", (9, 8)), (3, "volume", (4, 5, 6))]
)
def test_cnn_takes_grids_of_each_dimension(dims, signal, sides):
    model = cotan.create_model("cnn", 2, 4, dims=dims, width=4).eval()
    grids = torch.randn(3, 2, *sides)
    shapes = [Data(**{signal: grid}, num_nodes=0) for grid in grids]
    out = cotan.apply(model, shapes)
    assert out.shape == (3, 4)
    assert torch.allclose(out, torch.cat([cotan.apply(model, shape) for shape in shapes]), atol=1e-6)


@pytest.mark.parametrize(("depth", "repeat", "widths"), [(3, 1, (4, 8, 16)), (2, 3, (4, 4, 4, 8, 8, 8)), (1, 1, (4,))])
def test_widths_of_a_cnn(depth, repeat, widths):
    model = cotan.create_model("cnn", 2, 5, width=4, depth=depth, repeat=repeat)
    convolutions = [part for part in model.modules() if isinstance(part, torch.nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [*zip((2, *widths), widths)]
    assert model(torch.randn(3, 2, 9, 8)).shape == (3, 5)


@pytest.mark.parametrize(("norm", "count"), [("batch", 2), ("none", 0)])
def test_norms_of_a_cnn(norm, count):
    model = cotan.create_model("cnn", 1, 2, depth=1, width=4, norm=norm)
    assert sum(isinstance(module, torch.nn.BatchNorm2d) for module in model.modules()) == count


def test_cnn_does_not_see_where():
    """One stage with circular padding, and the mean over the grid: shifts change nothing."""
    model = cotan.create_model("cnn", 1, 3, depth=1, width=4, padding="circular").eval()
    x = torch.randn(2, 1, 8, 8)
    assert torch.allclose(model(x), model(x.roll((3, 5), (2, 3))), atol=1e-6)


def test_cnn_learns_stripes_from_checks():
    torch.manual_seed(0)
    grid = torch.arange(8)
    stripes, checks = (grid % 2 * 2.0 - 1).expand(8, 8), ((grid[:, None] + grid) % 2 * 2.0 - 1)
    truth = torch.arange(32) % 2
    x = torch.stack([stripes if t else checks for t in truth])[:, None] + 0.5 * torch.randn(32, 1, 8, 8)
    model = cotan.create_model("cnn", 1, 2, width=4, depth=2, residual=True)
    optimizer = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(30):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x), truth).backward()
        optimizer.step()
    fresh = torch.stack([stripes if t else checks for t in truth])[:, None] + 0.5 * torch.randn(32, 1, 8, 8)
    assert (model.eval()(fresh).argmax(1) == truth).all()


@pytest.mark.parametrize("name", ["mlp", "shallow"])
def test_images_of_a_dataset_give_the_width(name):
    shapes = [Data(image=torch.rand(2, 3, 5), y=torch.tensor([i % 2])) for i in range(10)]
    splits = cotan.Splits(shapes, [], shapes[:2])
    model = cotan.model_for(name, splits, features="image")
    assert cotan.fit(model, splits, epochs=1, progress="none", device="cpu").status == "finished"


@pytest.mark.parametrize(
    ("name", "options", "text"),
    [
        ("mlp", {"residual": "yes"}, "unknown residual 'yes'. There is: identity, none, projection"),
        ("mlp", {"residual": "identity", "dense": True}, "dense=True with residual='identity'"),
        ("mlp", {"depth": 0}, "mlp: depth=0, expected a whole number of at least 1"),
        ("mlp", {"width": 0}, "mlp: width=0, expected a whole number of at least 1"),
        ("cnn", {"width": 0}, "cnn: width=0, expected a whole number of at least 1"),
        ("shallow", {"width": 0}, "shallow: width=0, expected a whole number of at least 1"),
        ("cnn", {"dims": 4}, "dims=4, expected 1"),
        ("cnn", {"pooling": "sum"}, "unknown pooling 'sum'"),
        ("cnn", {"norm": "layer"}, "unknown norm 'layer'. There is: batch, none"),
        ("cnn", {"task": "label"}, "model 'cnn' does not do task 'label'"),
    ],
)
def test_errors(name, options, text):
    with pytest.raises(cotan.CotanError, match=text):
        cotan.create_model(name, 2, 2, **options)


@pytest.mark.parametrize("size", [(28, 28), (1, 1, 28, 28), (3, 28, 28)])
def test_an_image_of_another_shape_is_refused_before_torch_meets_it(size):
    model, shape = cotan.create_model("cnn", 1, 2), Data(image=torch.rand(size), num_nodes=1, y=0)
    for use in (cotan.apply, cotan.predict, lambda model, shape: cotan.prepare(model, [shape])):
        with pytest.raises(
            cotan.CotanError, match=rf"image \({size[0]}, .*\), expected \(C, H, W\); .* for 1 channels"
        ):
            use(model, shape)


def test_images_of_several_sizes_are_told_with_all_of_them(scratch):
    @cotan.operator(per="shape")
    def small(image):
        return image[:, ::2, ::2]

    model, shape = cotan.create_model("conv2d", 2, 2, features=["image", "small"]), Data(image=torch.rand(1, 8, 8))
    for use in (cotan.apply, lambda model, shape: cotan.prepare(model, [shape], per=None)):
        with pytest.raises(cotan.CotanError, match=r"image \(1, 8, 8\) and \(1, 4, 4\), expected \(C, H, W\)"):
            use(model, shape)
    model = cotan.create_model("conv2d", 1, 2, features=["spectrum"])
    with pytest.raises(cotan.CotanError, match=r"a signal that is a Spectrum, expected \(C, H, W\)"):
        cotan.apply(model, cotan.testing.shapes.example("mesh"))
