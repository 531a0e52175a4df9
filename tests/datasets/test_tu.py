"""Sets of small graphs from raw files: features, folds, and PyG's own reader beside."""

import gzip
import importlib.util
import shutil
from pathlib import Path

import pytest
import torch

import cotan
from cotan_datasets.tu import stratified

ROOT = Path(__file__).parents[2]


@pytest.fixture
def own(tmp_path) -> Path:
    """OWN: a triangle and a path of three, in turn, six times; 1 of a path, 3 of a triangle; the middle node is 5."""
    edges, indicator = [], []
    for graph in range(12):
        a, b, c = (3 * graph + i for i in (1, 2, 3))
        pairs = [(a, b), (b, c)] + ([(c, a)] if graph % 2 == 0 else [])
        edges += sorted(pairs + [(j, i) for i, j in pairs])
        indicator += [graph + 1] * 3
    write(tmp_path, "A", [f"{i}, {j}" for i, j in edges])
    write(tmp_path, "graph_indicator", indicator)
    write(tmp_path, "graph_labels", [3, 1] * 6)
    return tmp_path


def write(folder: Path, part: str, lines: list) -> None:
    (folder / f"OWN_{part}.txt").write_text("".join(f"{line}\n" for line in lines))


def load(folder: Path, **options):
    return cotan.load_dataset("tu", name="OWN", root=str(folder), **{"folds": 3, **options})


def test_degrees_where_there_are_no_labels(own):
    data = load(own)
    assert (len(data.train), len(data.val), len(data.test), data.classes) == (8, 0, 4, ("1", "3"))
    for graph in data.train + data.test:
        triangle = int(graph.y) == 1
        assert graph.x.tolist() == ([[0, 1]] * 3 if triangle else [[1, 0], [0, 1], [1, 0]])
        edges = {(0, 1), (1, 0), (1, 2), (2, 1)} | ({(0, 2), (2, 0)} if triangle else set())
        assert set(map(tuple, graph.edge_index.T.tolist())) == edges
        assert "edge_attr" not in graph
    assert load(own, nodes="ones").train[0].x.tolist() == [[1], [1], [1]]
    with pytest.raises(cotan.CotanError, match="nodes='attributes', but nodes and edges of this set have none"):
        load(own, nodes="attributes")


def test_labels_and_attributes(own):
    write(own, "node_labels", [2, 5, 2] * 12)
    write(own, "node_attributes", [f"{i}.5, 0" for i in range(36)])
    rows = (own / "OWN_A.txt").read_text().splitlines()
    write(own, "edge_labels", [int(row.split(",")[0]) % 2 for row in rows])
    data = load(own)
    for graph in data.train:
        assert graph.x.tolist() == [[1, 0], [0, 1], [1, 0]]
        assert graph.edge_attr.shape == (graph.edge_index.shape[1], 2)
        assert (graph.edge_attr.argmax(1) == graph.edge_attr[0].argmax()).tolist() == (
            graph.edge_index[0] % 2 == graph.edge_index[0, 0] % 2
        ).tolist()
    numbers = sorted(v for graph in load(own, nodes="attributes").train for v in graph.x[:, 0].tolist())
    rest = sorted(v for graph in load(own, nodes="attributes").test for v in graph.x[:, 0].tolist())
    assert sorted(numbers + rest) == [i + 0.5 for i in range(36)]
    write(own, "node_labels", [f"{10**9}, 0", "7, 1", f"{10**9}, 2"] * 12)
    assert load(own).train[0].x.tolist() == [[0, 1, 1, 0, 0], [1, 0, 0, 1, 0], [0, 1, 0, 0, 1]]
    (own / "OWN_node_labels.txt").unlink()
    assert load(own).train[0].x[0, 0] % 1 == 0.5  # attributes, rather than degrees
    write(own, "edge_attributes", [row.replace(",", ".") for row in (r.replace(", ", ",") for r in rows)])
    graph = load(own, nodes="attributes").train[0]
    assert graph.edge_attr.shape == (graph.edge_index.shape[1], 3)
    assert load(own).train[0].edge_attr.shape[1] == 2
    (own / "OWN_node_attributes.txt").unlink()
    graph = load(own, nodes="attributes").train[0]
    assert graph.edge_attr.shape[1] == 3
    assert torch.equal(graph.x, load(own, nodes="degree").train[0].x)


