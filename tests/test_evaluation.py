import os
import subprocess
import sys

import networkx
import numpy as np
import pytest
import torch
import trimesh
from torch import nn
from torch.utils._pytree import tree_map_only
from torch_geometric.data import Data

import cotan
from cotan.application import evaluate_all
from cotan.batching import Augmented, prepare
from cotan.data import sources_of
from cotan.evaluation import Evaluation
from cotan.operators.eigen import eigenpairs, eigenpairs_of_many
from cotan.plan import make_plan
from cotan.testing import Nothing
from cotan.testing.shapes import example
from cotan.together import evaluate_together, groups
from cotan.values import take_apart


def shapes():
    """Meshes of several sizes, one with a loose vertex, one of two parts."""
    make = trimesh.creation
    random = np.random.default_rng(0)
    found = []
    for mesh in (make.icosphere(2), make.torus(1, 0.3, 12, 9), make.box(), make.capsule(1, 0.4, (9, 8))):
        pos = mesh.vertices + 0.02 * random.standard_normal(mesh.vertices.shape)
        found.append(Data(pos=torch.from_numpy(pos).float(), face=torch.from_numpy(mesh.faces.T.copy()).long()))
    loose = found[0].clone()
    loose.pos = torch.cat([loose.pos, torch.ones(1, 3)])
    two = found[1].clone()
    two.pos = torch.cat([found[1].pos, found[2].pos + 3])
    two.face = torch.cat([found[1].face, found[2].face + len(found[1].pos)], 1)
    return [*found, loose, two]


def tensors(value):
    out = []
    take_apart(value, out)
    return out


NODES = [
    cotan.node("spectrum", k=12),
    "gradient",
    "vertex_normals",
    "face_normals",
    "edge_lengths",
    "gauss_curvature",
    cotan.node("mass", kind="voronoi"),
    cotan.node("pseudo_coordinates", kind="offset"),
]


