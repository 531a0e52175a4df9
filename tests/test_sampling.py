"""Neighbours drawn about a few vertices, and training on what is drawn."""

import json
from collections import Counter
from dataclasses import replace
from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare
from torch import nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import SAGEConv
from torch_geometric.utils import k_hop_subgraph
from typer.testing import CliRunner

import cotan
from cotan import NeighbourSampler
from cotan.application import forward
from cotan.batching import prepare
from cotan.cli import app
from cotan.datasets import Splits
from cotan.pattern import sorted_order
from cotan.sampling import Sampled, split
from cotan.training import Recipe, fit, model_for

QUICK = {"batch_size": 16, "lr": 1e-2, "progress": "none", "device": "cpu"}


def graph(vertices=40, edges=120, seed=0):
    """Directed, with loops, edges given twice and vertices without any."""
    g = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(vertices - 3, (2, edges), generator=g) if edges else torch.zeros(2, 0, dtype=torch.long)
    edge_index = torch.cat([edge_index, edge_index[:, :3], torch.arange(2 * (edges > 0)).expand(2, -1)], 1)
    count = edge_index.shape[1]
    return Data(
        x=torch.randn(vertices, 5, generator=g),
        edge_index=edge_index,
        edge_weight=torch.rand(count, generator=g),
        edge_attr=torch.randn(count, 2, generator=g),
        y=torch.randint(3, (vertices,), generator=g),
    )


graphs = st.builds(graph, st.integers(5, 30), st.integers(0, 60), st.integers(0, 99))


@settings(max_examples=40, deadline=None)
@given(graphs, st.lists(st.integers(0, 4), unique=True, min_size=1), st.integers(1, 4))
def test_with_all_neighbours_a_part_is_what_is_within_so_many_hops(data, seeds, hops):
    part = NeighbourSampler(data, [-1] * hops).about(seeds)
    within = k_hop_subgraph(seeds, hops, data.edge_index, num_nodes=data.num_nodes)[0]
    nearer = k_hop_subgraph(seeds, hops - 1, data.edge_index, num_nodes=data.num_nodes)[0]
    assert part.n_id.sort().values.tolist() == within.tolist()
    assert part.e_id.sort().values.tolist() == torch.isin(data.edge_index[1], nearer).nonzero()[:, 0].tolist()
    assert_cut(data, part, seeds)


@settings(max_examples=25, deadline=None)
@given(
    graphs,
    st.lists(st.integers(0, 4), unique=True),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.integers(0, 9),
)
def test_at_each_vertex_so_many_edges_are_drawn(data, seeds, sizes, seed):
    part = NeighbourSampler(data, sizes).about(torch.tensor(seeds, dtype=torch.long), seed)
    assert_cut(data, part, seeds)
    assert len(part.e_id.unique()) == len(part.e_id)
    degree, drawn = torch.bincount(data.edge_index[1], minlength=data.num_nodes), Counter(part.edge_index[1].tolist())
    hop = dict.fromkeys(range(len(seeds)), 0)  # each is reached from one that is reached before, breadth first
    for _ in sizes:
        for source, target in part.edge_index.T.tolist():
            if target in hop:
                hop[source] = min(hop.get(source, 99), hop[target] + 1)
    assert sorted(hop) == list(range(part.num_nodes))
    for vertex, number in hop.items():
        size = sizes[number] if number < len(sizes) else 0
        assert drawn[vertex] == min(size, int(degree[part.n_id[vertex]]))


def assert_cut(data, part, seeds):
    assert part.n_id[: part.batch_size].tolist() == list(seeds)
    assert part.mask.tolist() == [i < len(seeds) for i in range(part.num_nodes)]
    assert torch.equal(part.n_id[part.edge_index], data.edge_index[:, part.e_id])
    for name in ("x", "y"):
        assert torch.equal(part[name], data[name][part.n_id])
    for name in ("edge_weight", "edge_attr"):
        assert torch.equal(part[name], data[name][part.e_id])
    source, target = part.edge_index.tolist()
    assert sorted(zip(target, source)) == list(zip(target, source))


