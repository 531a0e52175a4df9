import torch
from torch_geometric.data import Data

import cotan
from cotan.show import draw


def test_each_layer_of_a_pyramid_hangs_on_its_own_graph(sphere):
    drawing = draw(["pyramid"], sphere)
    layers = [box for box in drawing.values() if box.kind == "layer"]
    sizes = [[drawing[key].detail.split(" x ")[0] for key in box.inputs[1:]] for box in layers]
    coarse = cotan.compute(sphere, "coarsen", level=2).num_nodes
    assert sizes == [["642"], [str(coarse)]]


def test_a_model_without_layers_hangs_on_its_own_nodes(sphere):
    drawing = draw(["topk"], sphere)
    (box,) = [box for box in drawing.values() if box.kind == "layer"]
    assert "adjacency(self_loops=True)" in [drawing[key].label for key in box.inputs]


def test_a_model_that_takes_no_signal_hangs_on_what_it_asks_for(sphere):
    drawing = draw(["multiview"], sphere)
    (box,) = [box for box in drawing.values() if box.kind == "layer"]
    assert any(drawing[key].label.startswith("views") for key in box.inputs)


def test_a_model_of_images_has_as_many_channels_as_they():
    image = Data(image=torch.rand(2, 9, 7), num_nodes=1)
    drawing = draw(["conv2d"], image, options={"depth": 1, "lift": False})
    (box,) = [box for box in drawing.values() if box.kind == "layer"]
    layer = cotan.create_layer("conv2d", 2, 64)
    assert box.detail == f"{sum(p.numel() for p in layer.parameters()):,} parameters"