@pytest.mark.parametrize("threads", [1, 2])
def test_shapes_evaluated_together_have_the_values_of_each_alone(threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        every = shapes()
        plan = make_plan({str(i): node for i, node in enumerate(NODES)}, sources_of(every[0]))
        together = [Evaluation(shape, keep=Nothing()) for shape in every]
        cotan.counts(reset=True)
        evaluate_together(plan, together, torch.float64)
        assert cotan.counts()["spectrum"].evaluations == len(every)
        assert torch.get_num_threads() == threads
        for evaluation in together:
            alone = Evaluation(evaluation.data, keep=Nothing())
            for step in plan.roots.values():
                assert (step.identity, torch.float64) in evaluation.values
                pairs = zip(tensors(evaluation.value(step)), tensors(alone.value(step)), strict=True)
                assert all(torch.equal(a, b) for a, b in pairs), step.label
    finally:
        torch.set_num_threads(before)


def test_a_function_of_lists_is_asked_for_few_shapes_where_their_values_are_large(monkeypatch):
    every = shapes()
    plan = make_plan({"views": cotan.node("views", size=16)}, sources_of(every[0]))
    step = plan.roots["views"]
    asked = []

    def of_many(pos, face, **options):
        asked.append(len(pos))
        return many(pos, face, **options)

    many = step.definition.many
    monkeypatch.setitem(step.definition.__dict__, "many", of_many)
    size = 12 * 4 * 16 * 16 * 8
    for bound, expected in ((10 * size, [2, 4]), (3 * size, [2, 2, 2]), (1, [2, 1, 1, 1, 1])):
        monkeypatch.setattr("cotan.together.LARGE", bound)
        together = [Evaluation(shape, keep=Nothing()) for shape in every]
        asked.clear()
        evaluate_together(plan, together, torch.float32)
        assert asked == expected
        for evaluation in together:
            assert (step.identity, None) not in evaluation.values  # float64 is let go
            assert torch.equal(evaluation.value(step, torch.float32), cotan.compute(evaluation.data, "views", size=16))


def test_a_shape_that_is_refused_is_named_and_the_others_are_not(fresh_store):
    every = shapes()
    flat = every[2].clone()
    flat.pos = torch.zeros_like(flat.pos)
    bare = every[3].clone()
    bare.face = bare.face[:, :0]
    for shape in every:
        shape.y = torch.tensor([0])
    model = cotan.create_model("diffusion", 3, 2, width=4, depth=1, k=8)
    good = prepare(model, every)
    flat.y = bare.y = torch.tensor([0])
    prepared = prepare(model, [*every[:4], flat, every[4], bare, every[5]], refuse=True)
    assert set(prepared.refused) == {4, 6}
    assert "without area" in prepared.refused[4]
    assert "without faces" in prepared.refused[6]
    for a, b in zip(prepared.samples, good.samples, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(tensors(a["mass"]), tensors(b["mass"]), strict=True))


def test_groups_hold_every_shape_once():
    sizes = [5, 9000, 12000, 3, 4, 50_000, 2, 1]
    data = [Data(num_nodes=size) for size in sizes]
    for alone in (0, 3):
        found = list(groups(data, alone=alone))
        assert [i for group in found for i in group] == list(range(len(sizes)))
        assert all(len(group) == 1 or sum(sizes[i] for i in group) <= 20_000 for group in found)
    assert [len(group) for group in groups(data, alone=3)][:3] == [1, 1, 1]
    assert list(groups([])) == []


def test_pairs_of_many_are_those_of_each():
    matrices, masses = zip(
        *(
            (cotan.compute(s, "laplacian", dtype=torch.float64), cotan.compute(s, "mass", dtype=torch.float64))
            for s in shapes()
        ),
        strict=True,
    )
    for k in (3, 40):
        for found, L, m in zip(eigenpairs_of_many(matrices, masses, k), matrices, masses, strict=True):
            alone = eigenpairs(L, m, k)
            assert torch.equal(found[0], alone[0])
            assert torch.equal(found[1], alone[1])
    with pytest.raises(cotan.CotanError, match="k=0"):
        eigenpairs_of_many(matrices, masses, 0)


def test_an_operator_that_is_not_what_many_says_fails_the_check(scratch):
    @cotan.operator("share_of_all", per="vertex", many=True)
    def share_of_all(pos):
        return pos / pos.abs().sum()

    with pytest.raises(AssertionError, match="several shapes at once"):
        cotan.testing.check_operator("share_of_all")


def test_what_moved_in_an_epoch_is_let_go_after_it(fresh_store):
    every = shapes()[:3]
    for shape in every:
        shape.y = torch.tensor([0])
    model = cotan.create_model("diffusion", 3, 2, width=4, depth=1, k=8)
    augmented = Augmented(model, every, ["random_rotation"], "shape")

    def held():
        augmented.epoch(held.epoch)
        held.epoch += 1
        return [len(evaluation.values) for evaluation in augmented.evaluations]

    held.epoch = 0
    held()
    assert held() == held()


HEIGHT = """
@cotan.operator(per="vertex"{given})
def height(pos):
    return {factor} * pos[:, 2]{more}
"""


def test_an_edited_operator_is_not_answered_by_what_it_stored_before(fresh_store, scratch, sphere):
    def run_cell(factor, more="", given=""):
        exec(HEIGHT.format(factor=factor, more=more, given=given), {"cotan": cotan, "__name__": "notebook"})
        cotan.counts(reset=True)
        height = cotan.compute(sphere, "height")
        return round(float(height.max() / sphere.pos[:, 2].max()), 4), cotan.counts()["height"].hits

    assert run_cell(1) == (1, 0)
    assert run_cell(2) == (2, 0)
    assert run_cell(1, more="  # a comment") == (1, 1)
    assert run_cell(1, given=", version=1") == (1, 0)
    assert run_cell(3, given=", version=1") == (1, 1)  # whoever gives a version raises it


def test_an_operators_address_is_the_same_in_another_process(tmp_path):
    """Sets of text come in another order in each process."""
    code = (
        "import cotan\n"
        "@cotan.operator\n"
        "def odd(pos): return pos.sum() if 'a' in {'a', 'b', 'c', 'd'} else [x for x in pos]\n"
        "print(cotan.make_plan({'': 'odd'}, ['pos']).roots[''].identity)"
    )
    seeds = [{**os.environ, "COTAN_PLUGINS": "off", "PYTHONHASHSEED": seed} for seed in "12"]
    said = {subprocess.run([sys.executable, "-c", code], env=e, capture_output=True, check=True).stdout for e in seeds}
    assert len(said) == 1


def test_an_operator_that_fails_is_shown_where(scratch, sphere):
    @cotan.operator
    def seventh(pos):
        return torch.stack(list(pos.T))[7]

    line = seventh.__code__.co_firstlineno + 2
    with pytest.raises(
        cotan.CotanError, match=rf"node 'seventh' failed: IndexError: .* \(.*test_evaluation\.py:{line}\)"
    ):
        cotan.compute(sphere, "seventh")


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError])
def test_want_of_memory_is_no_fault_of_a_shape(fresh_store, scratch, error):
    sizes = []

    @cotan.operator(per="vertex", many=True)
    def vast(pos):
        sizes.append(len(pos))
        if len(pos) > room[0]:
            raise error
        return pos[:, 0]

    every = shapes()
    room = [max(len(shape.pos) for shape in every)]
    model = cotan.create_model("linear", 1, 2, task="label", features="vast")
    assert len(prepare(model, every, per=None, refuse=True)) == len(every)
    assert max(sizes) > room[0]  # what is too much together is met one by one
    room[0] = 0
    every[0].pos = every[0].pos + 1
    with pytest.raises(error):
        prepare(model, every, per=None, refuse=True)