def test_every_set_of_neighbours_is_as_likely():
    hubs, leaves, size = 6000, 6, 3
    edge_index = torch.stack([torch.arange(hubs * leaves) + hubs, torch.arange(hubs * leaves) // leaves])
    part = NeighbourSampler(Data(edge_index=edge_index, num_nodes=hubs * (1 + leaves)), [size]).about(range(hubs), 1)
    counts = Counter(map(tuple, (part.e_id % leaves).reshape(hubs, size).sort(1).values.tolist()))
    assert len(counts) == 20
    assert chisquare(list(counts.values())).pvalue > 0.01


@pytest.mark.parametrize(
    ("layer", "options", "hops"),
    [
        ("sage", {}, 2),
        ("gin", {}, 2),
        ("gat", {"heads": 2}, 2),
        ("aggregate", {"edge_dim": 2}, 2),
        ("gcn", {}, 3),  # the degrees of the outermost too
    ],
)
def test_with_all_neighbours_a_models_output_is_that_of_the_whole(layer, options, hops):
    data, seeds = graph(200, 300), [7, 150, 199]
    torch.manual_seed(0)
    model = cotan.create_model(layer, 5, 3, task="label", depth=2, width=8, **options).double().eval()
    part = NeighbourSampler(data, [-1] * hops).about(seeds)
    assert part.num_nodes < 200
    with torch.no_grad():
        expected, found = cotan.apply(model, data)[seeds], cotan.apply(model, part)[:3]
        fewer = cotan.apply(model, NeighbourSampler(data, [-1] * (hops - 1)).about(seeds))[:3]
    assert torch.allclose(found, expected, atol=1e-12)
    assert not torch.allclose(fewer, expected, atol=1e-3)


def test_what_is_one_a_vertex_or_edge_is_cut_and_the_rest_is_there_as_it_is():
    cotan.source("index_of_refraction", per="vertex")
    cotan.source("bond_of_test", per="edge")
    edges = torch.arange(7, -1, -1).expand(2, -1)  # as many as vertices, in another order
    data = Data(x=torch.rand(8, 2), edge_index=edges, index_of_refraction=torch.arange(8), bond_of_test=torch.arange(8))
    data.update({"train_mask": np.arange(8) < 4, "y": list(range(8)), "edge_kind": torch.arange(8), "u": torch.rand(3)})
    data.update({"name": "graph", "batch": torch.zeros(8, dtype=torch.long), "ptr": torch.tensor([0, 8])})
    part = NeighbourSampler(data, [2]).about([5, 1])
    for name in ("index_of_refraction", "y"):
        assert part[name].tolist() == [5, 1]
    for name in ("bond_of_test", "edge_kind"):
        assert part[name].tolist() == [2, 6]
    assert part.train_mask.tolist() == [False, True]
    assert torch.equal(part.u, data.u)
    assert part.name == "graph"
    assert cotan.compute(part, "num_nodes") == 2
    assert "ptr" not in part
    cotan.source("partner_of_test", per="vertex", index="vertex")
    with pytest.raises(cotan.CotanError, match="partner_of_test holds vertex numbers"):
        NeighbourSampler(changed(partner_of_test=torch.zeros(40, 1).long()), [2])


def test_an_epoch_meets_each_seed_once_in_an_order_of_its_own():
    sampler = NeighbourSampler(graph(), [2, 2])
    mask = torch.arange(40) % 3 == 0
    epochs = [[part.n_id[part.mask].tolist() for part in sampler.batches(5, mask, seed=seed)] for seed in (0, 0, 1)]
    assert epochs[0] == epochs[1] != epochs[2]
    assert [len(seeds) for seeds in epochs[0]] == [5, 5, 4]
    assert sorted(chain(*epochs[0])) == sorted(chain(*epochs[2])) == mask.nonzero()[:, 0].tolist()
    parts = [sampler.about([0, 1, 2], seed).e_id.tolist() for seed in (0, 0, 1)]
    assert parts[0] == parts[1] != parts[2]
    assert len(list(sampler.batches(40))) == 1
    assert list(sampler.batches(5, mask & ~mask)) == []


def test_more_than_there_are_is_all():
    data, seeds = graph(), [0, 1, 2]
    every, many = (NeighbourSampler(data, sizes).about(seeds) for sizes in ([-1, -1], [10**12, 2**70]))
    assert torch.equal(every.e_id, many.e_id)
    assert torch.equal(every.n_id, many.n_id)


def test_a_seed_is_not_negative():
    with pytest.raises(cotan.CotanError, match="seed=-1"):
        NeighbourSampler(graph(), [2]).about([0], seed=-1)
    with pytest.raises(cotan.CotanError, match="seed=-1"):
        NeighbourSampler(graph(), [2]).batches(5, seed=-1)


def test_of_parts_nothing_is_stored(fresh_store, tmp_path):
    data = graph()
    model = cotan.create_model("gcn", 5, 3, task="label")
    for part in NeighbourSampler(data, [2, 2]).batches(8):
        cotan.apply(model, part)
    assert not list(tmp_path.rglob("*.safetensors"))
    cotan.apply(model, data)
    assert list(tmp_path.rglob("*.safetensors"))


def mesh():
    return Data(pos=torch.eye(3), face=torch.tensor([[0], [1], [2]]), edge_index=torch.tensor([[0], [1]]))


def changed(**values):
    data = graph()
    return data.update(values)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (mesh(), "along the edges of a graph, its edge_index; this is a mesh"),
        (Data(x=torch.rand(3, 2)), "edge_index; this is has x"),
        (Batch.from_data_list([graph(), graph()]), "a batch of 2 shapes"),
        (changed(y_index=torch.zeros(2, 4, dtype=torch.long)), "y_index holds vertex numbers"),
        (changed(edge_weight=torch.rand(4)), "edge_weight has 4 rows, expected one for each of 125 edges"),
        (changed(x=torch.rand(39, 2), num_nodes=40), "x has shape .39, 2., expected a row for each of 40 vertices"),
        (changed(edge_index=torch.tensor([[0], [40]]), edge_weight=None, edge_attr=None), "edge_index out of range"),
    ],
)
def test_what_has_no_neighbours_to_draw(data, message):
    with pytest.raises(cotan.CotanError, match=message):
        NeighbourSampler(data, [2])


