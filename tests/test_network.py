import subprocess
import sys
import warnings
from typing import ClassVar

import pytest
import torch
import torch_geometric
from lightning_fabric import Fabric
from torch import nn
from torch._dynamo.testing import CompileCounter
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils.parametrizations import weight_norm
from torch.optim.swa_utils import AveragedModel
from torch_geometric.data import Batch, Data
from torch_geometric.nn import GAT, GCN, GIN, GraphSAGE

import cotan
from cotan import network
from cotan.application import join_features, signal_of, takes_signal
from cotan.data import sources_of
from cotan.testing import another_device


class Two(cotan.Network):
    def __init__(self):
        super().__init__()
        self.coarse = cotan.create_layer("spectral", 3, 5, k=4)
        self.inner = nn.ModuleList([cotan.create_layer("spectral", 5, 2, k=9)])

    def forward(self, x, **nodes):
        return self.feed(self.inner[0], self.feed(self.coarse, x, nodes), nodes)


def test_a_network_needs_what_its_layers_need_and_hands_each_its_own(sphere):
    net = Two()
    assert {"spectrum(k=4)", "spectrum(k=9)", "mass"} == set(cotan.needs(net))
    x = torch.randn(642, 3)
    out = net(x, **cotan.inputs(net, sphere))
    by_hand = net.coarse(x, **cotan.inputs(net.coarse, sphere))
    by_hand = net.inner[0](by_hand, **cotan.inputs(net.inner[0], sphere))
    assert torch.equal(out, by_hand)


def test_each_layer_is_asked_once_however_deep_it_lies(monkeypatch):
    class Around(cotan.Network):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, x, **nodes):
            return self.feed(self.inner, x, nodes)

    net = cotan.create_layer("gcn", 3, 3)
    for _ in range(9):
        net = Around(net)
    real, asked = network.needs, []
    monkeypatch.setattr(network, "needs", lambda module: asked.append(module) or real(module))
    assert set(network.needs(net)) == {"normalized_adjacency"}
    assert len(asked) == 10


def test_a_module_without_registration_states_its_needs_by_its_signature(tetrahedron):
    class Plain(nn.Module):
        def forward(self, x, laplacian):
            return laplacian @ x

    assert set(cotan.inputs(Plain(), tetrahedron)) == {"laplacian"}


def test_needs_that_name_no_parameter_are_an_error():
    class Wrong(nn.Module):
        def __init__(self):
            super().__init__()
            self.needs = {"spectrm": cotan.node("spectrum")}

        def forward(self, x, spectrum):
            return x

    with pytest.raises(
        cotan.CotanError, match=r"unknown parameter of .*Wrong.forward named in needs 'spectrm'. Did you mean"
    ):
        cotan.needs(Wrong())


def test_an_optional_need_can_be_turned_off(tetrahedron):
    class Either(nn.Module):
        def __init__(self, **needs):
            super().__init__()
            self.needs = needs

        def forward(self, x, mass, spectrum=None):
            return x

    assert set(cotan.inputs(Either(), tetrahedron)) == {"mass", "spectrum"}
    without = Either(spectrum=None)
    assert set(cotan.inputs(without, tetrahedron)) == {"mass"}
    assert set(cotan.needs(cotan.on_domain(without, "coarsen"))) == {"mass"}
    with pytest.raises(cotan.CotanError, match="'mass' has no default, so it cannot be None"):
        cotan.needs(Either(mass=None))


@pytest.mark.parametrize("wiring", ["needs", "instead"])
def test_what_is_asked_for_instead_is_a_dict_or_none(tetrahedron, wiring):
    layer = cotan.create_layer("gcn", 3, 2)
    setattr(layer, wiring, None)
    assert cotan.apply(cotan.on_domain(layer, "random_scale"), tetrahedron).shape == (4, 2)
    setattr(layer, wiring, ["edge_index"])
    with pytest.raises(cotan.CotanError, match=rf"^GCN\.{wiring}: expected a dict of requests by name, got list$"):
        cotan.apply(layer, tetrahedron)


def test_the_first_signal_is_x_else_positions_else_as_asked(tetrahedron):
    model = cotan.create_model("linear", in_dim=3, out_dim=2)
    assert cotan.apply(model, tetrahedron).shape == (1, 2)
    tetrahedron.x = torch.randn(4, 5)
    with pytest.raises(cotan.CotanError, match=r"in_dim=3 channels; its features have 5"):
        cotan.apply(model, tetrahedron)
    both = cotan.create_model("linear", in_dim=4, out_dim=2, task="label", features=["normalized_pos", "mass"])
    assert cotan.apply(both, [tetrahedron] * 3).shape == (12, 2)