def test_a_gradient_through_a_shape_within_the_data_is_not_stored(sphere, scratch):
    cotan.source("other_shape", per="shape")
    sphere.other_shape = sphere.clone()
    sphere.other_shape.pos = sphere.pos.clone().requires_grad_()
    for _ in range(2):
        assert cotan.compute(sphere, cotan.node("mass", on="other_shape")).requires_grad
    sphere.pos = sphere.pos.double().requires_grad_()
    with torch.no_grad():
        assert not cotan.compute(sphere, "mass", dtype=torch.float64).requires_grad


def test_weights_within_an_operator_are_no_live_source(sphere, scratch):
    linear = torch.nn.Linear(3, 2).double()

    @cotan.operator(per="vertex", version=1)
    def encoded(pos):
        return linear(pos)

    assert not cotan.compute(sphere, "encoded").requires_grad


def test_a_source_of_ones_own_is_looked_at_as_the_others_are(sphere):
    cotan.source("depth", per="vertex")
    gap = torch.ones(642).index_fill(0, torch.tensor([3, 5]), torch.nan)
    for value, message in (
        (torch.ones(641), r"depth has shape \(641,\), expected a row for each of 642 vertices"),
        (gap, "depth has NaN or infinite values at 2 of 642 vertices"),
    ):
        sphere.depth = value
        for features in (["depth"], ["normalized_pos", "depth"]):
            with pytest.raises(cotan.CotanError, match=message):
                cotan.apply(cotan.create_model("mlp", 3 * len(features) - 2, 1, features=features), sphere)