def test_graphs_without_edges_and_of_one_node(own):
    """Also the last, and in files of another system's line ends and marks, or without a last line end."""
    write(own, "graph_indicator", [g + 1 for g in range(12) for _ in range(3)] + [13, 14, 14])
    write(own, "graph_labels", [3, 1] * 7)
    for end in ("\r\n", ""):
        for file in own.iterdir():
            text = file.read_text("utf-8-sig")
            file.write_text(*((text, "utf-8-sig") if end else (text.rstrip(),)), newline=end or None)
        data = load(own)
        sizes = sorted((g.num_nodes, g.edge_index.shape[1]) for g in data.train + data.test)
        assert sizes == [(1, 0), (2, 0), *[(3, 4)] * 6, *[(3, 6)] * 6]
    write(own, "A", [])
    assert {g.edge_index.shape for g in load(own).train} == {(2, 0)}
    run = cotan.fit("gin", load(own), epochs=1, progress="none", device="cpu")
    assert 0 <= run.metrics["test_accuracy"] <= 1


def test_numbers_instead_of_classes(own):
    write(own, "graph_attributes", [f"{i}.5, {-i}" for i in range(12)])
    assert load(own).task == "classify"  # labels, where a set has both
    (own / "OWN_graph_labels.txt").unlink()
    data = load(own)
    assert (data.task, data.classes, len(data.train), len(data.test)) == ("regress", (), 8, 4)
    assert sorted(float(g.y[0, 0]) for g in data.train + data.test) == [i + 0.5 for i in range(12)]
    run = cotan.fit("gin", data, epochs=1, progress="none", device="cpu")
    assert run.metrics["test_mean_absolute_error"] > 0
    (own / "OWN_graph_attributes.txt").unlink()
    with pytest.raises(cotan.CotanError, match=r"has no OWN_graph_labels\.txt or OWN_graph_attributes\.txt"):
        load(own)


@pytest.mark.parametrize(
    ("part", "lines", "message"),
    [
        ("A", ["1, 4"], r"OWN_A\.txt: 1 edges join two graphs, the first in line 1"),
        ("A", ["1, 2", "0, 1"], r"OWN_A\.txt: nodes 0 to 2, expected 1 to 36"),
        ("A", ["1, 37"], r"OWN_A\.txt: nodes 1 to 37, expected 1 to 36"),
        ("A", ["1, 2, 3", "2, 1, 3"], r"OWN_A\.txt has 3 numbers a line"),
        ("A", ["1, two"], "no table of numbers"),
        ("A", ["1, 2 # 3"], "no table of numbers"),
        ("A", ["1, 2.5"], "something else than whole numbers"),
        ("graph_indicator", [1, 2, 1], "the nodes of each together"),
        ("graph_labels", [1, 2], r"nodes of 12 graphs, but OWN_graph_labels\.txt has 2 lines"),
        ("graph_labels", [1, 2] * 7, r"nodes of 12 graphs, but OWN_graph_labels\.txt has 14 lines"),
        ("graph_labels", ["1, 2"] * 12, "has 2 labels a graph, expected one"),
        ("node_labels", [1, 2], r"node_labels\.txt has 2 lines, expected 36"),
        ("edge_attributes", [0.5], r"edge_attributes\.txt has 1 lines, expected 60"),
    ],
)
def test_files_that_do_not_fit_each_other(own, part, lines, message):
    write(own, part, lines)
    with pytest.raises(cotan.CotanError, match=message):
        load(own)


def test_damaged_archives_are_named(own):
    packed = gzip.compress((own / "OWN_A.txt").read_bytes())
    (own / "OWN_A.txt").unlink()
    for content in (packed[:-9], packed[:10] + b"\xff" * 9 + packed[19:], b"plain"):
        (own / "OWN_A.txt.gz").write_bytes(content)
        with pytest.raises(cotan.CotanError, match=r"OWN_A\.txt\.gz is no table of numbers"):
            load(own)


def test_an_edge_listed_twice_and_a_self_loop(own):
    rows = (own / "OWN_A.txt").read_text().splitlines()
    write(own, "A", [*rows, rows[0], "2, 2"])
    write(own, "edge_labels", [*[i % 2 for i in range(len(rows))], 0, 1])
    data = load(own)
    for graph in data.train + data.test:
        assert graph.edge_index.shape[1] in (4, 6)
        assert (graph.edge_attr.sum(1) == 1).all()