@pytest.mark.parametrize("sizes", [(), 5, "15", (0,), (-2, 3), (1.5,), (True,), None])
def test_sizes_are_whole_numbers(sizes):
    with pytest.raises(cotan.CotanError, match="expected how many neighbours each hop draws"):
        NeighbourSampler(graph(), sizes)


@pytest.mark.parametrize("sizes", [np.array([3, 2]), torch.tensor([3, 2]), 0, None])
def test_a_recipe_takes_a_tuple_or_a_list(sizes):
    assert Recipe(sample=[3, 2]).sample == (3, 2)
    assert Recipe.of(Recipe(sample=[3, 2]), sample=[]).sample == ()
    with pytest.raises(cotan.CotanError, match=r"sample=.*expected how many neighbours each hop draws"):
        Recipe(sample=sizes)


@pytest.mark.parametrize("seeds", [[1, 1], [40], [-1], [[1, 2]], [0.5], torch.ones(3, dtype=torch.bool)])
def test_seeds_are_different_vertices(seeds):
    with pytest.raises(cotan.CotanError, match="seeds"):
        NeighbourSampler(graph(), [2]).about(seeds)


# --- fit ---------------------------------------------------------------------------------------------------------------


def deterministic(history):
    return [{k: v for k, v in line.items() if not k.endswith("_seconds")} for line in history]


@pytest.mark.parametrize(
    ("layer", "features", "sample"),
    [
        ("sage", None, (-1, -1)),
        ("gat", ["x", cotan.node("heat_kernel_signature", size=4)], (-1, -1)),
        ("gcn", None, [-1] * 3),
    ],
)
def test_a_step_with_all_neighbours_of_all_seeds_is_that_of_the_whole(layer, features, sample):
    data = cotan.load_dataset("blocks", nodes=120)
    runs = [
        fit(
            model_for(layer, data, seed=0, features=features, width=8, depth=2),
            data,
            **{**QUICK, "batch_size": 40, "epochs": 3, "sample": s},
        )
        for s in ((), sample)
    ]
    for line, other in zip(*(run.history for run in runs)):
        assert line["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert line["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)


def test_a_part_that_is_refused_where_the_whole_was_not_is_said_to_be_one():
    """The weights that reach vertex 0 sum to 5, and that of the one that is drawn may be negative."""
    data = Data(edge_index=torch.stack([torch.arange(1, 21), torch.zeros(20, dtype=torch.long)]), num_nodes=21)
    data.edge_weight = torch.tensor([-2.0] * 5 + [1.0] * 15)
    data.x, data.y, data.train_mask = torch.rand(21, 2), torch.arange(21) % 2, torch.arange(21) < 2
    recipe = {**QUICK, "epochs": 20, "val_share": 0}
    with pytest.raises(cotan.CotanError, match=r"sample: of a part, .* sum to -1, .* -1 draws all neighbours"):
        fit("gcn", [data], **recipe, sample=[1])
    fit("gcn", [data], **recipe, sample=[-1])


