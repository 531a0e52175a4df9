"""Citation graphs from raw files: where these are looked for, the splits, and PyG's own reader beside."""

import pickle
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse
import torch

import cotan
from cotan_datasets.planetoid import PARTS, _drawn

LABELLED, ALL, TEST, WORDS, CLASSES = 6, 506, 10, 4, 3


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """A ring of 516 papers in the format of the raw files; paper i is of class i % 3, and has i % 5 words."""
    folder = tmp_path_factory.mktemp("raw")
    n = ALL + TEST
    x = np.zeros((n, WORDS), dtype=np.float32)
    for i in range(n):
        x[i, : i % 5] = 1
    y = np.eye(CLASSES, dtype=np.int32)[np.arange(n) % CLASSES]
    shuffled = ALL + np.random.default_rng(0).permutation(TEST)
    content = {
        "x": scipy.sparse.csr_matrix(x[:LABELLED]),
        "allx": scipy.sparse.csr_matrix(x[:ALL]),
        "tx": scipy.sparse.csr_matrix(x[shuffled]),
        "y": y[:LABELLED],
        "ally": y[:ALL],
        "ty": y[shuffled],
        "graph": {i: [(i - 1) % n, (i + 1) % n] for i in range(n)},
    }
    for part, value in content.items():
        (folder / f"ind.cora.{part}").write_bytes(pickle.dumps(value))
    (folder / "ind.cora.test.index").write_text("\n".join(map(str, shuffled)) + "\n")
    return folder


@pytest.fixture
def no_data(tmp_path, monkeypatch) -> Path:
    """Nothing to be found but by root or a download: the cache's folder, empty."""
    monkeypatch.delenv("COTAN_DATA", raising=False)
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("COTAN_CACHE", "~/cache")
    return tmp_path / "cache"


@pytest.mark.parametrize("inner", ["", "raw", "Cora", "Cora/raw"])
def test_a_ring(raw, tmp_path, inner):
    shutil.copytree(raw, tmp_path / "mine" / inner, dirs_exist_ok=True)
    before = sorted((tmp_path / "mine").rglob("*"))
    data = cotan.load_dataset("planetoid", root=str(tmp_path / "mine"))
    assert sorted((tmp_path / "mine").rglob("*")) == before
    graph = data.test[0]
    n = ALL + TEST
    assert torch.equal(graph.y, torch.arange(n) % 3)
    words = torch.arange(n) % 5
    assert torch.equal(graph.x[:, 0], torch.where(words > 0, 1 / words, 0))
    assert set(map(tuple, graph.edge_index.T.tolist())) == {(i, (i + s) % n) for i in range(n) for s in (1, -1)}
    masks = [shapes[0].mask for shapes in (data.train, data.val, data.test)]
    assert [mask.nonzero()[:, 0].tolist() for mask in masks] == [
        list(range(6)),
        list(range(6, 506)),
        list(range(506, 516)),
    ]
    assert (data.task, data.classes) == ("label", ("0", "1", "2"))


def test_full_and_random_splits(raw):
    full = cotan.load_dataset("planetoid", root=str(raw), masks="full")
    assert (full.train[0].mask ^ full.val[0].mask ^ full.test[0].mask).all()
    drawn = [cotan.load_dataset("planetoid", root=str(raw), masks="random", seed=seed) for seed in (0, 0, 1)]
    assert drawn[0].digest == drawn[1].digest != drawn[2].digest
    train, val, test = (shapes[0].mask for shapes in (drawn[0].train, drawn[0].val, drawn[0].test))
    assert torch.bincount(drawn[0].train[0].y[train]).tolist() == [20, 20, 20]
    assert not (train & val).any()
    assert not ((train | val) & test).any()


def test_sizes_of_a_random_split():
    y = torch.arange(2000) % CLASSES
    masks = _drawn(y, torch.arange(2000) > 99, seed=3)
    assert torch.bincount(y[masks["train"]]).tolist() == [20, 20, 20]
    assert [int(masks[part].sum()) for part in ("val", "test")] == [500, 1000]
    times = sum(mask.int() for mask in masks.values())
    assert times.max() == 1
    assert not times[:100].any()


