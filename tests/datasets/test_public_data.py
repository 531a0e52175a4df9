"""What docs/public_data.md says of the field's datasets, on imitations of their layouts."""

import gzip
import itertools
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch

import cotan

PAGE = Path(__file__).parents[2] / "docs/public_data.md"
TETRAHEDRON = np.eye(4)[:, :3], np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]])


@pytest.fixture(scope="module")
def page():
    names: dict = {"__name__": "document"}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, "<document>", "exec"), names)
    return names


def put(path: Path, *rows, by: str = " ") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(by.join(map(str, np.atleast_1d(row))) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def mesh(path: Path, size: float = 1.0) -> None:
    pos, face = TETRAHEDRON
    put(path, "OFF", (4, 4, 0), *size * pos, *([3, *corners] for corners in face))


def sizes(shapes) -> list[float]:
    return [float(shape.pos.max()) for shape in shapes]


def test_classes_in_a_file(page, tmp_path):
    for number in range(1, 9):
        mesh(tmp_path / f"T{number}.off", number)
    put(tmp_path / "test.cla", "PSB 1", "2 8", "", "alien 0 3", 8, 1, 5, "", "ants 0 5", 2, 3, 4, 6, 7)
    page["shrec11"](tmp_path, tmp_path / "sorted")
    data = cotan.load_dataset("folder", root=str(tmp_path / "sorted"), test=0.0)
    assert data.classes == ("alien", "ants")
    assert [(size, int(shape.y)) for size, shape in zip(sizes(data.train), data.train)] == [
        *((1, 0), (5, 0), (8, 0)),
        *((2, 1), (3, 1), (4, 1), (6, 1), (7, 1)),
    ]


def test_splits_in_a_table(page, tmp_path):
    rows = ["id,synsetId,subSynsetId,modelId,split"]
    face = [f"f {'/0 '.join(map(str, corners + 1)).replace('/0', '/1')}/1" for corners in TETRAHEDRON[1]]
    for number, (synset, split) in enumerate(itertools.product(("02691156", "03001627"), ("train", "val", "test"))):
        vertices = [("v", *row) for row in (number + 1) * TETRAHEDRON[0]]
        lines = [
            "mtllib model_normalized.mtl",
            *vertices,
            "vt 0 0",
            "g a",
            "usemtl b",
            *face[2:],
            "usemtl a",
            *face[:2],
        ]
        put(tmp_path / synset / f"{number:032x}/models/model_normalized.obj", *lines)
        rows.append(f"{number},{synset},{synset},{number:032x},{split}")
    put(tmp_path / "all.csv", *rows, "9,02691156,02691156,ff,test")  # a mesh that is not there
    page["shapenet"](tmp_path, tmp_path / "sorted")
    data = cotan.load_dataset("folder", root=str(tmp_path / "sorted"))
    assert data.classes == ("02691156", "03001627")
    assert [sizes(part) for part in (data.train, data.val, data.test)] == [[1, 4], [2, 5], [3, 6]]
    assert data.train[0].face.T.tolist() == TETRAHEDRON[1][[2, 3, 0, 1]].tolist()  # as they stand in the file


def test_rows_of_points_by_lists_of_names(page, tmp_path):
    names = [f"{kind}_{number:04d}" for kind in ("bed", "flower_pot") for number in (1, 2)]
    for i, name in enumerate(names):
        put(tmp_path / name[:-5] / f"{name}.txt", *([i, j, 0.5, 0, 0.6, 0.8] for j in range(5)), by=",")
    put(tmp_path / "modelnet40_train.txt", names[0], names[3])
    put(tmp_path / "modelnet40_test.txt", names[1], names[2])
    page["modelnet40_points"](tmp_path, tmp_path / "sorted")
    data = cotan.load_dataset("folder", root=str(tmp_path / "sorted"))
    assert data.classes == ("bed", "flower_pot")
    assert [[int(shape.pos[0, 0]) for shape in part] for part in (data.train, data.test)] == [[0, 3], [1, 2]]
    assert torch.allclose(data.train[0].normal, torch.tensor([0, 0.6, 0.8]))


def test_a_segmentation_of_each_mesh(page, tmp_path):
    for number in (1, 2, 21):
        mesh(tmp_path / f"data/off/{number}.off", number)
        for person in range(2):
            put(tmp_path / f"data/seg/Benchmark/{number}/{number}_{person}.seg", 0, person, 0, 1 + number % 2)
    page["princeton_segments"](tmp_path, tmp_path / "sorted")
    data = cotan.load_dataset("folder", root=str(tmp_path / "sorted"), per="face", votes=False, test=0.0)
    assert [shape.y.tolist() for shape in data.train] == [[0, 0, 0, 2], [0, 0, 0, 1], [0, 0, 0, 2]]
    assert sizes(data.train) == [1, 2, 21]


def test_people_in_poses(page, tmp_path):
    for number in range(100):
        mesh(tmp_path / "body.off", 1 + number)
        path = tmp_path / f"training/registrations/tr_reg_{number:03d}.ply"
        path.parent.mkdir(parents=True, exist_ok=True)
        cotan.write(cotan.read(tmp_path / "body.off"), path)
    data = page["faust"](tmp_path)
    assert sizes(data.train) == [*range(1, 81)]
    assert sizes(data.test) == [*range(81, 101)]
    assert [shape.group for shape in data.test] == [8] * 10 + [9] * 10
    assert data.test[3].y.tolist() == [0, 1, 2, 3]
    assert data.distances.shape == (4, 4)


def test_people_meshed_apart(page, tmp_path):
    places = [[1, 2, 3, 4, 4], [2, 1, 4, 3, 3], [4, 3, 2, 1, 1]]
    for number, vertices in enumerate(places):
        mesh(tmp_path / f"off/tr_reg_{number:03d}.off", 1 + number)
        put(tmp_path / f"corres/tr_reg_{number:03d}.vts", *vertices)
    data = page["remeshed"](tmp_path, train=2)
    assert sizes(data.train + data.test) == [1, 2, 3]
    assert [shape.y_index.tolist() for shape in data.train] == [[[0, 1, 2, 3, 3]], [[1, 0, 3, 2, 2]]]
    assert data.test[0].y.tolist() == [0, 1, 2, 3, 3]
    assert sizes([data.template]) == [1]
    run = cotan.fit(cotan.model_for("linear", data), data, epochs=1, val_share=0, progress="none", device="cpu")
    label = cotan.predict(run, data.test[0]).label[data.test[0].y_index[0]]
    error = cotan.geodesic_error(label, data.test[0].y, data.distances).mean()
    assert run.metrics["test_geodesic_error"] == pytest.approx(float(error))


def test_vertices_that_count_from_one(page, tmp_path):
    put(tmp_path / "cat0.vert", *TETRAHEDRON[0])
    put(tmp_path / "cat0.tri", *TETRAHEDRON[1] + 1)
    shape = page["tosca"](tmp_path, "cat0")
    assert shape.face.T.tolist() == TETRAHEDRON[1].tolist()
    assert float(cotan.compute(shape, "mass").sum()) == pytest.approx(3 * 0.5 + 0.75**0.5)


def test_labels_in_the_last_column(page, tmp_path):
    rows = [[i, 0, 0, 0, 0, 1, label] for i, label in enumerate((12, 12, 13))]
    put(tmp_path / "03001627/ab.txt", *np.array(rows) / 1.0)
    put(tmp_path / "train_test_split/shuffled_val_file_list.json", json.dumps(["shape_data/03001627/ab"]))
    (shape,) = page["shapenet_parts"](tmp_path, "val")
    assert (shape.pos[:, 0].tolist(), shape.y.tolist()) == ([0, 1, 2], [12, 12, 13])
    assert shape.normal.tolist() == [[0, 0, 1]] * 3


def test_objects_in_files(page, tmp_path):
    for name, rows in {"chair_1": [[1, 0, 0, 255, 0, 0]] * 2, "floor_1": [[2, 0, 0, 0, 0, 51]] * 3}.items():
        put(tmp_path / f"Annotations/{name}.txt", *rows)
    room = page["s3dis"](tmp_path, ["floor", "wall", "chair"])
    assert (room.pos[:, 0].tolist(), room.y.tolist()) == ([1, 1, 2, 2, 2], [2, 2, 0, 0, 0])
    assert torch.allclose(room.color[[0, 4]], torch.tensor([[1, 0, 0], [0, 0, 0.2]]))


def test_graphs_of_tables(page, tmp_path):
    put(tmp_path / "raw/edge.csv.gz", (0, 1), (2, 0), (1, 3), by=",")
    put(tmp_path / "raw/node-feat.csv.gz", *np.arange(8).reshape(4, 2) / 2, by=",")
    put(tmp_path / "raw/node-label.csv.gz", 2, 0, 1, 1)
    for part, numbers in {"train": (3, 0), "valid": (1,), "test": (2,)}.items():
        put(tmp_path / f"split/time/{part}.csv.gz", *numbers)
    data = cotan.datasets.as_splits(page["ogb_nodes"](tmp_path, "time"))
    masks = [part[0].mask.nonzero()[:, 0].tolist() for part in (data.train, data.val, data.test)]
    assert masks == [[0, 3], [1], [2]]
    graph = data.train[0]
    assert (graph.x.tolist(), graph.y.tolist()) == ([[0, 0.5], [1, 1.5], [2, 2.5], [3, 3.5]], [2, 0, 1, 1])
    assert graph.edge_index.T.tolist() == [[0, 1], [2, 0], [1, 3]]


def test_many_graphs_of_tables(page, tmp_path):
    put(tmp_path / "raw/num-node-list.csv.gz", 2, 3, 1)
    put(tmp_path / "raw/num-edge-list.csv.gz", 1, 2, 0)
    put(tmp_path / "raw/node-feat.csv.gz", *[(i, i) for i in range(6)], by=",")
    put(tmp_path / "raw/edge.csv.gz", (0, 1), (0, 2), (2, 1), by=",")
    put(tmp_path / "raw/edge-feat.csv.gz", *[(i, 0) for i in range(3)], by=",")
    put(tmp_path / "raw/graph-label.csv.gz", 0, 1, 1)
    for part, number in {"train": 1, "valid": 2, "test": 0}.items():
        put(tmp_path / f"split/scaffold/{part}.csv.gz", number)
    data = page["ogb_graphs"](tmp_path, "scaffold")
    (graph,) = data.train
    assert graph.edge_index.T.tolist() == [[0, 2], [1, 2], [2, 0], [2, 1]]
    assert graph.edge_attr[:, 0].tolist() == [1, 2, 1, 2]
    assert (graph.x[:, 0].tolist(), graph.y.tolist()) == ([2, 3, 4], [1])
    assert [shape.num_nodes for shape in (*data.val, *data.test)] == [1, 2]


def test_letters_lie_on_their_side(page, tmp_path):
    images, labels = np.zeros((3, 28, 28), np.uint8), np.array([1, 26, 3], np.uint8)
    images[0, 2, 5] = 255
    for what, array in (("images-idx3", images), ("labels-idx1", labels)):
        head = struct.pack(f">HBB{array.ndim}i", 0, 8, array.ndim, *array.shape)
        path = tmp_path / f"emnist-letters-train-{what}-ubyte.gz"
        path.write_bytes(gzip.compress(head + array.tobytes()))
    letters = page["emnist"](tmp_path, "letters", "train")
    assert [int(letter.y) for letter in letters] == [0, 25, 2]
    assert letters[0].image.nonzero().tolist() == [[0, 5, 2]]
    splits = cotan.Splits(letters * 4, letters, letters)
    cotan.fit(cotan.model_for("cnn", splits, width=4), splits, epochs=1, progress="none")


@pytest.mark.parametrize("channels", [(), (3,)])
def test_medical_pictures(channels, page, tmp_path):
    arrays = {}
    for part, count in {"train": 4, "val": 2, "test": 3}.items():
        arrays[f"{part}_images"] = (
            np.arange(count * 28 * 28 * (channels or (1,))[0]).astype("u1").reshape(count, 28, 28, *channels)
        )
        arrays[f"{part}_labels"] = np.arange(count)[:, None].astype("u1") % 2
    np.savez(tmp_path / "pathmnist.npz", **arrays)
    data = page["medmnist"](tmp_path / "pathmnist.npz")
    assert [[int(shape.y) for shape in part] for part in (data.train, data.val, data.test)] == [
        [0, 1, 0, 1],
        [0, 1],
        [0, 1, 0],
    ]
    last = arrays["test_images"][2, 3, 7]
    assert data.test[2].image[:, 3, 7].tolist() == pytest.approx(np.atleast_1d(last) / 255)
    cotan.fit(cotan.model_for("cnn", data, width=4), data, epochs=1, progress="none")


def test_atoms(page, tmp_path):
    path = put(
        tmp_path / "a.xyz", 2, "gdb 1\t157.7", "C\t-0.5\t1\t2.*^-1\t-0.53", "H 0 1 2 0.1", "1341.3", "C\tC", "InChI=1S"
    )
    kinds, pos = page["molecule"](path)
    assert kinds == ["C", "H"]
    assert torch.allclose(pos, torch.tensor([[-0.5, 1, 0.2], [0, 1, 2]]))