@pytest.mark.parametrize("counts", [(63, 125), (3, 4, 20), (10,)])
def test_folds_part_the_whole_evenly(counts):
    y = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    y = y[torch.randperm(len(y), generator=torch.Generator().manual_seed(1))]
    folds = [stratified(y, 5, 0, i) for i in range(5)]
    assert torch.equal(torch.cat(folds).sort().values, torch.arange(len(y)))
    by_class = torch.stack([torch.bincount(y[fold], minlength=len(counts)) for fold in folds])
    assert ((by_class.amax(0) - by_class.amin(0)) <= 1).all()
    assert by_class.sum(1).max() - by_class.sum(1).min() <= 1
    assert any(not torch.equal(a, stratified(y, 5, 1, i)) for i, a in enumerate(folds))


def test_folds_from_files(own, tmp_path):
    ours = [g.edge_index.shape[1] for g in load(own, folds=2, fold=0).test]
    folder = tmp_path / "10fold_idx"
    folder.mkdir()
    (folder / "test_idx-1.txt").write_text("0\n2\n")
    (folder / "test_idx-2.txt").write_text("1 3\n5\n", "utf-8-sig")
    assert [g.edge_index.shape[1] for g in load(own, indices=str(folder)).test] == [6, 6] != ours
    second = load(own, indices=str(folder), fold=1)
    assert [g.edge_index.shape[1] for g in second.test] == [4, 4, 4]
    assert len(second.train) == 9
    assert load(own, indices=str(folder / "test_idx-2.txt")).digest == second.digest
    for text in ("0 12", "1 1", "", "one"):
        (folder / "test_idx-1.txt").write_text(text)
        with pytest.raises(cotan.CotanError, match=r"test_idx-1\.txt"):
            load(own, indices=str(folder))


def test_folds_of_a_set_have_each_class_evenly_and_wrong_ones_are_refused(own):
    for seed in range(4):
        assert sorted(int(graph.y) for graph in load(own, seed=seed).test) == [0, 0, 1, 1]
    for options in ({"fold": 3}, {"fold": -1}, {"folds": 1}, {"folds": 13}):
        with pytest.raises(cotan.CotanError, match="expected 2 to 12 folds and one of them, from 0"):
            load(own, **options)


def test_the_fold_as_val_is_asked_for(own):
    data = load(own, val="test")
    assert data.val == data.test
    plain = load(own).with_val()
    ids = [{id(graph) for graph in shapes} for shapes in (plain.train, plain.val, plain.test)]
    assert len(ids[1]) == 2  # a fifth of each class in the other folds
    assert len(set.union(*ids)) == sum(map(len, ids)) == 12
    with pytest.raises(cotan.CotanError, match="unknown val of tu 'fold'"):
        load(own, val="fold")
    with pytest.raises(cotan.CotanError, match=r"unknown nodes of tu 'label'\. Did you mean 'labels'"):
        load(own, nodes="label")


def test_mutag_is_as_pyg_reads_it(real_data, tmp_path):
    from torch_geometric.datasets import TUDataset

    shutil.copytree(real_data / "tu/MUTAG", tmp_path / "MUTAG")
    theirs = {digest(graph) for graph in TUDataset(str(tmp_path), "MUTAG")}
    data = cotan.load_dataset("tu", root=str(real_data / "tu"))
    assert {digest(graph) for graph in data.train + data.test} == theirs
    assert (len(data.train + data.test), data.classes) == (188, ("-1", "1"))


def test_two_protocols_for_a_suite_of_folds():
    spec = importlib.util.spec_from_file_location("folds", ROOT / "tests/benchmarks/folds.py")
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    # Each fold's own best epochs are 1 and 3; that of the mean is 2.
    epoch, mean, deviation = bench.paper(torch.tensor([[0.9, 0.8, 0.1], [0.2, 0.7, 0.8]]))
    assert (epoch, mean, deviation) == (2, pytest.approx(0.75), pytest.approx(0.05))
    folds = [entry.options["fold"] for entry in cotan.Suite.read("mutag").datasets]
    assert folds == list(range(10))


def digest(graph) -> str:
    return str([graph[name].tolist() for name in ("x", "edge_index", "edge_attr", "y")])


def test_a_name_with_folders_in_it_reads_and_writes_nowhere_else(tmp_path):
    with pytest.raises(cotan.CotanError, match=r"tu: name='../x', expected the name of a set, without folders"):
        cotan.load_dataset("tu", name="../x", root=str(tmp_path))