@pytest.mark.parametrize("readout", ["mean", "sum", "max", "attention"])
def test_a_shape_does_not_depend_on_its_neighbours_in_the_batch(readout, sphere, tetrahedron):
    model = cotan.create_model("spectral", in_dim=3, out_dim=4, width=8, depth=2, k=4, readout=readout).eval()
    together = cotan.apply(model, [sphere, tetrahedron, sphere])
    assert torch.allclose(together[1], cotan.apply(model, tetrahedron)[0], atol=1e-5)
    assert torch.allclose(together[2], cotan.apply(model, sphere)[0], atol=1e-5)


def test_pools_against_loops():
    x, sizes = torch.randn(9, 2), (4, 5)
    batch = torch.tensor([0] * 4 + [1] * 5)
    parts = x.split(sizes)
    assert torch.allclose(cotan.pool(x, batch, 2, "mean"), torch.stack([p.mean(0) for p in parts]))
    assert torch.allclose(cotan.pool(x, batch, 2, "max"), torch.stack([p.amax(0) for p in parts]))
    assert torch.allclose(cotan.pool(x, batch, 3, "sum"), torch.stack([p.sum(0) for p in parts] + [torch.zeros(2)]))
    score = torch.randn(9, 1) * 50
    by_hand = torch.stack([(p * s.softmax(0)).sum(0) for p, s in zip(parts, score.split(sizes))])
    assert torch.allclose(cotan.pool(x, batch, 2, "attention", score), by_hand, atol=1e-6)


def test_a_stack_says_which_option_it_does_not_know():
    with pytest.raises(
        cotan.CotanError, match=r"unknown option of a stack of 'spectral' 'widht'. Did you mean 'width'"
    ):
        cotan.create_model("spectral", 3, 4, widht=3)
    with pytest.raises(cotan.CotanError, match=r"concat, depth, dropout, heads"):  # the stack's and the layer's, once
        cotan.create_model("gat", 3, 4, edge_dim=3)
    with pytest.raises(cotan.CotanError, match=r"in_dim=0, expected a positive whole number"):
        cotan.create_model("spectral", 0, 4)
    with pytest.raises(cotan.CotanError, match=r"unknown task 'segmentation'. Did you mean 'label' \(segmentation\)"):
        cotan.create_model("spectral", 3, 4, task="segmentation")


def test_points_without_edges_are_told_how_to_have_some():
    points = Data(pos=torch.rand(20, 3))
    with pytest.raises(cotan.CotanError, match=r"does not have. Edges of points: .*nearest_neighbours.* It has: pos"):
        cotan.apply(cotan.create_model("gcn", in_dim=3, out_dim=2), points)
    points.edge_index = cotan.compute(points, "nearest_neighbours", k=16)
    assert cotan.apply(cotan.create_model("gcn", in_dim=3, out_dim=2), points).shape == (1, 2)


class Around(cotan.Network):
    def __init__(self, *models):
        super().__init__()
        self.models = torch.nn.ModuleList(models)

    def forward(self, x, **nodes):
        return sum(self.feed(model, x, nodes) for model in self.models)


@pytest.mark.parametrize("name", ["edgeconv", "gaussian", "spectral"])
def test_neighbours_stand_for_the_edges_of_points(name):
    """All that a model asks for is of these edges, as if the data had them; a shape moves with the edges that it had."""
    own = {"edge_index": torch.randint(30, (2, 150)), "edge_weight": torch.rand(150)}  # as many as there will be
    clouds = [Data(pos=torch.rand(30, 3), **own) for _ in range(2)]
    model = cotan.create_model(name, in_dim=3, out_dim=2, width=8, depth=2, neighbours=5).eval()
    plain = cotan.create_model(name, in_dim=3, out_dim=2, width=8, depth=2).eval()
    plain.load_state_dict(model.state_dict())
    bare = [Data(pos=cloud.pos) for cloud in clouds]
    edged = [Data(pos=c.pos, edge_index=cotan.compute(c, "nearest_neighbours", k=5)) for c in bare]
    x = torch.cat([c.pos for c in bare])
    for on in ((), "random_jitter"):
        expected = cotan.apply(plain, edged, on=on)
        assert not torch.equal(expected, cotan.apply(plain, clouds, on=on))
        for given in (clouds, bare):
            assert torch.equal(cotan.apply(model, given, on=on), expected)
    assert torch.equal(model(x, **cotan.inputs(model, bare)), plain(x, **cotan.inputs(plain, edged)))
    assert torch.equal(cotan.apply(Around(model), clouds), cotan.apply(plain, edged))
    both = Around(model, cotan.create_model(name, in_dim=3, out_dim=2, neighbours=6))
    with pytest.raises(
        cotan.CotanError, match=r"parts of a model take different nodes for 'edge_index': .*k=5.* and .*k=6"
    ):
        cotan.apply(both, clouds)
    with pytest.raises(cotan.CotanError, match="stack: neighbours=0, expected a whole number of at least 1"):
        cotan.create_model(name, in_dim=3, out_dim=2, neighbours=0)