class Foreign(nn.Module):
    task = "label"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = SAGEConv(8, 16), SAGEConv(16, 4)

    def forward(self, x, edge_index):
        return self.second(self.first(x, edge_index).relu(), edge_index)


def test_a_module_of_pygs_trains_on_parts():
    data = cotan.load_dataset("blocks", nodes=120)
    settings = {**QUICK, "batch_size": 40, "epochs": 2}
    whole, parts = (fit(Foreign(), data, **settings, sample=sample).history for sample in ((), (-1, -1)))
    assert parts[1]["train_loss"] == pytest.approx(whole[1]["train_loss"], rel=1e-4)
    fewer = fit(Foreign(), data, **settings, sample=(2, 2)).history
    assert fewer[1]["train_loss"] != pytest.approx(whole[1]["train_loss"], rel=1e-3)


def test_a_resumed_run_draws_what_an_uninterrupted_one_does(tmp_path):
    data = cotan.load_dataset("blocks", nodes=120)
    recipe = {**QUICK, "sample": (3, 2)}
    whole, part = (fit("gat", data, **recipe, epochs=e, out=tmp_path / str(e)) for e in (4, 2))
    rest = fit("gat", data, **recipe, epochs=4, out=tmp_path / "2", resume=True)
    assert deterministic(rest.history) == deterministic(whole.history)
    assert len({line["train_loss"] for line in whole.history}) == 4
    with pytest.raises(cotan.CotanError, match=r"its recipe has sample=\[3, 2\], now it is \[3, 3\]"):
        fit("gat", data, **{**recipe, "sample": (3, 3)}, epochs=4, out=tmp_path / "2", resume=True)
    assert json.loads((tmp_path / "2/run.json").read_text())["recipe"]["sample"] == [3, 2]
    assert "sample" not in Recipe().record()
    assert part.recipe == Recipe.of(part.recipe.record())


def test_several_graphs_with_masks_and_a_few_seeds():
    lists = [cotan.load_dataset("blocks", nodes=n, labelled=10, seed=n) for n in (80, 100)]
    data = Splits(*([getattr(one, name)[0] for one in lists] for name in ("train", "val", "test")), task="label")
    seen = []
    model = model_for("sage", data, seed=0)
    model.register_forward_hook(lambda module, args, out: seen.append(len(out)))
    run = fit(model, data, **QUICK, epochs=1, sample=(2, 2))
    assert len(run.history) == 1
    assert len(seen) == 3 + 3 + 2 + 2  # ceil(40 / 16) parts of each graph, then val and test, each graph alone
    assert max(seen[:6]) < 80
    whole = prepare(model, data.train, per="vertex")
    parts = Sampled(model, data.train, whole, (2, 2)).batches(16, seed=0)
    of_second = [bool((data.train[1].x == part.values["features 0"][0]).all(1).any()) for part in parts]
    assert sorted(of_second) == [False] * 3 + [True] * 3 != of_second  # not one graph after the other


def test_sampling_learns_as_well_as_the_whole():
    data = cotan.load_dataset("blocks", nodes=1200, inside=0.05, between=0.01, signal=1.0, labelled=60)
    model, recipe = {"width": 16, "depth": 2}, {**QUICK, "batch_size": 64}
    whole, parts = (
        fit(model_for("sage", data, **model), data, **recipe, epochs=epochs, sample=sample).metrics["test_accuracy"]
        for epochs, sample in ((60, ()), (15, (15, 15)))  # four steps an epoch
    )
    assert parts > whole - 0.05 > 0.8


def test_a_model_deeper_than_the_hops_is_said(capsys):
    data = cotan.load_dataset("blocks", nodes=80)
    for depth, said in ((2, False), (3, True)):
        model = model_for("sage", data, depth=depth)
        fit(model, data, **QUICK | {"progress": "lines"}, epochs=1, sample=(2, 2))
        err = capsys.readouterr().err
        assert ("draws 2 hops" in err) == ("the model has 3 layers, and sample=(2, 2)" in err) == said


