"""Preparation: shapes that have one graph share its matrices, whatever else they hold."""

import itertools
import math
from functools import partial

import pytest
import torch
from torch.utils.data import DataLoader, Subset
from torch_geometric.data import Batch, Data

import cotan
from cotan.application import forward
from cotan.batching import Augmented, prepare
from cotan.packing import Packing
from cotan.stored import Facts


def path(length: int, seed: int) -> Data:
    here = torch.arange(length - 1)
    edge_index = torch.cat([torch.stack([here, here + 1]), torch.stack([here + 1, here])], 1)
    x = torch.randn(length, 2, generator=torch.Generator().manual_seed(seed))
    return Data(x=x, edge_index=edge_index, y=torch.tensor([seed % 2]))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return cotan.create_model("chebyshev", 2, 2, width=4, depth=2)


def laplacian(values):
    return next(v for name, v in values.items() if name.startswith("rescaled_laplacian"))


def test_one_graph_one_matrix(model, fresh_store):
    shapes = [path(5, i) for i in range(6)]
    prepared = prepare(model, shapes)
    assert len({id(laplacian(sample)) for sample in prepared.samples}) == 1
    assert cotan.counts()["rescaled_laplacian"].evaluations == 1
    first, second = prepared.values([0, 1, 2]), prepared.values([3, 4, 5])
    assert laplacian(first) is laplacian(second)
    assert torch.allclose(forward(model, second), torch.cat([cotan.apply(model, s) for s in shapes[3:]]), atol=1e-6)


@pytest.mark.parametrize("held", [2**30, 0])
def test_lists_of_one_graph_have_one_matrix(held, model, fresh_store, monkeypatch):
    monkeypatch.setattr("cotan.packing.HELD", held)
    monkeypatch.setattr("cotan.packing.SMALL", held)
    keep = Packing()
    train, val = (prepare(model, [path(5, i)], keep=keep) for i in range(2))
    assert laplacian(train.samples[0]) is laplacian(val.samples[0])
    assert train.seconds > 0 == val.seconds


def test_mixed_batches(model, fresh_store):
    shapes = [path(5 + i % 2, i) for i in range(4)]
    prepared = prepare(model, shapes)
    assert len({id(laplacian(sample)) for sample in prepared.samples}) == 2
    alone = [cotan.apply(model, shape) for shape in shapes]
    for places in ([0, 1, 2, 3], [0, 2], [3, 1, 1], [0]):
        together = forward(model, prepared.values(places))
        assert torch.allclose(together, torch.cat([alone[i] for i in places]), atol=1e-6)


def test_seconds_of_a_shared_value_count_once(model, fresh_store):
    prepared = prepare(model, [path(5, i) for i in range(4)])
    again = prepare(model, [path(5, i) for i in range(4)])
    assert prepared.seconds > 0
    assert again.seconds == pytest.approx(prepared.seconds)
    assert cotan.counts()["rescaled_laplacian"].evaluations == 1


def test_sharing_survives_a_move_that_changes_nothing(model, fresh_store):
    from cotan.values import move

    A = cotan.compute(path(5, 0), "rescaled_laplacian")
    assert move(A, "cpu") is A
    assert move(A, dtype=torch.float32) is A
    assert move(A, dtype=torch.float64) is not A


def smooth(k: int):
    return cotan.create_model("smooth-spectral", 2, 2, width=4, depth=1, k=k)


def test_small_values_of_many_shapes_are_few_files(fresh_store):
    shapes = [path(9 + i, i) for i in range(20)]
    models = {"nine": smooth(9), "five": smooth(5)}
    cotan.counts(reset=True)
    first = prepare(models, shapes)["five"]
    assert cotan.counts(reset=True)["spectrum"].evaluations == 20  # nine pairs answer five
    summary = fresh_store.summary()
    assert summary["spectrum"][0] == 20
    assert len(list(fresh_store.entries())) == len(summary)
    again = prepare(models, shapes)["five"]
    assert sum(count.evaluations for count in cotan.counts().values()) == 0
    for a, b in zip(first.samples, again.samples, strict=True):
        leaves = zip(*(torch.utils._pytree.tree_leaves(dict(sample)) for sample in (a, b)), strict=True)
        assert all(torch.equal(torch.as_tensor(x), torch.as_tensor(y)) for x, y in leaves)
    prepare({"four": smooth(4)}, shapes)
    assert cotan.counts()["spectrum"].evaluations == 0  # and, from their packs, four