def test_a_compiled_model_sees_no_registry(sphere):
    model = cotan.create_model("spectral", in_dim=3, out_dim=4, width=8, depth=2, k=6).eval()
    values = cotan.inputs(model, [sphere, sphere])
    x = torch.randn(2 * 642, 3)
    torch._dynamo.reset()
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    assert torch.allclose(compiled(x, **values), model(x, **values), atol=1e-5)


@pytest.mark.filterwarnings("ignore:Sparse")
def test_an_adjacency_of_pyg_is_told_how_to_be_edges():
    edges = torch.tensor([[0, 1, 2], [1, 2, 0]])
    model = cotan.create_model("gcn", in_dim=2, out_dim=2)
    data = Data(x=torch.rand(4, 2), edge_index=edges, edge_weight=torch.tensor([3.0, 1.0, 2.0]))
    expected = cotan.apply(model, data)
    data.adj_t = torch.sparse_coo_tensor(edges.flip(0), data.edge_weight, (4, 4)).coalesce()
    del data.edge_index, data.edge_weight
    with pytest.raises(
        cotan.CotanError, match=r"does not have. Of adj_t: data.*to_edge_index\(data.adj_t.t\(\)\). It has"
    ):
        cotan.apply(model, data)
    data.edge_index, data.edge_weight = torch_geometric.utils.to_edge_index(data.adj_t.t())
    torch.testing.assert_close(cotan.apply(model, data), expected)
    data.adj = data.adj_t.t().to_dense()
    del data.adj_t, data.edge_index, data.edge_weight
    with pytest.raises(cotan.CotanError, match=r"Of adj: data.*dense_to_sparse\(data.adj\). It has"):
        cotan.apply(model, data)
    data.edge_index, data.edge_weight = torch_geometric.utils.dense_to_sparse(data.adj)
    torch.testing.assert_close(cotan.apply(model, data), expected)