def test_features_that_do_not_stand_side_by_side_are_named(sphere):
    cotan.source("age", per="shape")
    sphere.age, sphere.y = torch.tensor([[50.0]]), torch.tensor([1.0])
    splits = cotan.Splits([sphere], task="regress")
    for model in (
        lambda f: cotan.model_for("gcn", splits, features=f),
        lambda f: cotan.apply(cotan.create_model("gcn", 4, 1, features=f), sphere),
    ):
        with pytest.raises(
            cotan.CotanError, match="normalized_pos, one a vertex and age, one a shape cannot be joined"
        ):
            model(["normalized_pos", "age"])
        with pytest.raises(cotan.CotanError, match=r"shape_dna gives \(20,\), one a shape; expected a row for each"):
            model("shape_dna")
    for per, name in (("face", "face_areas"), ("edge", "edge_lengths")):
        with pytest.raises(cotan.CotanError, match=f"features: {name} is one a {per}, expected one a vertex"):
            cotan.apply(cotan.create_model("gcn", 1, 1, features=name), sphere)


def test_a_field_of_ones_own_says_how_many_vertices_there_are(scratch):
    @cotan.operator(gives=("temperature",), augments="noise")
    def noisy(temperature, *, seed=0):
        return Data(temperature=temperature + 1)

    cotan.source("temperature", per="vertex")
    graph = Data(edge_index=torch.tensor([[0], [1]]), temperature=torch.rand(4))
    assert cotan.compute(graph, "mass").shape == (4,)
    model = cotan.create_model("linear", 1, 1, task="regress-vertices", features="temperature")
    moved = cotan.apply(model, graph, on="noisy")
    graph.temperature += 1
    assert torch.equal(cotan.apply(model, graph), moved)


def drop_nodes(x, edge_index, num_nodes, *, share=0.4, seed=0):
    """Some vertices and their edges left out."""
    keep = torch.rand(num_nodes, generator=torch.Generator().manual_seed(seed)) >= share
    number = keep.cumsum(0) - 1
    return Data(x=x[keep], edge_index=number[edge_index[:, keep[edge_index].all(0)]])


class ByEdges(nn.Module):
    """The signal at both ends of each edge, and the sum of each shape: the numbers of vertices in a batch have to fit."""

    def forward(self, x, edge_index, batch, ptr):
        return x[edge_index].sum(0), cotan.pool(x, batch, len(ptr) - 1, "sum")


def test_an_augmentation_may_leave_vertices_out(scratch):
    cotan.operator("drop", gives=("x", "edge_index", "num_nodes"), augments="nodes")(drop_nodes)
    graphs = [Data(x=torch.rand(n, 3), edge_index=torch.randint(n, (2, 40))) for n in (9, 14, 11)]
    few = [drop_nodes(g.x, g.edge_index, g.num_nodes) for g in graphs]
    for model in (
        ByEdges(),
        *(cotan.create_model(name, 3, 2, width=8, depth=2) for name in ("gcn", "chebyshev", "spectral", "mlp")),
        cotan.create_model("gin", 3, 2, task="label"),
    ):
        prepared = prepare(model, graphs, per=None, on="drop")
        for found in (cotan.apply(model, graphs, on="drop"), cotan.forward(model, prepared.values(range(3)))):
            torch.testing.assert_close(found, cotan.apply(model, few))