def test_large_values_are_not_held(fresh_store, monkeypatch):
    monkeypatch.setattr("cotan.packing.HELD", 1000)
    facts = Facts("mass", "mass", {}, "", 0.0)
    with Packing() as packing:
        packing.put("record", {"genus": 1}, facts)
        for i in range(5):
            packing.put(f"key {i}", torch.ones(100), facts)
        assert list(packing.recent) == ["key 3", "key 4"]
        assert packing.get("record", "mass") == {"genus": 1}  # which waits to be written
        packing.get("key 3", "mass")
        packing.put("key 6", torch.ones(100), facts)
        assert list(packing.recent) == ["key 3", "key 6"]
        packing.put("key 5", torch.ones(1000), facts)
        assert (list(packing.recent), packing.held) == ([], 0)
        assert len(packing.get("key 0", "mass")) == 100
        packing.write()
        assert len(packing.get("key 5", "mass")) == 1000


def test_a_large_value_or_a_full_pack_is_written_at_once(fresh_store, monkeypatch):
    monkeypatch.setattr("cotan.packing.FULL", 1000)
    monkeypatch.setattr("cotan.packing.SMALL", 500)
    facts = Facts("mass", "mass", {}, "", 0.0)
    with Packing() as packing:
        for key, size in (("small", 100), ("second", 100), ("large", 200)):
            packing.put(key, torch.ones(size), facts)
        assert packing.held == 4 * 400
        packing.put("large", torch.ones(200), facts)
        assert packing.held == 4 * 400  # once
        assert [fresh_store.get(key, "mass") is None for key in ("small", "second", "large")] == [True, True, False]
        packing.put("third", torch.ones(100), facts)
        assert fresh_store.get("small", "mass") is not None
        assert not packing.waiting
    assert fresh_store.summary()["mass"][0] == 4


def test_a_mesh_beside_a_graph_is_no_cloud_of_points(model, sphere):
    """What each has alone decides what nodes it has: the two have only pos, by which both would be clouds."""
    mesh = sphere.clone()
    mesh.x = torch.ones(mesh.num_nodes, 2)
    graph = Data(x=mesh.x, pos=mesh.pos, edge_index=cotan.compute(mesh, "edge_index"))
    expected = "of edge_index and face, shape 0 has face and shape 1 has edge_index: expected shapes of one kind"
    for call in (cotan.apply, cotan.inputs, partial(prepare, per=None)):
        with pytest.raises(cotan.CotanError, match=expected):
            call(model, [mesh, graph])
        with pytest.raises(cotan.CotanError, match="of face, shape 0 has face and shape 2 has none"):
            call(model, [mesh, mesh, Data(x=mesh.x, pos=mesh.pos)])
    dense = cotan.create_model("mlp", 2, 2, task="label")  # which asks for nothing but x
    assert cotan.apply(dense, [mesh, graph]).shape == (2 * mesh.num_nodes, 2)


def test_models_of_several_dtypes_are_not_prepared_together(model):
    with pytest.raises(cotan.CotanError, match=r"models of several dtypes .*: torch\.float"):
        prepare({"a": model, "b": smooth(5).double()}, [path(9, 0)])


@pytest.mark.parametrize("per", ["shape", "vertex"])
def test_shapes_without_targets_are_counted_and_told_how(model, per, fresh_store):
    shapes = [path(5, i) for i in range(3)]
    for shape in shapes[1:]:
        del shape.y
    with pytest.raises(cotan.CotanError, match=r"2 of 3 shapes have no y, the first is number 1: .* per=None"):
        prepare(model, shapes, per=per)
    assert fresh_store.summary() == {}
    prepared = prepare(model, shapes, per=None)
    assert len(prepared.samples) == 3
    assert [(batch.count, batch.target.shape) for batch in prepared.batches(2)] == [(2, (2, 0)), (1, (1, 0))]


def test_masks_of_moved_shapes_are_those_of_the_shapes():
    shapes = [Data(pos=torch.rand(4, 3), y=torch.arange(4) % 2, mask=torch.arange(4) > i) for i in range(2)]
    augmented = Augmented(cotan.create_model("linear", 3, 2, task="label"), shapes, ["random_rotation"], "vertex")
    assert [mask.sum().item() for mask in augmented.epoch(0).masks] == [3, 2]


def test_batches_are_of_nearly_one_size_and_in_order():
    prepared = prepare(cotan.create_model("linear", 2, 2), [path(3, i) for i in range(11)], per=None)
    for count in range(1, 12):
        order = torch.randperm(11, generator=torch.Generator().manual_seed(count))[:count].tolist()
        for size in range(1, 13):
            places = prepared.places(size, order)
            assert [place for batch in places for place in batch] == order
            assert len(places) == math.ceil(count / size)
            sizes = list(map(len, places))
            assert max(sizes) <= size
            assert max(sizes) - min(sizes) <= 1
    assert prepared.places(4) == [[0, 1, 2, 3], [4, 5, 6], [7, 8, 9, 10]]


