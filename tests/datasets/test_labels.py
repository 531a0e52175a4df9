"""Labels beside meshes: for vertices, edges and faces, the order of edges, votes, and what is skipped."""

import itertools
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
import trimesh

import cotan
from cotan.colors import label_colors, vertex_colors
from cotan_datasets.labels import edges_of, read_labels, read_shape

# Two triangles on the side 1-2: edges in their order of appearance are 01, 12, 02, 23, 13; not sorted.
SQUARE = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 1 1 0\nf 1 2 3\nf 3 2 4\n"


def put(path: Path, text: str = SQUARE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


@pytest.fixture
def root(tmp_path) -> Path:
    for part in ("train", "test"):
        for name in "ab":
            put(tmp_path / part / f"{part}{name}.obj")
    return tmp_path


def label(root: Path, text: str, folder: str = "seg", suffix: str = ".txt") -> None:
    for part in ("train", "test"):
        for name in "ab":
            put(root / folder.format(part) / f"{part}{name}{suffix}", text)


def load(root: Path, **options):
    return cotan.load_dataset("folder", root=str(root), **options)


def test_edges_in_their_order():
    face = torch.tensor([[0, 1, 2], [2, 1, 3]]).T
    assert edges_of(face).tolist() == [[0, 1, 0, 1, 2], [1, 2, 2, 3, 3]]


def test_faces_of_an_stl_are_joined(tmp_path):
    for part in ("train", "test"):
        (tmp_path / part).mkdir()
        trimesh.creation.box().export(tmp_path / part / f"{part}.stl")
        put(tmp_path / part / f"{part}.txt", "0\n" * 6 + "1\n" * 6)
    shape = load(tmp_path, votes=False).train[0]
    assert (len(shape.pos), len(shape.y), int(shape.y.sum())) == (8, 12, 6)
    assert torch.equal(shape.y_index, shape.face)
    assert cotan.compute(shape, "mesh_report")["components"] == 1


def test_a_label_for_each_vertex(root):
    label(root, "4\n1\n2\n4\n", folder="{}")
    data = load(root)
    assert (len(data.train), len(data.val), len(data.test), data.task) == (2, 0, 2, "label")
    assert data.classes == ("1", "2", "3", "4")
    assert data.train[0].y.tolist() == [3, 0, 1, 3]
    assert "mask" not in data.train[0]
    run = cotan.fit("gcn", data, epochs=1, progress="none", device="cpu")
    assert set(run.classes) == set(data.classes)
    label(root, "\ufeff4\n0\n2\n4\n", folder="{}")  # a byte order mark
    assert load(root).classes == ("0", "1", "2", "3", "4")
    assert load(root).train[0].y.tolist() == [4, 0, 2, 4]


def test_one_file_of_labels_for_two_meshes_is_said(root):
    label(root, "1\n1\n2\n2\n")
    put(root / "train/testa.obj")
    both = f"{root}/seg/testa.txt has the labels of {root}/test/testa.obj and of {root}/train/testa.obj: two"
    with pytest.warns(cotan.MeshWarning, match=both):
        assert len(load(root).train) == 3
    for part in ("train", "test"):  # beside the mesh, each has its own
        put(root / part / "testa.txt", "1\n1\n2\n2\n")
    assert len(load(root).train) == 3


def test_labels_of_edges_are_voted_on(root):
    # Edges 01 and 12 are of 1, 02, 23 and 13 of 2: vertex 0 has one of each, 1 has two to one, 2 the contrary.
    text = "1\n1\n2\n2\n2\n"
    for suffix in (".eseg", ".txt"):
        label(root, text, suffix=suffix)
        data = load(root)
        assert data.train[0].y.tolist() == [0, 0, 1, 1]
        assert data.classes == ("1", "2")
        for file in (root / "seg").iterdir():
            file.unlink()


def test_labels_in_a_file_for_edges_are_for_edges(tmp_path):
    put(tmp_path / "train/one.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")  # with as many vertices
    put(tmp_path / "train/one.eseg", "1 2 2")
    data = load(tmp_path, votes=False)
    assert data.train[0].y_index.tolist() == [[0, 1, 0], [1, 2, 2]]


def test_soft_labels_count_instead(root):
    label(root, "1\n1\n2\n2\n2\n", suffix=".eseg")
    label(root, "0.4 0.6 0\n1 0 0\n0.3 0.7 0\n0.1 0.1 0.8\n0.5 0.5 0\n", folder="sseg", suffix=".seseg")
    data = load(root)
    # Sums: 0 (0.7, 1.3, 0), 1 (1.9, 1.1, 0), 2 (1.4, 0.8, 0.8), 3 (0.6, 0.6, 0.8).
    assert data.train[0].y.tolist() == [1, 0, 0, 2]
    assert data.classes == ("1", "2", "3")
    put(root / "sseg/traina.seseg", "1 0 0\n")
    assert [Path(path).name for path, _ in load(root).skipped] == ["traina.obj"]


def test_labels_of_faces_and_a_vertex_without_one(root):
    for mesh in root.glob("*/*.obj"):
        put(mesh, SQUARE.replace("f 1", "v 5 5 5\nf 1"))
    for file in ("traina", "trainb", "testa", "testb"):
        (root / "labels").mkdir(exist_ok=True)
        np.save(root / f"labels/{file}.npy", np.array([7, 5]))
    shape = load(root).test[1]
    assert shape.y[:4].tolist() == [6, 4, 4, 4]  # where both faces meet, the lower label
    assert shape.mask.tolist() == [True] * 4 + [False]


def test_without_votes_labels_stay_where_they_are(root):
    label(root, "1\n1\n2\n2\n2\n", suffix=".eseg")
    data = load(root, votes=False)
    assert data.train[0].y.tolist() == [0, 0, 1, 1, 1]
    assert data.train[0].y_index.tolist() == [[0, 1, 0, 1, 2], [1, 2, 2, 3, 3]]
    run = cotan.fit("gcn", data, epochs=2, val_share=0.5, progress="none", device="cpu")
    output = torch.cat([cotan.apply(run.model, s)[s.y_index].mean(0) for s in data.test]).argmax(1)
    assert run.metrics["test_accuracy"] == pytest.approx(
        float((output == torch.cat([s.y for s in data.test])).float().mean())
    )
    assert cotan.predict(run, data.test[0]).label.shape == (4,)
    assert torch.equal(vertex_colors(data.test[0]), label_colors(torch.tensor([1, 1, 1, 1])))


@pytest.mark.parametrize(("low", "names"), [(0, ("0", "1", "2")), (1, ("1", "2"))])
def test_minus_one_is_no_label(root, low, names):
    label(root, f"-1\n{low}\n2\n-1\n", folder="{}")
    shape, data = load(root).train[0], load(root)
    assert data.classes == names
    assert shape.mask.tolist() == [False, True, True, False]
    assert shape.y[shape.mask].tolist() == [0, 2 - low]
    assert cotan.fit("gcn", data, epochs=1, progress="none", device="cpu").metrics["test_accuracy"] in (0, 0.5, 1)
    label(root, f"-1\n{low}\n-1\n2\n-1\n", suffix=".eseg", folder="{}")  # of edges 01 12 02 23 13
    voted = load(root, per="edge").train[0]
    assert voted.mask.tolist() == [False, True, True, True]
    assert voted.y.tolist() == [0, 0, 0, 2 - low]
    assert load(root, per="edge", votes=False).train[0].mask.tolist() == [False, True, False, True, False]


def test_fit_says_what_was_skipped(root, capsys):
    label(root, "1 2 1 2")
    put(root / "seg/traina.txt", "1 2 3")
    cotan.fit("gcn", load(root), epochs=1, val_share=0, progress="lines", device="cpu")
    assert re.search(r"1 file was skipped, the first .*traina\.obj: expected a label for each", capsys.readouterr().err)


def test_what_does_not_fit_is_skipped_and_named(root):
    label(root, "1 2 3 4")
    put(root / "seg/traina.txt", "1 2 3")
    (root / "seg/testa.txt").unlink()
    put(root / "seg/testb.txt", "1 2 x 4")
    put(root / "train/more.obj", "v 0 0 0\n")
    data = load(root)
    assert (len(data.train), len(data.test)) == (1, 0)
    reasons = {Path(path).name: reason for path, reason in data.skipped}
    assert set(reasons) == {"traina.obj", "testa.obj", "testb.obj", "more.obj"}
    assert "expected a label for each vertex: " in reasons["traina.obj"]
    assert "has 3 labels, the mesh has 4 vertices, 5 edges, 2 faces" in reasons["traina.obj"]
    assert "testa.obj has no labels: expected testa.eseg, .seg, .txt, .npy beside it, in" in reasons["testa.obj"]
    assert "cannot be read as numbers" in reasons["testb.obj"]
    assert "has no faces" in reasons["more.obj"]


def test_an_ambiguous_number_of_labels(tmp_path):
    trimesh.Trimesh(np.eye(4)[:, :3], [[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]]).export(tmp_path / "a.off")
    put(tmp_path / "b.off", (tmp_path / "a.off").read_text())
    for name in "ab":
        put(tmp_path / f"{name}.txt", "0 1 0 1")
    with pytest.raises(cotan.CotanError, match=r"that of the vertices and of the faces; .*per='vertex' or per='face'"):
        load(tmp_path)
    assert load(tmp_path, per="vertex", test=0.5).train[0].y.tolist() == [0, 1, 0, 1]
    assert load(tmp_path, per="face", test=0.5).train[0].y.tolist() == [1, 0, 0, 1]
    with pytest.raises(cotan.CotanError, match="unknown per of folder 'faces'"):
        load(tmp_path, per="faces")


def test_no_labels_at_all(root):
    with pytest.raises(cotan.CotanError, match=r"none of 4 meshes in .* has labels; the first: .*ROOT/CLASS/train"):
        load(root)
    label(root, "1 2 3")
    with pytest.raises(cotan.CotanError, match="none of 4 meshes has as many labels as it has vertices, edges, faces"):
        load(root)
    label(root, "1 2 3", suffix=".eseg")
    with pytest.raises(
        cotan.CotanError, match=r"no mesh in .* has labels that fit; the first: expected a label for each edge"
    ):
        load(root, per="edge")


def test_labels_are_whole_numbers(tmp_path):
    for text, got in (("1 2.5", "number 2 is 2.5"), ("-2 2", "number 1 is -2"), ("", "it is empty")):
        put(tmp_path / "a.txt", text)
        with pytest.raises(cotan.CotanError, match=f"whole numbers, -1 \\(none\\) or more: {got}"):
            read_labels(tmp_path / "a.txt")
    for text in ("1.0 2e0", "1,2", "1, 2\n"):
        put(tmp_path / "a.txt", text)
        assert read_labels(tmp_path / "a.txt").tolist() == [1, 2]


def test_numbers_that_are_not_those_of_classes(root):
    label(root, "1 2 3 1000000000")
    with pytest.raises(cotan.CotanError, match="labels from 1 to 1000000000, expected at most 1000 classes in a row"):
        load(root)


# --- human bodies of Hanocka et al. 2019 ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bodies(tmp_path_factory) -> Path:
    """Some of them, unpacked."""
    import os

    if not os.environ.get("COTAN_DATA"):
        pytest.skip("COTAN_DATA is not set")
    out = tmp_path_factory.mktemp("bodies")
    with tarfile.open(Path(os.environ["COTAN_DATA"]) / "human_seg.tar.xz") as archive:
        members = [m for m in archive.getmembers() if m.isfile()]
        some = {Path(m.name).stem for m in members if "/test/" in m.name}
        some |= {Path(m.name).stem for m in [m for m in members if "/train/" in m.name][::40]}
        archive.extractall(out, [m for m in members if Path(m.name).stem in some], filter="data")
    return next(out.iterdir())


def test_their_edges_are_in_the_order_of_first_appearance(bodies):
    """A soft label says of which faces' labels an edge is: in the right order, a face's three edges share its label."""
    shares = {"file": [], "turned": [], "sorted": []}
    for mesh in sorted(bodies.glob("*/*.obj")):
        face = read_shape(mesh, weld=False).face
        labels = read_labels(bodies / f"seg/{mesh.stem}.eseg")
        soft = torch.from_numpy(np.loadtxt(bodies / f"sseg/{mesh.stem}.seseg")) > 0
        number = {tuple(edge): i for i, edge in enumerate(edges_of(face).T.tolist())}
        turned = {tuple(edge): i for i, edge in enumerate(edges_of(face.roll(1, 0)).T.tolist())}
        by_name = {edge: i for i, edge in enumerate(sorted(number))}
        for name, order in (("file", number), ("turned", turned), ("sorted", by_name)):
            sides = [[order[min(a, b), max(a, b)] for a, b in zip(f, f[1:] + f[:1])] for f in face.T.tolist()]
            sides = torch.tensor(sides)
            common = soft[sides].all(1).any(1).double().mean()
            alike = (labels[sides] == labels[sides.roll(1, 1)]).double().mean()
            shares[name].append((float(common), float(alike)))
    shares = {name: np.array(found) for name, found in shares.items()}
    assert (shares["file"][:, 0] == 1).all()
    assert (shares["file"][:, 1] > 0.9).all()
    assert shares["turned"][:, 0].max() < 1
    assert (shares["sorted"] < 0.85).all()


def test_bodies(bodies):
    data = load(bodies)
    assert (len(data.train), len(data.test), data.skipped) == (10, 18, [])
    assert data.classes == tuple("12345678")
    for body in data.train + data.test:
        assert body.y.shape == (len(body.pos),)
        assert set(body.y.tolist()) == set(range(8))
        a, b = cotan.compute(body, "edge_index")
        assert (body.y[a] == body.y[b]).double().mean() > 0.85


def test_the_layout_of_coseg(tmp_path):
    for name in "abc":
        put(tmp_path / "shapes" / f"{name}.obj")
        put(tmp_path / "gt" / f"{name}.seg", "1\n2\n")
    data = load(tmp_path, votes=False)
    assert data.task == "label"
    assert data.classes == ("1", "2")
    assert [shape.y.tolist() for shape in data.train] == [[0, 1]] * 2


CLOUD = "0 0 0\n1 0 0\n1 0 0\n0 1 0\n"  # two points at one place


def test_labels_of_points(tmp_path):
    for name in "abc":
        put(tmp_path / "points" / f"{name}.pts", CLOUD)
        put(tmp_path / "points_label" / f"{name}.seg", "1\n2\n3\n3\n")  # as ShapeNet's parts have it
    data = load(tmp_path)
    assert (data.task, data.classes, len(data.train), len(data.test)) == ("label", ("1", "2", "3"), 2, 1)
    assert [(shape.pos.tolist(), shape.y.tolist()) for shape in data.train] == [
        ([[0, 0, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]], [0, 1, 2, 2])
    ] * 2
    run = cotan.fit(cotan.model_for("edgeconv", data, neighbours=2, width=8, depth=1), data, epochs=1, val_share=0)
    assert cotan.predict(run, str(tmp_path / "points/a.pts")).label.shape == (4,)
    put(tmp_path / "points_label/a.seg", "1\n2\n")
    reason = load(tmp_path).skipped[0][1]
    assert "expected a label for each vertex: " in reason
    assert "a.seg has 2 labels, the file has 4 vertices" in reason
    with pytest.raises(cotan.CotanError, match=r"expected a label for each face: .* the file has 4 vertices"):
        load(tmp_path, per="face")


def test_classes_may_be_named_as_folders_of_labels_are(tmp_path):
    for kind, name in itertools.product(("points", "labels"), "abc"):
        put(tmp_path / kind / f"{name}.obj", SQUARE)
    data = load(tmp_path)
    assert (data.task, data.classes, len(data.train)) == ("classify", ("labels", "points"), 4)


def test_points_beside_meshes_are_meshes_that_are_broken(root):
    label(root, "1 2 3 4")
    put(root / "train/cloud.xyz", CLOUD)
    put(root / "seg/cloud.txt", "1 2 3 4")
    data = load(root)
    assert [(Path(path).name, reason.endswith("has no faces")) for path, reason in data.skipped] == [
        ("cloud.xyz", True)
    ]
    assert len(data.train) == 2