def test_points_that_are_left_out_are_no_neighbours(scratch):
    """Also of several moves, of which each sees what the one before it gives."""

    @cotan.operator(gives=("pos", "num_nodes"), augments="points")
    def half(pos, *, seed=0):
        return Data(pos=pos[: len(pos) // 2])

    clouds = [Data(pos=torch.rand(n, 3)) for n in (21, 34)]
    model = cotan.create_model("edgeconv", 3, 2, width=8, depth=2, neighbours=4)
    for on, few in ((["half"], 2), (["half", "half"], 4), (["half", cotan.node("random_jitter", size=0.0)], 2)):
        expected = cotan.apply(model, [Data(pos=cloud.pos[: len(cloud.pos) // few]) for cloud in clouds])
        torch.testing.assert_close(cotan.apply(model, clouds, on=on), expected)


def test_an_augmentation_that_leaves_vertices_out_says_so(scratch):
    graphs = [Data(x=torch.rand(n, 3), edge_index=torch.randint(n, (2, 40))) for n in (9, 14)]
    cotan.operator("silent", gives=("x", "edge_index"), augments="nodes")(drop_nodes)
    with pytest.raises(cotan.CotanError, match=r"silent gives x of \d+ vertices, of 9; .* gives=\(..., 'num_nodes'\)"):
        cotan.apply(ByEdges(), graphs, on="silent")

    cotan.operator("drop", gives=("x", "edge_index", "num_nodes"), augments="nodes")(drop_nodes)
    for graph in graphs:
        graph.edge_weight = torch.rand(40)
    with pytest.raises(cotan.CotanError, match=r"drop gives num_nodes but not edge_weight \(per edge\), .* gives=\("):
        cotan.apply(cotan.create_model("gcn", 3, 2), graphs, on="drop")
    for graph in graphs:
        graph.y = torch.arange(graph.num_nodes) % 2
        del graph.edge_weight
    splits = cotan.Splits(graphs, [], graphs, task="label")
    for use in (
        lambda model: prepare(model, graphs, per="vertex", on="drop"),
        lambda model: cotan.fit(model, splits, epochs=1, val_share=0, augment="drop"),
    ):
        with pytest.raises(
            cotan.CotanError, match="drop changes the number of vertices, and there is a target at each"
        ):
            use(cotan.create_model("gcn", 3, 2, task="label"))


def test_an_augmentation_may_note_in_its_data_what_could_not_be_stored(scratch, tetrahedron):
    @cotan.operator(gives=("pos",), augments="shift")
    def shifted(pos, *, seed=0):
        return Data(pos=pos + 1, by=(pos.new_ones(3), object()))

    assert torch.equal(cotan.compute(tetrahedron, cotan.node("pos", on="shifted")), tetrahedron.pos + 1)


def test_what_an_augmentation_gives_of_vertices_may_be_a_matrix(scratch):
    cotan.source("links", per="vertex")
    cotan.operator("halved", gives=("links",), augments="links")(
        lambda links: Data(links=links.with_values(links.values / 2))
    )

    class Linked(nn.Module):
        def forward(self, x, links):
            return links @ x

    graph = Data(x=torch.rand(9, 3), edge_index=torch.randint(9, (2, 40)))
    graph.links = cotan.compute(graph, "adjacency")
    torch.testing.assert_close(cotan.apply(Linked(), [graph] * 2, on="halved"), cotan.apply(Linked(), [graph] * 2) / 2)


def test_beside_a_view_that_lacks_vertices_there_may_be_a_target_at_each(scratch):
    cotan.operator("drop", gives=("x", "edge_index", "num_nodes"), augments="nodes")(drop_nodes)

    class Contrast(nn.Module):
        def __init__(self):
            super().__init__()
            self.needs = {"view": cotan.node("x", on="drop"), "edges": cotan.node("edge_index", on="drop")}

        def forward(self, x, view, edges):
            return x - view[edges].mean((0, 1))

    graphs = [Data(x=torch.rand(n, 3), edge_index=torch.randint(n, (2, 40)), y=torch.arange(n)) for n in (9, 14)]
    prepared = prepare(Contrast(), graphs, per="vertex")
    assert torch.equal(cotan.forward(Contrast(), prepared.values(range(2))), cotan.apply(Contrast(), graphs))
    with pytest.raises(cotan.CotanError, match="drop changes the number of vertices"):
        prepare(Contrast(), graphs, per="vertex", on="drop")


def test_sources_that_do_not_fit_are_named(scratch):
    @cotan.operator(gives=("pos", "face"))
    def faceless(pos):
        return Data(pos=pos[:2])

    pos = torch.rand(4, 3)
    for data, request, message in (
        (Data(pos=pos), cotan.node("face_areas", on="faceless"), "the data of faceless has no 'face'"),
        (Data(pos=pos[:, 0]), "normalized_pos", r"pos has shape \(4,\), expected \(V, 3\)"),
    ):
        with pytest.raises(cotan.CotanError, match=message):
            cotan.compute(data, request)


def test_vertices_are_counted_by_edges_where_nothing_else_says():
    edges = torch.tensor([[0, 3], [3, 0]])
    assert cotan.compute(Data(edge_index=edges), "laplacian").shape == (4, 4)
    assert cotan.compute(Data(edge_index=edges, num_nodes=6), "laplacian").shape == (6, 6)


def test_shapes_on_several_devices_have_the_values_of_each_alone(sphere, gpu):
    plan = make_plan({"mass": "mass", "areas": "face_areas"}, ["pos", "face"])
    shapes = [sphere, sphere.clone().to(gpu)]
    found = evaluate_all(plan, shapes)
    assert [sample["mass"].device for sample in found] == [shape.pos.device for shape in shapes]
    assert torch.equal(found[0]["mass"], found[1]["mass"].cpu())


@pytest.mark.parametrize(("size", "name"), [(1e-23, "mass"), (1e-23, "spectrum"), (1e25, "face_areas"), (1e25, "x")])
def test_numbers_that_the_dtype_cannot_hold_are_refused(size, name, scratch):
    """Computed, stored in float64, and given; in float64 there is nothing to refuse, and infinity given stays."""
    data = shapes()[0]
    data.pos = data.pos.double() * size
    data.x = data.pos.abs().square()
    for _ in range(2):
        with pytest.raises(
            cotan.CotanError, match=rf"node '{name}.* gives numbers up to .*, which float32 cannot hold"
        ):
            cotan.compute(data, name)
        cotan.compute(data, name, dtype=torch.float64)
    apart = shapes()[-1]
    assert cotan.compute(apart, "geodesic_distance").isinf().any()


def test_numbers_whose_sum_is_no_float32_are_finite():
    x = torch.full((4, 1), 3e38)
    assert torch.equal(cotan.compute(Data(x=x), "x"), x)
    x[2] = torch.inf
    with pytest.raises(cotan.CotanError, match="x has NaN or infinite values at 1 of 4 vertices"):
        cotan.compute(Data(x=x), "x")


class OnMps(torch.Tensor):
    """A tensor that says it is on a Mac's GPU."""

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return func(*tree_map_only(cls, lambda tensor: tensor.here, args), **(kwargs or {}))


def test_what_lies_on_a_macs_gpu_is_refused():
    """It has no float64."""
    shape = example("mesh")
    pos = torch.Tensor._make_wrapper_subclass(OnMps, shape.pos.shape, dtype=shape.pos.dtype, device="mps")
    pos.here = 1.7 * shape.pos  # of which nothing is stored
    with pytest.raises(cotan.CotanError, match=r"pos is on mps, which has no float64, .*: data\.cpu\(\)"):
        cotan.compute(Data(pos=pos, face=shape.face), "mass")


def test_weights_as_networkx_names_them_are_not_ignored_without_a_word():
    from torch_geometric.utils import from_networkx

    graph = from_networkx(networkx.Graph([(0, 1, {"weight": 3.0}), (1, 2, {"weight": 5.0})]))
    for use in (
        lambda: cotan.compute(graph, "laplacian"),
        lambda: cotan.inputs(cotan.create_layer("gcn", 1, 1), graph),
    ):
        with pytest.warns(UserWarning, match=r"weight, .* is no edge_weight; data\.edge_weight = data\.weight"):
            use()
    graph.edge_weight = graph.weight
    assert cotan.compute(graph, "laplacian").diagonal().tolist() == [3, 8, 5]
    del graph.edge_weight
    graph.weight = torch.tensor([0.5])  # of the whole graph
    assert cotan.compute(graph, "laplacian").diagonal().tolist() == [1, 2, 1]
    for weight in (0.5, [1, 2], torch.empty(0)):  # of a mesh, which has no edges of its own
        cotan.compute(Data(pos=torch.eye(3), face=torch.tensor([[0], [1], [2]]), weight=weight), "mass")