def test_on_another_device(gpu):
    data = cotan.load_dataset("blocks", nodes=80)
    model = model_for("gat", data).to(gpu)
    whole = prepare(model, data.train, per="vertex").to(gpu)
    for batch in Sampled(model, data.train, whole, (3, 3)).batches(16, 0):
        output, target = batch.counted(forward(model, batch.values))
        assert len(output) == len(target) == batch.count
        assert output.device.type == target.device.type == gpu.type
    part = NeighbourSampler(data.train[0].to(gpu), (3,)).about([1, 2])
    assert {value.device.type for value in part.to_dict().values() if isinstance(value, torch.Tensor)} == {gpu.type}


def test_numbers_at_vertices_are_learned_from_parts():
    data = cotan.load_dataset("blocks", nodes=200, signal=2.0, labelled=30)
    for one in (*data.train, *data.val, *data.test):
        one.y = torch.where(
            torch.rand(200, generator=torch.Generator().manual_seed(0)) < 0.2, torch.nan, one.x[:, 0] * 10
        )
    data = replace(data, task="regress-vertices", classes=())
    run = fit("sage", data, **QUICK, epochs=30, sample=(3, 3))
    assert run.metrics["test_root_mean_square_error"] < 0.5 * data.test[0].x[:, 0].mul(10).std()


@pytest.mark.parametrize(
    ("layer", "options", "recipe", "message"),
    [
        ("spectral", {"k": 8}, {}, "a part's eigenvectors are not the graph's"),
        ("edgeconv", {"neighbours": 4}, {}, r"'nearest_neighbours\(k=4\)' is made of all points"),
        ("sage", {}, {"augment": "random_rotation"}, "do not go together"),
    ],
)
def test_models_and_recipes_that_parts_do_not_serve(layer, options, recipe, message):
    data = cotan.load_dataset("blocks", nodes=80)
    for one in (*data.train, *data.val, *data.test):
        one.pos = torch.rand(80, 3)
    cotan.counts(reset=True)
    with pytest.raises(cotan.CotanError, match=message):
        fit(model_for(layer, data, **options), data, **QUICK, sample=(2, 2), **recipe)
    assert not cotan.counts()  # before anything is computed


def test_numbers_of_vertices_and_what_is_at_others_are_not_cut_out():
    coarse = cotan.node("mass", on="coarsen")
    cut, rest = split(cotan.make_plan({"x": "x", "coarse": coarse}, ["x", "edge_index", "num_nodes"]))
    assert (cut, [*rest.roots]) == (["x"], ["coarse"])
    with pytest.raises(cotan.CotanError, match="'farthest_points' is made of all points"):
        split(cotan.make_plan({"": "farthest_points"}, ["pos", "edge_index"]))


def test_tasks_that_parts_do_not_serve():
    whole = Splits([replace_y(graph(seed=i), torch.tensor([i % 2])) for i in range(4)], task="classify")
    with pytest.raises(cotan.CotanError, match="for tasks with targets at vertices; task 'classify'"):
        fit("sage", whole, **QUICK, sample=(2, 2))
    with pytest.raises(cotan.CotanError, match="this is a mesh"):
        fit("sage", Splits([replace_y(mesh(), torch.tensor([0, 1, 1]))], task="label"), **QUICK, sample=(2, 2))


def replace_y(data, y):
    data.y = y
    return data


def test_on_the_command_line(tmp_path):
    command = f"fit --model sage --dataset blocks -d nodes=80 --epochs 1 --out {tmp_path / 'run'} --sample"
    done = CliRunner().invoke(app, [*command.split(), "3,-1"])
    assert done.exit_code == 0, done.output
    assert json.loads((tmp_path / "run/run.json").read_text())["recipe"]["sample"] == [3, -1]
    for word in ("few", "3-", "²"):
        wrong = CliRunner().invoke(app, [*command.split(), word])
        assert f"sample=['{word}'], expected how many neighbours each hop draws" in str(wrong.exception) + wrong.output


@given(
    st.integers(0, 2000).flatmap(lambda n: st.tuples(st.just(n), st.integers(1, 40), st.integers(1, 40), st.booleans()))
)
@settings(max_examples=30, deadline=None)
def test_the_order_of_entries(case):
    count, rows, columns, sort = case
    rng = np.random.default_rng(count)
    row, col = rng.integers(rows, size=count), rng.integers(columns, size=count)
    if sort:
        row, col = (part[np.lexsort([col, row])] for part in (row, col))
    order = sorted_order(torch.from_numpy(row), torch.from_numpy(col), (rows, columns))
    assert np.array_equal(order, np.lexsort([col, row]))
