"""Digits from IDX files, as images, on their grid, and as superpixels; on made-up files, and on the true ones if there."""

import gzip
import shutil
from pathlib import Path

import networkx
import numpy as np
import pytest
import torch
from scipy.spatial import cKDTree

import cotan
from cotan_datasets import mnist, superpixels

QUICK = {"epochs": 1, "progress": "none", "device": "cpu"}


def idx(array: np.ndarray) -> bytes:
    header = b"\x00\x00\x08" + bytes([array.ndim]) + b"".join(size.to_bytes(4, "big") for size in array.shape)
    return header + array.tobytes()


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """40 and 20 images of noise: the training files gzipped, the others not."""
    folder = tmp_path_factory.mktemp("digits")
    rng = np.random.default_rng(0)
    for part, count in (("train", 40), ("t10k", 20)):
        files = {
            f"{part}-images-idx3-ubyte": rng.integers(0, 256, (count, 28, 28), dtype=np.uint8),
            f"{part}-labels-idx1-ubyte": (np.arange(count) % 10).astype(np.uint8),
        }
        for name, array in files.items():
            if part == "train":
                (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
            else:
                (folder / name).write_bytes(idx(array))
    return folder


def test_images(own):
    data = cotan.load_dataset("mnist", root=str(own), train=30, test=5)
    assert (len(data.train), len(data.val), len(data.test), data.classes) == (30, 0, 5, tuple("0123456789"))
    truth = np.random.default_rng(0).integers(0, 256, (40, 28, 28), dtype=np.uint8)
    for i, digit in enumerate(data.train):
        assert torch.equal((digit.image * 255).round().byte(), torch.from_numpy(truth[i])[None])
        assert torch.equal(digit.x, digit.image.view(1, 784))
        assert 0 <= digit.image.min() <= digit.image.max() <= 1
        assert int(digit.y) == i % 10
    assert len(data.train[3].image.untyped_storage()) == 28 * 28 * 4


@pytest.mark.parametrize(
    ("kind", "model"), [("image", "cnn"), ("image", "mlp"), ("grid", "gcn"), ("superpixels", "gcn")]
)
def test_models_take_them(own, kind, model):
    name = "mnist-superpixels" if kind == "superpixels" else "mnist"
    options = {} if kind == "superpixels" else {"kind": kind}
    data = cotan.load_dataset(name, root=str(own), train=11, test=4, **options)
    run = cotan.fit(model, data, **QUICK)
    assert run.history[0]["train_loss"] < 10


def test_the_grid_is_the_king_s_graph(own):
    pos, edge_index = mnist.grid(3, 4)
    squares = [(row, column) for row in range(3) for column in range(4)]
    assert pos.tolist() == [[column, -row, 0] for row, column in squares]
    kings = networkx.strong_product(*map(networkx.path_graph, (3, 4))).to_directed()
    expected = sorted((squares.index(a), squares.index(b)) for a, b in kings.edges)
    assert list(map(tuple, edge_index.T.tolist())) == expected
    data = cotan.load_dataset("mnist", root=str(own), kind="grid", train=3, test=1)
    a, b = data.train[0], data.test[0]
    assert a.edge_index is b.edge_index
    assert a.pos is b.pos
    image = cotan.load_dataset("mnist", root=str(own), train=3, test=1).train[0].image
    assert torch.equal(image[0, -a.pos[:, 1].long(), a.pos[:, 0].long()], a.x[:, 0])


def test_idx(tmp_path):
    whole = idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    for content in (whole, gzip.compress(whole)):
        (tmp_path / "a").unlink(missing_ok=True)
        (tmp_path / ("a" if content is whole else "a.gz")).write_bytes(content)
        assert mnist.read_idx(tmp_path / "a").tolist() == np.arange(24).reshape(2, 3, 4).tolist()
    for content in (whole[:-1], whole + b"0", b"", whole[:7], b"\x00\x00\x0d" + whole[3:]):
        (tmp_path / "b").write_bytes(content)
        with pytest.raises(cotan.CotanError, match="is no IDX file of bytes, or not all of one"):
            mnist.read_idx(tmp_path / "b")
    packed = gzip.compress(whole)
    for content in (packed[:-9], packed[:10] + b"\xff" * 9 + packed[19:]):
        (tmp_path / "c.gz").write_bytes(content)
        with pytest.raises(cotan.CotanError, match="cannot be read"):
            mnist.read_idx(tmp_path / "c")


def test_labels_that_are_no_digits(own, tmp_path):
    for file in own.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(np.full(20, 10, dtype=np.uint8)))
    with pytest.raises(cotan.CotanError, match="t10k-labels-idx1-ubyte has labels up to 10, expected digits"):
        cotan.load_dataset("mnist", root=str(tmp_path))