def test_the_papers_that_citeseer_lacks(raw, tmp_path):
    """Its test index leaves out papers without words, links and class."""
    lost = ALL + 4
    for file in raw.iterdir():
        shutil.copy(file, tmp_path / file.name.replace("cora", "citeseer"))
    index = [int(line) for line in (raw / "ind.cora.test.index").read_text().split()]
    kept = [place for place, paper in enumerate(index) if paper != lost]
    (tmp_path / "ind.citeseer.test.index").write_text("".join(f"{index[place]}\n" for place in kept))
    for part in ("tx", "ty"):
        whole = pickle.loads((raw / f"ind.cora.{part}").read_bytes())
        (tmp_path / f"ind.citeseer.{part}").write_bytes(pickle.dumps(whole[kept]))
    for masks in ("public", "full", "random"):
        data = cotan.load_dataset("planetoid", name="CiteSeer", root=str(tmp_path), masks=masks)
        graph = data.test[0]
        assert graph.x.shape == (ALL + TEST, WORDS)
        assert not graph.x[lost].any()
        others = torch.arange(ALL + TEST) != lost
        assert torch.equal(graph.y[others], (torch.arange(ALL + TEST) % 3)[others])
        assert not any(shapes[0].mask[lost] for shapes in (data.train, data.val, data.test))
    drawn = [
        cotan.load_dataset("planetoid", name="CiteSeer", root=str(tmp_path), masks="random", seed=s) for s in range(9)
    ]
    assert not any(d.train[0].mask[lost] for d in drawn)


def test_missing_files_and_unknown_names(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "raw")
    (tmp_path / "raw/ind.cora.tx").unlink()
    with pytest.raises(cotan.CotanError, match=r"raw has no ind\.cora\.tx; expected 8 files"):
        cotan.load_dataset("planetoid", root=str(tmp_path))
    with pytest.raises(cotan.CotanError, match=r"root='.*nowhere' is no folder; expected one with ind\.cora\.x"):
        cotan.load_dataset("planetoid", root=str(tmp_path / "nowhere"))
    with pytest.raises(cotan.CotanError, match=r"unknown name of planetoid 'Citeseer'\. Did you mean 'CiteSeer'"):
        cotan.load_dataset("planetoid", name="Citeseer")
    with pytest.raises(cotan.CotanError, match="unknown masks of planetoid 'half'"):
        cotan.load_dataset("planetoid", root=str(raw), masks="half")


