"""The stack's options: what each does to the numbers."""

import re

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import cotan
from cotan.training.make import at_most

PLAIN = dict(depth=2, norm="none", residual=False, lift=False, last={})
GRAPH = Data(edge_index=torch.tensor([[0, 1, 1, 2, 2, 3], [1, 0, 2, 1, 3, 2]]), x=torch.randn(4, 3), num_nodes=4)


def test_a_last_layer_gives_the_output_itself():
    model = cotan.create_model("gcn", 3, 5, task="label", width=7, **PLAIN)
    assert [tuple(p.shape) for p in model.parameters()] == [(7,), (7, 3), (5,), (5, 7)]
    nodes = cotan.inputs(model.layers[0], GRAPH)
    by_hand = model.layers[1](model.layers[0](GRAPH.x, **nodes).relu(), **nodes)
    assert torch.equal(cotan.apply(model, GRAPH), by_hand)
    assert (by_hand < 0).any()


def test_a_last_layer_adds_no_input_even_where_the_widths_agree():
    model = cotan.create_model("linear", 3, 3, task="label", width=3, **{**PLAIN, "depth": 1, "residual": True})
    with torch.no_grad():
        for p in model.parameters():
            p.zero_()
    assert not cotan.apply(model, GRAPH).any()


def test_a_last_layer_has_options_of_its_own():
    model = cotan.create_model("gat", 3, 5, task="label", width=8, heads=4, **{**PLAIN, "last": {"heads": 1}})
    assert [layer.heads for layer in model.layers] == [4, 1]
    assert cotan.apply(model, GRAPH).shape == (4, 5)
    with pytest.raises(cotan.CotanError, match=r"unknown option of layer 'gat' 'head'. Did you mean 'heads'"):
        cotan.create_model("gat", 3, 5, last={"head": 1})


def test_a_last_layer_of_a_task_per_shape_is_pooled():
    model = cotan.create_model("gcn", 3, 5, width=7, **PLAIN)
    pooled = cotan.apply(model, GRAPH)
    per_vertex = cotan.create_model("gcn", 3, 5, task="label", width=7, **PLAIN)
    per_vertex.load_state_dict(model.state_dict())
    torch.testing.assert_close(pooled[0], cotan.apply(per_vertex, GRAPH).mean(0))


def test_dropout_reaches_layers_that_have_it():
    model = cotan.create_model("gat", 3, 5, heads=2, width=8, depth=2, dropout=0.4, last={"heads": 1, "dropout": 0.1})
    assert [layer.dropout.p for layer in model.layers] == [0.4, 0.1]
    assert [m.p for m in model.after.modules() if isinstance(m, nn.Dropout)] == [0.4]


def test_attention_over_an_image_is_refused_rather_than_a_mean():
    with pytest.raises(cotan.CotanError, match=r"readout 'attention' is over vertices; .*: mean, sum, max"):
        cotan.create_model("conv2d", 1, 2, readout="attention")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gcn", {"width": 0}, "width=0, expected a whole number of at least 1"),
        ("gcn", {"depth": -1}, "depth=-1, expected a whole number of at least 1"),
        ("gcn", {"activation": "rely"}, "unknown activation 'rely'. Did you mean 'relu'"),
        ("gcn", {"norm": "instance"}, "unknown norm 'instance'. Did you mean 'none'"),
        ("conv2d", {"task": "label"}, "layer 'conv2d' works on a image; task 'label' wants a value per vertex"),
    ],
)
def test_what_no_stack_is_made_of_is_refused(name, options, message):
    with pytest.raises(cotan.CotanError, match=message):
        cotan.create_model(name, 3, 2, **options)


def test_input_dropout_silences_the_signal():
    model = cotan.create_model("linear", 3, 2, task="label", input_dropout=1.0, **PLAIN)
    data = GRAPH.clone()
    data.x = torch.full((4, 3), 1e30)
    moved = cotan.apply(model.train(), data)
    torch.testing.assert_close(moved, moved[:1].expand(4, -1))
    assert moved.abs().max() < 1e3 < cotan.apply(model.eval(), data).abs().max()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("kind", "expected"), [("mean", 1), ("sum", 5000), ("max", 1), ("attention", 1)])
def test_sums_of_many_vertices_keep_their_digits(kind, expected, dtype):
    """In bfloat16, 256 + 1 is 256."""
    x, batch = torch.ones(6000, 2, dtype=dtype), torch.arange(6000) // 5000
    pooled = cotan.pool(x, batch, 2, kind, torch.zeros(6000, 1) if kind == "attention" else None)
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled[0].float(), torch.full((2,), float(expected)), rtol=0.01, atol=0)


@pytest.mark.parametrize("kind", ["mean", "sum", "max"])
def test_a_readout_of_pictures_is_of_all_their_pixels(kind):
    x, readout = torch.randn(2, 3, 4, 5), cotan.Readout(3, 6, kind=kind, signal="image")
    pooled = (nn.AdaptiveMaxPool2d if kind == "max" else nn.AdaptiveAvgPool2d)(1)(x)[:, :, 0, 0]
    expected = readout.linear(pooled * 20 if kind == "sum" else pooled)
    torch.testing.assert_close(readout(x, torch.arange(2), torch.arange(3)), expected)