def test_errors(own, tmp_path):
    with pytest.raises(cotan.CotanError, match="train=0, expected a number of digits from 1 to 60000"):
        cotan.load_dataset("mnist", root=str(own), train=0)
    for options, message in (
        ({"edges": "near"}, "unknown edges of mnist-superpixels 'near'. Did you mean 'nearest'"),
        ({"segments": 1}, "expected segments >= 2, .* got segments=1, "),
        ({"compactness": 0.0}, "compactness > 0 .* compactness=0.0, "),
        ({"neighbours": 0}, "neighbours >= 1, .* neighbours=0$"),
    ):
        with pytest.raises(cotan.CotanError, match=message):
            cotan.load_dataset("mnist-superpixels", root=str(own), **options)
    with pytest.raises(cotan.CotanError, match=r"unknown kind of mnist 'superpixels'\."):
        cotan.load_dataset("mnist", root=str(own), kind="superpixels")
    with pytest.raises(cotan.CotanError, match=r"mnist: .* has no train-images-idx3-ubyte, .*; expected 4 files"):
        cotan.load_dataset("mnist", root=str(tmp_path))


def test_a_download(own, tmp_path, monkeypatch):
    monkeypatch.delenv("COTAN_DATA", raising=False)
    monkeypatch.setenv("COTAN_CACHE", str(tmp_path))
    served = tmp_path / "served"
    served.mkdir()
    monkeypatch.setattr(mnist, "URL", served.as_uri())
    with pytest.raises(cotan.CotanError, match=r"could not be downloaded from file:.*Put train-images-idx3-ubyte, "):
        cotan.load_dataset("mnist")
    with monkeypatch.context() as context:
        context.setattr(mnist, "_fetch", lambda root: (Path(root) / "MNIST/raw").mkdir(parents=True))
        with pytest.raises(cotan.CotanError, match=r"what file:.* gave for MNIST has no train-images-idx3-ubyte, "):
            cotan.load_dataset("mnist")
    for file in mnist.FILES:
        whole = gzip.compress(idx(mnist.read_idx(own / file)))
        (served / f"{file}.gz").write_bytes(whole)
    data = cotan.load_dataset("mnist", train=40, test=20)
    assert data.digest == cotan.load_dataset("mnist", root=str(own), train=40, test=20).digest
    assert len(list((tmp_path / "downloads/mnist/MNIST/raw").iterdir())) == 4


def test_a_download_that_was_cut_short_is_not_kept(own, tmp_path, monkeypatch):
    monkeypatch.setenv("COTAN_CACHE", str(tmp_path))
    monkeypatch.delenv("COTAN_DATA", raising=False)
    for file in mnist.FILES:
        content = gzip.compress(idx(mnist.read_idx(own / file)))
        (tmp_path / f"{file}.gz").write_bytes(content[: -10 if "t10k" in file else None])
    monkeypatch.setattr(mnist, "URL", tmp_path.as_uri())
    with pytest.raises(cotan.CotanError, match=r"could not be downloaded .* cannot be read: Compressed file ended"):
        cotan.load_dataset("mnist")
    assert not list((tmp_path / "downloads/mnist/MNIST/raw").iterdir())


def test_superpixels_of_a_flag():
    """Left half black, right half white: no superpixel is across, and the means are those of the halves."""
    image = np.zeros((28, 28), dtype=np.uint8)
    image[:, 14:] = 255
    x, centre, edges = superpixels.superpixel_graph(image, 49, 0.1, "touching", 8)
    assert set(x[:, 0].tolist()) == {0, 1}
    assert ((centre[:, 0] > 13.5) == (x[:, 0] == 1)).all()
    assert -27 <= centre[:, 1].min() < -20 < -7 < centre[:, 1].max() <= 0
    assert 20 <= len(x) <= 80
    graph = networkx.Graph(edges.T.tolist())
    assert len(graph) == len(x)
    assert networkx.is_connected(graph)
    assert networkx.check_planarity(graph)[0]
    assert set(map(tuple, edges.T.tolist())) == set(map(tuple, edges[::-1].T.tolist()))
    assert (edges[0] != edges[1]).all()