def test_a_damaged_file_is_named(raw, tmp_path):
    shutil.copytree(raw, tmp_path / "raw")
    index = tmp_path / "raw/ind.cora.test.index"
    lines = index.read_text()
    for damaged in (lines[: len(lines) // 2], "", lines.strip(), lines.replace(lines.split()[0], lines.split()[1])):
        index.write_text(damaged)
        with pytest.raises(cotan.CotanError, match=rf"ind\.cora\.test\.index has \d+ different .*, expected {TEST}"):
            cotan.load_dataset("planetoid", root=str(tmp_path))
    index.write_text(lines)
    graph = tmp_path / "raw/ind.cora.graph"
    for damaged in (graph.read_bytes()[:50], b""):
        graph.write_bytes(damaged)
        with pytest.raises(cotan.CotanError, match=r"ind\.cora\.graph cannot be read: \w+Error"):
            cotan.load_dataset("planetoid", root=str(tmp_path))


def test_without_root_cotan_data_is_looked_into(raw, no_data, monkeypatch):
    shutil.copytree(raw, no_data / "mine/planetoid/Cora/raw")
    monkeypatch.setenv("COTAN_DATA", "~/cache/mine")
    assert cotan.load_dataset("planetoid").digest == cotan.load_dataset("planetoid", root=str(raw)).digest
    assert not (no_data / "downloads").exists()


def test_a_download_fills_the_cache_once(raw, no_data, monkeypatch):
    from torch_geometric.datasets import Planetoid

    called = []

    def download(self):
        called.append(self.name)
        for file in raw.iterdir():
            shutil.copy(file, self.raw_dir)

    monkeypatch.setattr(Planetoid, "download", download)
    first, second = (cotan.load_dataset("planetoid") for _ in range(2))
    assert called == ["Cora"]
    assert first.digest == second.digest
    assert {path.name for path in (no_data / "downloads/planetoid").iterdir()} == {"Cora"}


def test_a_download_that_fails_says_where_files_go(no_data, monkeypatch):
    from torch_geometric.datasets import Planetoid

    def download(self):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(Planetoid, "download", download)
    with pytest.raises(cotan.CotanError) as error:
        cotan.load_dataset("planetoid", name="PubMed")
    text = str(error.value)
    assert "ConnectionError: no route to host" in text
    assert str(no_data / "downloads/planetoid/PubMed/raw") in text
    assert "ind.pubmed.test.index" in text
    assert not list((no_data / "downloads/planetoid/PubMed/raw").iterdir())


def test_cora_is_as_pyg_reads_it(real_data, tmp_path):
    from torch_geometric.datasets import Planetoid
    from torch_geometric.transforms import NormalizeFeatures

    shutil.copytree(real_data / "planetoid/Cora", tmp_path / "Cora")
    theirs = Planetoid(str(tmp_path), "Cora", transform=NormalizeFeatures())[0]
    ours = cotan.load_dataset("planetoid", root=str(real_data / "planetoid"))
    for shapes, mask in ((ours.train, "train_mask"), (ours.val, "val_mask"), (ours.test, "test_mask")):
        assert torch.equal(shapes[0].mask, theirs[mask])
    assert torch.allclose(ours.train[0].x, theirs.x)
    assert torch.equal(ours.train[0].edge_index, theirs.edge_index)
    assert torch.equal(ours.train[0].y, theirs.y)


@pytest.mark.parametrize("global_", [b"cos\nsystem\n", b"cbuiltins\neval\n", b"cnumpy\nload\n", b"ctorch\nload\n"])
def test_a_pickle_that_would_run_code_is_refused_before_it_does(raw, tmp_path, global_):
    folder = shutil.copytree(raw, tmp_path / "raw")
    (folder / "ind.cora.ally").write_bytes(global_ + b"(S'touch " + str(tmp_path / "ran").encode() + b"'\ntR.")
    with pytest.raises(cotan.CotanError, match=r"ind.cora.ally cannot be read: .* it names .*expected arrays"):
        cotan.load_dataset("planetoid", root=str(folder))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol_are_read(raw, tmp_path, protocol):
    folder = shutil.copytree(raw, tmp_path / "raw")
    for part in PARTS[:-1]:
        file = folder / f"ind.cora.{part}"
        value = pickle.loads(file.read_bytes())
        if part == "graph":
            value = defaultdict(list, {i: list(map(np.int64, near)) for i, near in value.items()})
        file.write_bytes(pickle.dumps(value, protocol))
    ours, whole = (cotan.load_dataset("planetoid", root=str(root)).train[0] for root in (folder, raw))
    assert torch.equal(ours.x, whole.x)
    assert torch.equal(ours.edge_index, whole.edge_index)


def test_a_matrix_whose_pointers_lead_out_of_it_is_refused(raw, tmp_path):
    folder = shutil.copytree(raw, tmp_path / "raw")
    matrix = scipy.sparse.csr_matrix(np.eye(LABELLED, WORDS, dtype=np.float32))
    matrix.indptr[1] = 10**6
    (folder / "ind.cora.x").write_bytes(pickle.dumps(matrix))
    with pytest.raises(cotan.CotanError, match=r"ind.cora.x cannot be read: .*must (be|form) a non-decreasing"):
        cotan.load_dataset("planetoid", root=str(folder))