def test_one_shape_or_a_batch_of_pygs_or_a_part_of_a_dataset_is_prepared_as_a_list_is(model):
    shapes = [path(5 + i % 2, i) for i in range(4)]
    expected = cotan.apply(model, shapes)
    for given, count in (
        (Batch.from_data_list(shapes), 4),
        (shapes[0], 1),
        (tuple(shapes), 4),
        (Subset(shapes, [0, 1, 2]), 3),
    ):
        prepared = prepare(model, given)
        assert [int(t) for t in prepared.targets] == [0, 1, 0, 1][:count]
        torch.testing.assert_close(forward(model, prepared.values(range(count))), expected[:count])


def test_no_places_are_no_batches(model):
    assert list(prepare(model, [path(5, 0)]).batches(4, [])) == []


def test_targets_of_vertices_that_were_prepared_as_those_of_shapes(model):
    shapes = [path(5 + i, i) for i in range(2)]
    for shape in shapes:
        shape.y = torch.zeros(shape.num_nodes)
    words = (
        r"targets of sizes \(5,\), \(6,\), expected one size; for a target a vertex: prepare\(\.\.\., per='vertex'\)"
    )
    with pytest.raises(cotan.CotanError, match=words):
        next(prepare(model, shapes).batches(2))
    assert next(prepare(model, shapes, per="vertex").batches(2)).target.shape == (11,)


def test_a_loader_of_torchs_gives_the_batches(model):
    prepared = prepare(model, [path(5 + i % 2, i) for i in range(6)])
    loader = DataLoader(range(6), batch_size=3, sampler=[4, 1, 2, 0, 0, 5], collate_fn=prepared.collate)
    for found, expected in zip(loader, prepared.batches(3, [4, 1, 2, 0, 0, 5]), strict=True):
        assert torch.equal(found.target, expected.target)
        assert torch.equal(forward(model, found.values), forward(model, expected.values))


def test_each_motion_of_each_epoch_is_another_and_is_let_go():
    shapes = [Data(pos=torch.rand(4, 3), y=torch.tensor(0)) for _ in range(2)]
    augmented = Augmented(cotan.create_model("linear", 3, 2), shapes, ["random_rotation", "random_jitter"], "shape")
    seeds = [
        step.options["seed"]
        for epoch in range(3)
        for step in augmented.plan(epoch).steps
        if step.transient
        if "seed" in step.options
    ]
    assert len(set(seeds)) == 6
    assert min(seeds) >= 0
    held = []
    for epoch in range(3):
        augmented.epoch(epoch)
        held.append([len(evaluation.values) for evaluation in augmented.evaluations])
    assert held[0] == held[1] == held[2]


def test_other_processes_are_offered_the_rest_at_what_a_shape_took(fresh_store, monkeypatch):
    """The first is not counted: what all share, it computed. A motion is of this process alone."""
    offered, clock = [], itertools.count()
    monkeypatch.setattr("cotan.batching.warm", lambda *given: offered.append(given[1:-1]) or {})
    monkeypatch.setattr("cotan.evaluation.time.perf_counter", lambda: float(next(clock)))  # all takes a second
    shapes = [Data(pos=torch.rand(4, 3)) for _ in range(5)]
    model = cotan.create_model("linear", 3, 2)
    prepared = prepare(model, shapes, per=None)
    assert offered == [(shapes, 3, torch.float32, 1.0)]
    assert prepared.seconds == sum(prepared.nodes.values()) == 5
    prepare(model, shapes[:3], per=None)
    prepare(model, shapes, per=None, on="random_rotation")
    assert len(offered) == 1


def test_what_is_refused_is_named_by_its_place_and_file(fresh_store):
    shapes = [Data(pos=torch.rand(4, 3), path=f"{i}.off") for i in range(3)]
    shapes[1].pos[0] = torch.nan
    model = cotan.create_model("linear", 3, 2)
    with pytest.raises(cotan.CotanError, match=r"^shape 1 of 3 \(1\.off\): "):
        prepare(model, shapes, per=None)
    prepared = prepare(model, shapes, per=None, refuse=True)
    assert (len(prepared), list(prepared.refused), prepared.lost) == (2, [1], 0)
    assert prepared.refusals().startswith("1 of 3 refused; it: shape 1 of 3 (1.off): ")
    with pytest.raises(cotan.CotanError, match="made for in_dim=7"):
        prepare(cotan.create_model("linear", 7, 2), shapes[2:], per=None)


def test_what_took_long_is_written_at_once(fresh_store, monkeypatch):
    monkeypatch.setattr("cotan.packing.DEAR", 0.0)
    written = []
    shapes = [path(9 + i, i) for i in range(3)]
    prepare(smooth(5), shapes, progress=lambda *_: written.append(fresh_store.summary()["spectrum"][0]))
    assert written == [1, 2, 3]


def test_prepared_shapes_are_shown_in_a_line(model):
    assert str(prepare(model, [path(5, i) for i in range(3)])).startswith("Prepared(3 shapes; Plan(")