def test_touching_and_nearest():
    label = np.array([[0, 0, 1], [2, 2, 1], [2, 3, 3]])
    pairs = {tuple(sorted(pair)) for pair in superpixels._touching(label).T.tolist()}
    assert pairs == {(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)}
    points = np.random.default_rng(0).random((40, 2))
    found = superpixels._nearest(points, 5)
    _, near = cKDTree(points).query(points, 6)
    assert set(map(tuple, found.T.tolist())) == {(j, i) for i in range(40) for j in near[i, 1:].tolist()}
    square = np.array([[0.0, 0], [1, 0], [0, 1], [1, 1]])
    assert superpixels._nearest(square, 1).tolist() == [[1, 0, 0, 1], [0, 1, 2, 3]]
    grid = 0.3 + 0.1 * np.stack(np.divmod(np.arange(9), 3), 1)  # rounding makes the steps of 0.1 differ
    assert set(superpixels._nearest(grid, 2)[0, 8:10].tolist()) == {1, 3}
    assert superpixels._nearest(square[:2], 8).tolist() == [[1, 0], [0, 1]]


def test_workers_change_nothing_and_progress_counts_images(own, fresh_store):
    seen: list = []
    first, second = (
        mnist.superpixels(root=str(own), train=33, test=3, workers=workers, progress=lambda *done: seen.append(done))
        for workers in (1, 2)
    )
    assert first.digest == second.digest
    assert seen == 2 * [(i, 36) for i in range(1, 37)]


def test_superpixels_are_kept(own, fresh_store, monkeypatch):
    made = cotan.load_dataset("mnist-superpixels", root=str(own), train=10, test=5)
    monkeypatch.setattr(mnist, "spread", None)
    assert cotan.load_dataset("mnist-superpixels", root=str(own), train=10, test=5, workers=3).digest == made.digest


@pytest.mark.parametrize("by", ["root", "COTAN_DATA"])
def test_superpixels_are_those_of_the_files_that_are_there_now(own, fresh_store, tmp_path, monkeypatch, by):
    folder = tmp_path / "mnist"
    shutil.copytree(own, folder)
    monkeypatch.setenv("COTAN_DATA", str(tmp_path if by == "COTAN_DATA" else tmp_path / "none"))

    def load():
        return cotan.load_dataset(
            "mnist-superpixels", train=10, test=5, **({"root": str(folder)} if by == "root" else {})
        )

    before = load()
    reversed_labels = mnist.read_idx(folder / "t10k-labels-idx1-ubyte")[::-1].copy()
    (folder / "t10k-labels-idx1-ubyte").write_bytes(idx(reversed_labels))
    assert [int(digit.y) for digit in load().test] == reversed_labels[:5].tolist()
    images = mnist.read_idx(folder / "train-images-idx3-ubyte")
    (folder / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(np.roll(images, 1, axis=0))))
    assert torch.equal(load().train[1].x, before.train[0].x)
    assert not torch.equal(load().train[0].x, before.train[0].x)


def test_the_true_digits(real_data):
    labels = mnist.read_idx(real_data / "mnist/MNIST/raw/train-labels-idx1-ubyte")
    assert np.bincount(labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    data = cotan.load_dataset("mnist", root=str(real_data / "mnist"), train=5, test=3)
    assert [int(digit.y) for digit in data.train + data.test] == [5, 0, 4, 1, 9, 7, 2, 1]
    assert all(0.05 < digit.image.mean() < 0.25 for digit in data.train)
    graph = cotan.load_dataset("mnist-superpixels", root=str(real_data / "mnist"), train=2, test=1).train[0]
    # The graph sees what the image shows: its brightness is about that of the pixels.
    assert abs(float(graph.x.mean() - data.train[0].image.mean())) < 0.05


def test_of_a_file_that_unpacks_to_more_than_the_digits_no_more_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(mnist, "MOST", 1000)
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"\0\0\x08\x01" + (10**6).to_bytes(4, "big") + bytes(10**6)))
    with pytest.raises(cotan.CotanError, match="is no IDX file of bytes, or not all of one"):
        mnist.read_idx(tmp_path / "a")