def sheet(rows: int, columns: int) -> Data:
    """A bent rectangle of triangles."""
    v = torch.arange(rows * columns).view(rows, columns)
    a, b, c, d = (part.flatten() for part in (v[:-1, :-1], v[1:, :-1], v[:-1, 1:], v[1:, 1:]))
    x, y = (v // columns).flatten().float(), (v % columns).flatten().float()
    return Data(
        pos=torch.stack([x, y * 0.7, (x / 3).sin()], 1),
        face=torch.stack([torch.stack([a, b, c]), torch.stack([b, d, c])], 1).flatten(1),
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [("diffusion", {"k": 9, "depth": 1}), ("smooth-spectral", {"k": 9, "depth": 1}), ("gaussian", {"depth": 1})],
)
def test_batches_of_any_size_share_what_is_compiled(name, options):
    model = cotan.create_model(name, in_dim=3, out_dim=4, task="label", **options)
    torch._dynamo.reset()
    counter = CompileCounter()
    compiled = torch.compile(model, fullgraph=True, backend=counter)
    for size in (4, 5, 6, 11):
        other = sheet(size, 7) if size == 6 else sheet(15, 19 - size)
        batch = [sheet(size, 7)] * (size % 4) + [other] * (4 - size % 4)
        values, x = cotan.inputs(model, batch), torch.cat([shape.pos for shape in batch])
        torch.testing.assert_close(compiled(x, **values), model(x, **values), rtol=1e-4, atol=1e-5)
    assert counter.frame_count <= 3  # the first sizes, any sizes, shapes of one size


class OfDict(nn.Module):
    """A model whose nodes are one argument: names such as spectrum(k=4) are none that torch.export could write down."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, nodes):
        return self.model(**nodes) if x is None else self.model(x, **nodes)


SMALL = {"width": 4, "depth": 1, "k": 4, "order": 1, "resolution": 16, "size": 16, "maps": 1, "hidden": 4, "count": 2}


@pytest.mark.parametrize(
    "name", [name for name in cotan.names("model") if name != "topk"]
)  # how many it keeps, the data say
def test_a_model_is_exported_saved_and_loaded(name, sphere, tetrahedron, tmp_path):
    definition, _ = cotan.registry.model_of(name, {})
    known = {**definition.options, **cotan.registry.model_or_layer(name).options}
    model = cotan.create_model(name, 3, 4, **{key: value for key, value in SMALL.items() if key in known}).eval()
    shapes = [sphere, tetrahedron]
    nodes = cotan.inputs(model, shapes)
    x = {"vertex": torch.cat([s.pos for s in shapes]).float(), "sequence": torch.rand(2, 3, 16)}
    x |= {"image": torch.rand(2, 3, 16, 16), "volume": torch.rand(2, 3, 16, 16, 16)}
    given = (x[signal_of(model)] if takes_signal(model) else None), nodes
    with torch.no_grad():
        torch.export.save(torch.export.export(OfDict(model), given), tmp_path / "model.pt2")
        loaded = torch.export.load(tmp_path / "model.pt2").module()
        torch.testing.assert_close(loaded(*given), OfDict(model)(*given))


def test_a_saved_model_is_loaded_elsewhere(tetrahedron, tmp_path):
    model = cotan.create_model("diffusion", 3, 2, width=4, depth=1, k=4).eval()
    given = tetrahedron.pos, cotan.inputs(model, tetrahedron)
    with torch.no_grad():
        torch.export.save(torch.export.export(OfDict(model), given), tmp_path / "model.pt2")
    code = f"import cotan, torch; cotan.names('operator'); torch.export.load({str(tmp_path / 'model.pt2')!r}).module()"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", ["gat", "diffusion", "topk"])
def test_an_exported_model_takes_a_shape_of_another_size(name):
    model = cotan.create_model(
        name, in_dim=3, out_dim=4, task="label", depth=1, **({"k": 9} if name == "diffusion" else {})
    )
    given, another, third = ((s.pos, cotan.inputs(model, s)) for s in (sheet(9, 8), sheet(13, 5), sheet(7, 11)))
    sizes = torch.export.AdditionalInputs()
    sizes.add(another)
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using None as a dynamic shape")
        program = torch.export.export(OfDict(model.eval()), given, dynamic_shapes=sizes, strict=True)
        torch.testing.assert_close(program.module()(*third), OfDict(model)(*third), rtol=1e-4, atol=1e-5)


def test_mixed_dtypes_are_named(tetrahedron):
    model = cotan.create_model("linear", in_dim=3, out_dim=2)
    model.lift.double()
    with pytest.raises(cotan.CotanError, match=r"several dtypes: .*torch.float64"):
        cotan.apply(model, tetrahedron)


def test_a_model_in_double_gets_double(tetrahedron):
    model = cotan.create_model("spectral", in_dim=3, out_dim=2, k=2).double()
    assert cotan.apply(model, tetrahedron).dtype == torch.float64


def test_on_domain_moves_all_that_a_network_needs():
    from cotan.network import on_domain

    class Inner(cotan.Network):
        def __init__(self):
            super().__init__()
            self.needs = {"area": cotan.node("mass", on="random_scale")}  # a domain of its own goes below
            self.layer = cotan.create_layer("smooth-spectral", 2, 2, k=5)

        def forward(self, x, area, **nodes):
            return self.feed(self.layer, x * area[:, None], nodes)

    class Outer(cotan.Network):
        def __init__(self, domain=None):
            super().__init__()
            self.inner = Inner() if domain is None else on_domain(Inner(), domain)

        def forward(self, x, **nodes):
            return self.feed(self.inner, x, nodes)

    turned = cotan.node("random_rotation", seed=1)
    plain, moved = cotan.needs(Outer()), cotan.needs(Outer(turned))
    assert sorted(plain) == ["mass", "mass@random_scale", "spectrum(k=5)"]
    assert sorted(moved) == sorted(f"{key}@random_rotation(seed=1)" for key in plain)


def test_many_features_stand_side_by_side_in_the_order_given(tetrahedron):
    class Same(nn.Module):
        def forward(self, x):
            return x

    model = Same()
    model.features = [*["mass"] * 10, "normalized_pos", "vertex_normals"]
    seen = cotan.apply(model, tetrahedron)
    assert torch.equal(seen[:, 10:13], cotan.compute(tetrahedron, "normalized_pos"))
    assert torch.equal(seen[:, 13:], cotan.compute(tetrahedron, "vertex_normals"))


def test_images_stand_behind_each_other():
    images = [torch.full((2, 1, 4, 5), float(i)) for i in range(3)]
    assert join_features(images, "image")[0, :, 0, 0].tolist() == [0, 1, 2]
    assert join_features([torch.zeros(7), torch.zeros(7, 2)]).shape == (7, 3)


def test_a_batch_of_pyg_is_not_taken_for_one_shape(tetrahedron):
    batch = Batch.from_data_list([tetrahedron] * 3)
    model = cotan.create_model("linear", 3, 2)
    with pytest.raises(cotan.CotanError, match="a batch of 3 shapes where one is expected"):
        cotan.compute(batch, "mass")
    with pytest.raises(cotan.CotanError, match=r"a batch of 3 shapes where one is expected: .*to_data_list\(\)"):
        cotan.make_plan({"mass": "mass"}, sources_of(batch))
    assert torch.equal(cotan.apply(model, batch), cotan.apply(model, batch.to_data_list()))


def test_a_graph_without_features_is_told_what_else_there_is():
    ring = torch.arange(5)
    graph = Data(edge_index=torch.stack([ring, ring.roll(1)]), num_nodes=5)
    with pytest.raises(
        cotan.CotanError, match=r"neither features x nor pos .*features= names a node .*It has: edge_index"
    ):
        cotan.apply(cotan.create_model("gcn", 3, 2), graph)
    model = cotan.create_model("gcn", 16, 2, features="heat_kernel_signature")
    assert cotan.apply(model, graph).shape == (1, 2)


class Pooled(cotan.Network):
    def __init__(self):
        super().__init__()
        self.layer, self.readout = cotan.create_layer("gcn", 3, 4), cotan.Readout(4, 2)

    def forward(self, x, **nodes):
        return self.feed(self.readout, self.feed(self.layer, x, nodes).relu(), nodes)


def test_pygs_batches_are_the_list_of_their_shapes(sphere, tetrahedron):
    net, batch = Pooled(), Batch.from_data_list([sphere, tetrahedron])
    alone = [cotan.apply(net, shape) for shape in (sphere, tetrahedron)]
    torch.testing.assert_close(cotan.apply(net, batch), torch.cat(alone))
    nodes = cotan.inputs(net, batch)
    x = torch.cat([cotan.compute(shape, "normalized_pos") for shape in (sphere, tetrahedron)])
    torch.testing.assert_close(net(x, **nodes), torch.cat(alone))
    with pytest.raises(cotan.CotanError, match="a batch of 2 shapes where one is expected"):
        cotan.compute(batch, "mass")


def test_a_network_that_hands_nothing_on_is_told():
    class Deaf(Pooled):
        def forward(self, x):
            return x

    with pytest.raises(cotan.CotanError, match=r"Deaf.forward has no \*\*nodes to hand to its GCN, which needs"):
        cotan.needs(Deaf())


def test_a_constructor_that_fails_is_named_with_its_options():
    with pytest.raises(cotan.CotanError, match=r"model 'stack' with .*dropout=2: ValueError"):
        cotan.create_model("gcn", 3, 2, dropout=2)


def test_a_module_that_takes_the_whole_data_is_told_to_take_its_parts(tetrahedron):
    class Whole(torch.nn.Module):
        def forward(self, data): ...

    with pytest.raises(
        cotan.CotanError, match=r"Whole\.forward takes 'data'; expected .* forward\(self, x, edge_index, batch\)"
    ):
        cotan.apply(Whole(), tetrahedron)


@pytest.mark.parametrize(
    "change", [lambda m: torch.compile(m, backend="eager"), lambda m: weight_norm(m.layers[0]) and m]
)
def test_a_compiled_or_parametrized_module_asks_for_the_same(change, sphere):
    model = cotan.create_model("chebyshev", 3, 2, depth=1, order=2).eval()
    wanted, expected = cotan.needs(model), cotan.apply(model, sphere)
    changed = change(model)
    assert cotan.needs(changed) == wanted
    assert torch.allclose(cotan.apply(changed, sphere), expected, atol=1e-6)


@pytest.mark.parametrize("compiled", [False, True])
def test_a_layer_is_put_on_a_domain_once(compiled):
    layer = cotan.create_layer("chebyshev", 3, 2)
    cotan.on_domain(torch.compile(layer, backend="eager") if compiled else layer, cotan.node("coarsen", level=1))
    (wanted,) = cotan.needs(layer).values()
    assert (wanted.name, wanted.on) == ("rescaled_laplacian", cotan.node("coarsen", level=1))


def test_needs_of_a_class_are_those_of_its_modules(sphere):
    class First(nn.Module):
        needs: ClassVar = {"spectrum": cotan.node("spectrum", k=7)}

        def forward(self, x, spectrum):
            return spectrum

    assert cotan.needs(torch.compile(First())) == {"spectrum": cotan.node("spectrum", k=7)}
    assert len(cotan.inputs(First(), sphere)["spectrum"].values) == 7


def test_a_class_of_a_layers_kind_asks_for_what_its_own_forward_takes():
    layer = type(cotan.create_layer("chebyshev", 3, 2))
    inherits = type("Inherits", (layer,), {})
    other = type("Other", (layer,), {"forward": lambda self, x, mass: x})
    assert set(cotan.needs(inherits(3, 2))) == set(cotan.needs(layer(3, 2)))
    assert set(cotan.needs(other(3, 2))) == {"mass"}


def test_a_network_that_was_never_asked_for_its_needs_feeds_its_layers(sphere):
    asked, other = (cotan.create_model("gcn", 3, 2, task="label", depth=2) for _ in range(2))
    other.load_state_dict(asked.state_dict())
    nodes = cotan.inputs(asked, sphere)
    assert torch.equal(other(sphere.pos, **nodes), asked(sphere.pos, **nodes))


def test_a_network_that_feeds_what_is_no_layer_of_cotans_says_so(sphere):
    class Mine(nn.Module):
        def forward(self, x, edge_index):
            return x

    class Net(cotan.Network):
        def __init__(self):
            super().__init__()
            self.mine = Mine()

        def forward(self, x, **nodes):
            return self.feed(self.mine, x, nodes)

    linear = torch.nn.Linear(3, 2)
    assert torch.equal(Net().feed(linear, sphere.pos, {}), linear(sphere.pos))  # its parameter is called `input`
    with pytest.raises(
        cotan.CotanError, match=r"Mine is no layer of cotan's, so .*Net does not hand it its edge_index: @cotan"
    ):
        cotan.apply(Net(), sphere)


@pytest.mark.parametrize("call", [cotan.inputs, cotan.apply])
def test_no_shapes_at_all(call):
    with pytest.raises(cotan.CotanError, match="no shape given: expected a Data or a list of them"):
        call(cotan.create_model("gcn", 3, 2), [])


@pytest.mark.parametrize("call", [cotan.apply, cotan.inputs])
def test_shapes_on_two_devices_are_told_apart(call, tetrahedron):
    model = cotan.create_model("sage", 3, 2)
    with another_device() as device:
        there = tetrahedron.clone().to(device)
        assert call(model, [there, there]) is not None
        with pytest.raises(cotan.CotanError, match=f"shapes on cpu and {device}, expected one device"):
            call(model, [tetrahedron, there])


@pytest.mark.parametrize("kind", [GAT, GCN, GIN, GraphSAGE])
def test_pygs_models_apply_and_fit_as_they_are(kind):
    torch.manual_seed(0)
    data = Data(x=torch.randn(30, 4), edge_index=torch.randint(30, (2, 90)), y=torch.arange(30) % 3)
    model = kind(4, 8, 2, 3)
    assert torch.equal(cotan.apply(model, data), model(data.x, data.edge_index))
    data.train_mask = data.val_mask = data.test_mask = torch.arange(30) < 10
    assert "test_accuracy" in cotan.fit(kind(4, 8, 2, 3), data, epochs=1).metrics


def test_a_foreign_modules_optional_parameters_keep_their_defaults_where_nothing_has_their_name(tetrahedron):
    class Foreign(nn.Module):
        def forward(self, x, mass=None, size=None, slope=0.1):
            return mass, size, slope

    mass, size, slope = cotan.apply(Foreign(), tetrahedron)
    assert (len(mass), size, slope) == (4, None, 0.1)
    tetrahedron.slope = 0.5
    assert cotan.apply(Foreign(), tetrahedron)[2] == 0.5
    asked = Foreign()
    asked.needs = {"size": "spectrm"}
    with pytest.raises(cotan.CotanError, match=r"unknown node 'spectrm'"):
        cotan.apply(asked, tetrahedron)


class Atoms(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(3, 2)
        self.seen = []

    def forward(self, x, batch, ptr):
        self.seen += x.flatten().tolist()
        return cotan.pool(self.embedding(x.flatten() % 3), batch, len(ptr) - 1)


@pytest.mark.parametrize("kind", [Atoms, type("InNetwork", (Atoms, cotan.Network), {})])
def test_whole_numbers_stay_whole_for_modules_not_written_for_cotan_and_where_they_may_be_looked_up(kind):
    numbers = [1, 2**24 + 1]  # the second is none of float32
    graphs = [Data(x=torch.tensor(numbers)[:, None], y=torch.tensor([i % 2])) for i in range(4)]
    model = kind()
    cotan.apply(model, graphs[:2])
    cotan.fit(model, cotan.Splits(graphs[:2], graphs[2:]), epochs=1)
    assert set(model.seen) == set(numbers)


def test_whole_numbers_are_real_ones_for_what_is_written_for_cotan():
    class Two(cotan.Network):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(1, 4), cotan.create_layer("gcn", 4, 2)

        def forward(self, x, **nodes):
            return self.feed(self.second, self.first(x), nodes)

    graph = Data(x=torch.tensor([[0], [1]]), edge_index=torch.tensor([[0, 1], [1, 0]]))
    for made in (
        cotan.create_layer("linear", 1, 2),
        cotan.create_model("linear", 1, 2),
        Two(),
        torch.compile(Two(), backend="eager"),
    ):
        assert cotan.apply(made, graph).dtype == torch.float32


def test_a_layer_says_what_number_of_channels_it_was_made_for(tetrahedron):
    with pytest.raises(cotan.CotanError, match="the layer was made for in_dim=7 channels; its features have 3"):
        cotan.apply(cotan.create_layer("gcn", 7, 2), tetrahedron)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (cotan.create_layer, "diffusion"),
        (cotan.create_layer, "gcn"),
        (cotan.create_model, "mlp"),
        (cotan.create_model, "topk"),
    ],
)
def test_a_first_signal_is_a_row_for_each_vertex(make, name, tetrahedron):
    graphs = [tetrahedron.clone().update({"x": torch.randn(4, 3, 3), "y": torch.tensor([i])}) for i in range(2)]
    with pytest.raises(
        cotan.CotanError, match=r"a signal of shape \(8, 3, 3\), expected \(V, C\), a row for each vertex"
    ):
        cotan.apply(make(name, 3, 2), graphs)
    with pytest.raises(cotan.CotanError, match=r"a signal of shape \(4, 3, 3\), expected \(V, C\)"):
        cotan.fit(make(name, 3, 2), cotan.Splits(graphs, graphs), epochs=1)


def test_a_matrix_is_no_first_signal(tetrahedron):
    model = cotan.create_model("gcn", 3, 2, features="laplacian")
    with pytest.raises(cotan.CotanError, match=r"a signal that is a Sparse, expected \(V, C\)"):
        cotan.apply(model, tetrahedron)


def test_data_without_numbers(tetrahedron):
    for call in (lambda d: cotan.compute(d, "mass"), lambda d: cotan.apply(cotan.create_model("gcn", 3, 2), [d])):
        with pytest.raises(cotan.CotanError, match="pos lies on the device meta, which holds no numbers"):
            call(tetrahedron.clone().to("meta", "pos"))


WRAPPED = {
    "averaged": AveragedModel,
    "parallel": nn.DataParallel,
    "distributed": DistributedDataParallel,
    "of Lightning's Fabric": lambda model: Fabric(accelerator="cpu", devices=1).setup(model),
    "averaged, compiled": lambda model: torch.compile(AveragedModel(model), backend="eager"),
}


@pytest.fixture
def processes(tmp_path):
    """One, where there could be many."""
    torch.distributed.init_process_group("gloo", f"file://{tmp_path}/meet", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("spectral", {"features": "heat_kernel_signature", "k": 4, "depth": 1}),
        ("gcn", {"task": "regress", "depth": 1}),
        ("cnn", {"width": 4}),
    ],
)
def test_a_model_in_a_wrapper_of_torchs_is_the_model(wrap, name, options, processes, sphere, tetrahedron):
    model = cotan.create_model(name, 3 if name != "spectral" else 16, 2, **options).eval()
    shapes = [sphere, tetrahedron]
    for shape in shapes:
        shape.image, shape.y = torch.rand(3, 8, 8), torch.zeros(1)
    wrapped = wrap(model).eval()
    calls = []
    wrapped.register_forward_hook(lambda *_: calls.append(1))
    assert cotan.needs(wrapped) == cotan.needs(model)
    torch.testing.assert_close(cotan.apply(wrapped, shapes), cotan.apply(model, shapes))
    (values,) = (batch.values for batch in cotan.prepare(wrapped, shapes).batches(2))
    torch.testing.assert_close(cotan.forward(wrapped, values), cotan.apply(model, shapes))
    assert calls == [1, 1]
    found, expected = (cotan.predict(m, sphere) for m in (wrapped, model))
    torch.testing.assert_close(torch.as_tensor(found.label), torch.as_tensor(expected.label))
    assert (found.probability is None) == (name == "gcn")


def extension(name, bases=None, **own):
    """A class that extends a layer or model and hands on what it does not name."""
    base = type(cotan.create_model(name, 3, 4) if cotan.registry.has("model", name) else cotan.create_layer(name, 3, 4))

    def forward(self, x, **nodes):
        return 2 * base.forward(self, x, **nodes)

    return type("Extension", bases or (base,), {"forward": forward, **own})


@pytest.mark.parametrize(
    "name",
    [n for n in cotan.names("layer") if cotan.registry.lookup("layer", n).signal == "vertex"] + ["stack", "conv2d"],
)
def test_a_class_that_extends_a_layer_is_given_what_that_takes(name, sphere):
    sphere.edge_index = cotan.compute(sphere, "edge_index")
    sphere.edge_weight, sphere.edge_attr = (torch.rand(sphere.num_edges, *more) for more in ((), (2,)))
    sphere.image = torch.rand(3, 8, 8)
    plain, extended = (cls(3, 4).eval() for cls in (extension(name).__mro__[1], extension(name)))
    extended.load_state_dict(plain.state_dict())
    assert cotan.needs(extended) == cotan.needs(plain)
    torch.testing.assert_close(cotan.apply(extended, sphere), 2 * cotan.apply(plain, sphere))


def test_an_extension_in_a_network_and_by_name(scratch, tetrahedron):
    gcn = extension("gcn")

    class Net(cotan.Network):
        def __init__(self):
            super().__init__()
            self.layers = nn.Sequential(gcn(3, 4))

        def forward(self, x, **nodes):
            return self.feed(self.layers[0], x, nodes)

    assert cotan.apply(Net(), tetrahedron).shape == (4, 4)
    cotan.layer("made")(gcn)
    assert cotan.apply(cotan.create_model("made", 3, 2), tetrahedron).shape == (1, 2)
    assert cotan.apply(type("Again", (gcn,), {})(3, 2), tetrahedron).shape == (4, 2)


def test_a_class_that_extends_names_what_it_uses_itself(tetrahedron):
    gcn = type(cotan.create_layer("gcn", 3, 4))

    class Massive(gcn):
        def forward(self, x, mass, tangent_frames=None, **nodes):
            return mass[:, None] * super().forward(x, **nodes)

    layer = Massive(3, 4)
    wanted = {name: node.optional for name, node in cotan.needs(layer).items()}
    assert wanted == {"mass": False, "tangent_frames": True, "normalized_adjacency": False}
    assert cotan.apply(layer, tetrahedron).shape == (4, 4)


def test_nodes_that_nothing_names_are_refused(scratch, tetrahedron):
    class Wrapper(nn.Module):
        def __init__(self, in_dim, out_dim):
            super().__init__()
            self.layers = nn.ModuleList([cotan.create_layer("gcn", in_dim, out_dim)])

        def forward(self, x, **nodes):
            return self.layers[0](x, **nodes)

    class Foreign(nn.Module):
        def forward(self, x, edge_index, **kwargs):
            return edge_index

    said = r"forward takes \*\*nodes: name them one by one, or subclass cotan.Network"
    with pytest.raises(cotan.CotanError, match=rf"Wrapper: {said}"):
        cotan.apply(Wrapper(3, 4), tetrahedron)
    with pytest.raises(cotan.CotanError, match=rf"layer 'made' .*Wrapper\): {said}"):
        cotan.layer("made")(Wrapper)
    assert cotan.apply(Foreign(), tetrahedron).shape == (2, 12)


def test_a_class_that_extends_a_layer_may_have_parameters_of_its_own():
    class Scaled(type(cotan.create_layer("gcn", 4, 2))):
        def forward(self, x, normalized_adjacency, scale=2.0, extra=None):
            return scale * super().forward(x, normalized_adjacency)

    graph = Data(x=torch.randn(4, 4), edge_index=torch.tensor([[0, 1, 2], [1, 2, 3]]))
    layer = Scaled(4, 2)
    plain = cotan.create_layer("gcn", 4, 2)
    plain.load_state_dict(layer.state_dict())
    assert torch.allclose(cotan.apply(layer, graph), 2 * cotan.apply(plain, graph))


def test_a_model_that_lists_a_task_is_told_that_one(scratch):
    """Also where it lists one that it extends, and one of a package that is not there."""
    cotan.task("mine")(type("Mine", (cotan.tasks.Label,), {}))

    @cotan.model("listing", tasks=("elsewhere", "label", "mine"))
    class Listing(nn.Module):
        def __init__(self, in_dim, out_dim, *, task="label"):
            super().__init__()
            self.task = task

        def forward(self, x):
            return x

    told = {task: cotan.create_model("listing", 3, 2, task=task).task for task in ("label", "mine")}
    assert told == {"label": "label", "mine": "mine"}


def test_a_task_that_extends_one_is_for_the_models_that_do_that_one(scratch):
    for name, task in (("mine", cotan.tasks.Classify), ("numbers", cotan.tasks.RegressVertices)):
        cotan.task(name)(type(name.title(), (task,), {}))
    model = cotan.create_model("toric", 3, 2, task="numbers", resolution=4, width=4)
    assert (model.task, model.made["task"]) == ("regress-vertices", "numbers")
    assert model.target_mean.tolist() == [0, 0]
    model = cotan.create_model("cnn", 1, 2, task="mine", width=4)
    assert model.made["task"] == "mine"
    with pytest.raises(cotan.CotanError, match="model 'cnn' does not do task 'numbers'; it does: classify, regress"):
        cotan.create_model("cnn", 1, 2, task="numbers", width=4)