def test_a_pooling_that_is_not_there_is_refused_rather_than_a_mean():
    x, batch = torch.ones(4, 2), torch.zeros(4, dtype=torch.long)
    with pytest.raises(cotan.CotanError, match=r"unknown readout 'median'\. Did you mean 'mean'"):
        cotan.pool(x, batch, 1, "median")
    with pytest.raises(cotan.CotanError, match=r"'attention' wants a score \(V, 1\)"):
        cotan.pool(x, batch, 1, "attention")


@pytest.mark.parametrize(
    ("layer", "norm", "kind"),
    [
        ("gcn", "layer", nn.LayerNorm),
        ("gcn", "batch", nn.BatchNorm1d),
        ("conv2d", "layer", nn.GroupNorm),
        ("conv2d", "batch", nn.BatchNorm2d),
    ],
)
def test_the_norm_is_that_of_the_signal(layer, norm, kind):
    model = cotan.create_model(layer, 3, 2, norm=norm, width=4, depth=1)
    assert type(model.after[0][0]) is kind
    assert type(cotan.create_model(layer, 3, 2, norm="none").after[0][0]) is nn.Identity


def test_an_image_is_halved_between_layers():
    model = cotan.create_model("conv2d", 1, 2, width=4, depth=3)
    seen = []
    for part in (*model.layers, model.readout):
        part.register_forward_pre_hook(
            lambda part, args, kwargs: seen.append(tuple(args[0].shape[2:])), with_kwargs=True
        )
    cotan.apply(model, Data(image=torch.rand(1, 8, 6)))
    assert seen == [(8, 6), (4, 3), (2, 1), (2, 1)]


def test_a_residual_is_the_input_of_its_block():
    options = dict(task="label", width=3, depth=2, norm="none", activation="none", lift=False)
    for residual in (True, False):
        model = cotan.create_model("gcn", 3, 2, residual=residual, dropout=0.5, **options).eval()
        for parameter in model.layers.parameters():
            nn.init.zeros_(parameter)
        torch.testing.assert_close(cotan.apply(model, GRAPH), model.readout.linear(residual * GRAPH.x))
    assert cotan.apply(cotan.create_model("gcn", 3, 2, **{**options, "width": 5}), GRAPH).shape == (4, 2)
    with pytest.raises(cotan.CotanError, match="unknown readout 'median'"):
        cotan.create_model("gcn", 3, 2, readout="median", **options)


@pytest.mark.parametrize("shape", [(4, 1, 3), (1, 4, 3), (4,)])
def test_a_signal_has_a_row_for_each_vertex(shape):
    model = cotan.create_model("gcn", 3, 5, task="label")
    nodes = cotan.inputs(model, GRAPH)
    with pytest.raises(cotan.CotanError, match=rf"a signal of shape {re.escape(str(shape))}, expected \(V, C\)"):
        model(torch.zeros(shape), **nodes)


def test_images_need_no_rows():
    assert cotan.create_model("conv2d", 1, 5)(torch.zeros(2, 1, 8, 8), *torch.zeros(2, 3).long()).shape == (2, 5)


@pytest.mark.parametrize(
    ("layer", "data", "axis"), [("gcn", GRAPH, -1), ("conv2d", Data(image=torch.rand(3, 8, 8)), 1)]
)
def test_softmax_is_over_the_channels_of_each_vertex_and_pixel(layer, data, axis):
    model = cotan.create_model(layer, 3, 2, width=5, depth=1, activation="softmax", residual=False)
    seen = []
    model.after[0].register_forward_hook(lambda *call: seen.append(call[2]))
    cotan.apply(model, data)
    torch.testing.assert_close(seen[0].sum(axis), torch.ones_like(seen[0].sum(axis)))
    assert seen[0].shape[axis] == 5


def test_an_activation_that_no_block_uses_is_still_one():
    with pytest.raises(cotan.CotanError, match="unknown activation 'rely'"):
        cotan.create_model("gcn", 3, 2, **{**PLAIN, "depth": 1}, activation="rely")


def test_options_of_layers_are_reached_beside_the_stacks():
    model = cotan.create_model("ridge", 3, 3, nonlinearity="tanh", activation="elu", depth=1)
    assert isinstance(model.layers[0].nonlinearity, nn.Tanh)
    assert isinstance(model.after[0][1], nn.ELU)
    model = cotan.create_model("conv2d", 3, 3, batchnorm=True, norm="none", shortcut=True, residual=False, width=8)
    assert isinstance(model.layers[0].norm, nn.BatchNorm2d)
    assert isinstance(model.layers[0].shortcut, nn.Identity)
    assert not model.residual
    assert isinstance(model.after[0][0], nn.Identity)
    model = cotan.create_model("dense-block", 3, 3, layers=5, depth=1)
    assert (len(model.layers), len(model.layers[0].layers)) == (1, 5)
    assert cotan.create_model("residual", 3, 3, hidden=7, width=9).layers[0].first.weight.shape == (7, 9)


def test_a_depth_beyond_all_memory_is_refused_layer_by_layer():
    with at_most(10**5, "a file"), pytest.raises(cotan.CotanError, match="a file does not fit"):
        cotan.create_model("gcn", 3, 5, width=1, depth=10**9)


def test_each_activation_is_a_module_of_its_own():
    """A hook on one sees one layer, as DeepLift and its like want it."""
    seen = []
    model = cotan.create_model("gcn", 3, 2, width=8, depth=3)
    model.after[1][1].register_forward_hook(lambda *_: seen.append(1))
    cotan.apply(model, GRAPH)
    assert len(seen) == 1
