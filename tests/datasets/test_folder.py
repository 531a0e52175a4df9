"""Folders of meshes, both layouts; a broken file is skipped, named and counted."""

import os
from pathlib import Path, PurePath

import pytest
import torch
import trimesh
from torch_geometric.data import Data

import cotan
from cotan.files import MESHES
from cotan.training import fit, model_for
from cotan_datasets import folder

QUICK = {"epochs": 2, "progress": "none", "device": "cpu"}


def mesh(kind: str):
    return trimesh.creation.icosphere(subdivisions=1) if kind == "ball" else trimesh.creation.box()


def fill(path: Path, kind: str, count: int, suffix: str = ".off") -> None:
    path.mkdir(parents=True)
    for i in range(count):
        mesh(kind).export(path / f"{kind}{i}{suffix}")


@pytest.mark.parametrize("suffixes", [(".obj", ".ply"), (".glb", ".STL")])
def test_folders_by_split(suffixes, tmp_path):
    for kind, suffix in zip(("box", "ball"), suffixes):
        fill(tmp_path / kind / "train", kind, 3, suffix)
        fill(tmp_path / kind / "test", kind, 2, suffix)
    told = []
    data = cotan.load_dataset("folder", root=str(tmp_path), progress=lambda *numbers: told.append(numbers))
    assert told == [(i + 1, 10) for i in range(10)]
    assert data.classes == ("ball", "box")
    assert (len(data.train), len(data.val), len(data.test), data.skipped) == (6, 0, 4, [])
    assert [len(s.pos) for s in data.train] == [42] * 3 + [8] * 3
    assert [int(s.y) for s in data.train] == [0] * 3 + [1] * 3
    assert fit("linear", data, **QUICK).metrics["test_accuracy"] >= 0


def test_small_shapes_far_from_the_origin_keep_their_form(tmp_path):
    for kind in ("box", "ball"):
        (tmp_path / kind).mkdir()
        for i in range(2):
            mesh(kind).apply_translation([5e5, 5.4e6, i]).export(tmp_path / kind / f"{i}.obj", digits=12)
    data = cotan.load_dataset("folder", root=str(tmp_path))
    for shape in (*data.train, *data.test):
        distance = cotan.compute(shape, "normalized_pos").norm(dim=1)
        assert torch.allclose(distance, torch.ones(()), atol=1e-6)


def test_files_by_class_are_split_by_a_seed(tmp_path):
    for kind in ("box", "ball"):
        fill(tmp_path / kind, kind, 10)
    a, b, c = (cotan.load_dataset("folder", root=str(tmp_path), val=0.2, test=0.3, seed=s) for s in (0, 0, 1))

    def files(splits):
        return [[Path(s.path).name for s in shapes] for shapes in (splits.train, splits.val, splits.test)]

    assert files(a) == files(b) != files(c)
    assert [len(names) for names in files(a)] == [10, 4, 6]
    assert len({name for names in files(a) for name in names}) == 20


def test_files_of_a_group_stay_together(tmp_path):
    """Ten patients with two scans each, before and after in folders of their own for classes; of five only one."""
    for kind in ("before", "after"):
        (tmp_path / kind).mkdir()
        for i in range(10):
            for side in "LR" if i < 5 else "L":
                mesh("ball").export(tmp_path / kind / f"sub-{i:02}_{kind}_{side}.off")
    given = {"root": str(tmp_path), "test": 0.3, "val": 0.2, "group": "sub-[0-9]+"}
    splits = cotan.load_dataset("folder", **given)
    parts = [{Path(s.path).name[:6] for s in shapes} for shapes in (splits.train, splits.val, splits.test)]
    assert [len(part) for part in parts] == [5, 2, 3]
    assert len(set.union(*parts)) == 10
    assert sum(map(len, (splits.train, splits.val, splits.test))) == 30
    assert splits.related() == 0
    other = cotan.load_dataset("folder", **given, seed=1)
    assert {s.group for s in splits.test} != {s.group for s in other.test}
    with pytest.raises(
        cotan.CotanError, match=r"group='scan', and there is no such thing in the name 'sub-00_after_L.off'"
    ):
        cotan.load_dataset("folder", root=str(tmp_path), group="scan")
    with pytest.raises(cotan.CotanError, match="folder"):
        cotan.load_dataset("folder", root=str(tmp_path), group="(")


@pytest.mark.parametrize(("share", "count"), [("test", 1), ("val", 1), ("both", 2)])
def test_too_few_groups_of_files_for_a_split(share, count, tmp_path):
    for kind in ("box", "ball"):
        fill(tmp_path / kind, kind, count)
    shares = {"test": 0.2 * (share != "val"), "val": 0.2 * (share != "test")}
    with pytest.raises(
        cotan.CotanError, match=rf"folder: {count} groups are too few to cut test=.*, val=.* of them; 0 cuts none"
    ):
        cotan.load_dataset("folder", root=str(tmp_path), group="[0-9]", **shares)
    assert len(cotan.load_dataset("folder", root=str(tmp_path), group="[0-9]", test=0.0).train) == 2 * count


def test_groups_of_files_that_are_split_are_told(tmp_path):
    for split in ("train", "val"):
        for kind in ("box", "ball"):
            fill(tmp_path / kind / split, kind, 2)
    splits = cotan.load_dataset("folder", root=str(tmp_path), group="[0-9]")
    assert [len(shapes) for shapes in splits.lists().values()] == [4, 4, 0]
    for kind in ("box", "ball"):
        (tmp_path / kind / "val").rename(tmp_path / kind / "test")
    splits = cotan.load_dataset("folder", root=str(tmp_path), group="[0-9]")
    assert ({s.group for s in splits.test}, len(splits.val), splits.related()) == ({"0", "1"}, 0, 4)


def test_classes_and_splits_are_those_of_other_systems(tmp_path, monkeypatch):
    """Paths of Windows are compared without case."""
    for kind, name in (("box", "Zebra"), ("ball", "ant")):
        (tmp_path / name).mkdir()
        for file in ("a", "B", "c"):
            mesh(kind).export(tmp_path / name / f"{file}.off")
    here = cotan.load_dataset("folder", root=str(tmp_path), test=0.4)
    monkeypatch.setattr(PurePath, "__lt__", lambda a, b: str(a).lower() < str(b).lower())
    there = cotan.load_dataset("folder", root=str(tmp_path), test=0.4)
    assert here.classes == there.classes == ("Zebra", "ant")
    assert [s.path for s in here.test] == [s.path for s in there.test]


def test_a_class_of_few_meshes_is_in_train(tmp_path):
    for kind, count in (("ball", 2), ("box", 1)):
        fill(tmp_path / kind, kind, count)
    for shares, sizes in (
        ({}, (2, 0, 1)),
        ({"val": 0.4, "test": 0.4}, (2, 0, 1)),
        ({"val": 0.4, "test": 0}, (2, 1, 0)),
    ):
        data = cotan.load_dataset("folder", root=str(tmp_path), **shares)
        assert (len(data.train), len(data.val), len(data.test)) == sizes
        assert {int(shape.y) for shape in data.train} == {0, 1}


def test_one_unreadable_file_is_skipped_named_and_counted(tmp_path):
    for kind in ("box", "ball"):
        fill(tmp_path / kind / "train", kind, 4)
        fill(tmp_path / kind / "test", kind, 1)
    broken = tmp_path / "box/train/box2.off"
    broken.write_text("OFF\n8 12 0\n0 0 nonsense\n")
    empty = tmp_path / "ball/train/void.off"
    empty.write_text("")
    cloud = tmp_path / "ball/train/points.off"
    cloud.write_text("OFF\n3 0 0\n0 0 0\n1 0 0\n0 1 0\n")
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert {Path(path).name for path, _ in data.skipped} == {"box2.off", "void.off", "points.off"}
    assert all(reason for _, reason in data.skipped)
    assert len(data.train) == 7


def test_points_are_trained_on_and_predicted_from_files(tmp_path):
    for kind in ("box", "ball"):
        (tmp_path / kind).mkdir()
        for i, suffix in enumerate((".xyz", ".pts", ".ply", ".xyz")):
            cloud = trimesh.PointCloud(trimesh.sample.sample_surface(mesh(kind), 30, seed=i)[0])
            cloud.export(tmp_path / kind / f"{i}{suffix}", file_type="ply" if suffix == ".ply" else "xyz")
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert (len(data.train), len(data.test), data.skipped) == (6, 2, [])
    run = fit(model_for("edgeconv", data, neighbours=4, width=8, depth=2), data, out=tmp_path / "run", **QUICK)
    shape = data.test[0]
    by_hand = Data(pos=shape.pos, edge_index=cotan.compute(shape, "nearest_neighbours", k=4))
    model = cotan.create_model("edgeconv", 3, 2, width=8, depth=2)
    model.load_state_dict(run.model.state_dict())
    found = cotan.predict(tmp_path / "run", shape.path).probabilities
    assert torch.equal(found, cotan.predict(model, by_hand).probabilities)


def test_bad_folders(tmp_path):
    with pytest.raises(cotan.CotanError, match="is no folder"):
        cotan.load_dataset("folder", root=str(tmp_path / "none"))
    (tmp_path / "bodies.tar.xz").touch()
    with pytest.raises(cotan.CotanError, match=r"is no folder; .*; beside it there is bodies\.tar\.xz$"):
        cotan.load_dataset("folder", root=str(tmp_path / "bodies"))
    (tmp_path / "bodies.tar.xz").rename(tmp_path / "bodies [2].zip")
    with pytest.raises(cotan.CotanError, match=r"beside it there is bodies \[2\]\.zip$"):
        cotan.load_dataset("folder", root=str(tmp_path / "bodies [2]"))
    (tmp_path / "bodies [2].zip").unlink()
    with pytest.raises(cotan.CotanError, match="there is: nothing"):
        cotan.load_dataset("folder", root=str(tmp_path))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "box").mkdir()
    with pytest.raises(cotan.CotanError, match=r"there is: box, notes\.txt"):
        cotan.load_dataset("folder", root=str(tmp_path))
    fill(tmp_path / "box/train", "box", 4)
    with pytest.raises(cotan.CotanError, match="all training targets are class 0"):
        fit("linear", cotan.load_dataset("folder", root=str(tmp_path)), **QUICK)
    with pytest.raises(cotan.CotanError, match="expected shares"):
        cotan.load_dataset("folder", root=str(tmp_path), test=1.0)


def test_splits_outside_and_classes_inside(tmp_path):
    for split, count in (("train", 3), ("test", 1)):
        for kind in ("box", "ball"):
            fill(tmp_path / split / kind, kind, count)
    fill(tmp_path / "train/only", "box", 1)
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert (data.classes, len(data.train), len(data.test)) == (("ball", "box", "only"), 7, 2)
    assert [int(shape.y) for shape in data.test] == [0, 1]


def test_meshes_of_no_split_are_named(tmp_path):
    for kind in ("box", "ball"):
        fill(tmp_path / kind / "Training", kind, 2)
        fill(tmp_path / kind / "testing", kind, 1)
    fill(tmp_path / "box/extra", "box", 1)
    for loose in ("box/loose.off", "loose.ply"):
        mesh("box").export(tmp_path / loose)
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert (len(data.train), len(data.test)) == (4, 2)
    assert {str(Path(path).relative_to(tmp_path)) for path, _ in data.skipped} == {
        "box/extra/box0.off",
        "box/loose.off",
        "loose.ply",
    }
    assert {reason for _, reason in data.skipped} == {"lies in no folder train, val, test of a class, as others do"}


def test_every_kind_of_mesh_counts(tmp_path):
    assert set(folder.SUFFIXES) == {*MESHES, ".xyz", ".pts"}
    for kind, suffix in (("ball", ".glb"), ("box", ".OFF")):
        (tmp_path / kind).mkdir()
        for i in range(4):
            mesh(kind).export(tmp_path / kind / f"{i}{suffix}", file_type=suffix[1:].lower())
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert (data.classes, len(data.train), len(data.test), data.skipped) == (("ball", "box"), 6, 2, [])


@pytest.mark.parametrize("layout", ["{}/train", "train/{}"])
def test_folders_of_a_class_without_meshes_are_named(tmp_path, layout):
    for kind in ("ball", "box"):
        fill(tmp_path / layout.format(kind), kind, 2)
    deeper, other = tmp_path / layout.format("deeper/obj"), tmp_path / layout.format("other")
    fill(deeper, "box", 2)
    other.mkdir(parents=True)
    (other / "a.fbx").touch()
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert (data.classes, len(data.train)) == (("ball", "box"), 4)
    at = tmp_path / layout.partition("{}")[0]
    assert [path for path, _ in data.skipped] == [str(at / "deeper"), str(at / "other")]
    for (_, reason), there in zip(data.skipped, ("obj", "train" if layout == "{}/train" else "a.fbx"), strict=True):
        assert reason.startswith("has no .off, .obj, ")
        assert reason.endswith(f".pts, nor have folders train, val, test in it; there is: {there}")


def test_a_link_to_nowhere_is_named(tmp_path):
    for kind in ("box", "ball"):
        fill(tmp_path / kind, kind, 3)
    (tmp_path / "box/gone.off").symlink_to(tmp_path / "nowhere.off")
    (tmp_path / "elsewhere").symlink_to(tmp_path / "ball", target_is_directory=True)
    data = cotan.load_dataset("folder", root=str(tmp_path))
    assert data.classes == ("ball", "box", "elsewhere")
    assert len(data.train) + len(data.test) == 9
    assert [(Path(path).name, "no file" in reason) for path, reason in data.skipped] == [("gone.off", True)]


def test_a_folder_too_high(tmp_path):
    fill(tmp_path / "cubes/box/train", "box", 2)
    with pytest.raises(cotan.CotanError, match=r"there is: cubes; and further down .*cubes/box/train/box0\.off"):
        cotan.load_dataset("folder", root=str(tmp_path))
    fill(tmp_path / "sets/aliens/train", "box", 2)
    (tmp_path / "sets/aliens/seg").mkdir()
    with pytest.raises(cotan.CotanError, match=r"aliens has a folder 'seg', so .* give root='.*sets/aliens'"):
        cotan.load_dataset("folder", root=str(tmp_path / "sets"))


def test_the_header_lines_of_modelnet(tmp_path):
    """Some of its files have no line break after OFF."""
    rest = "3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n"
    for header in ("OFF\n", "OFF", "OFF\r\n# made by hand\n"):
        (tmp_path / "a.off").write_text(header + rest)
        shape = cotan.read(tmp_path / "a.off")
        assert shape.pos.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
        assert shape.face.tolist() == [[0], [1], [2]]
        (tmp_path / "a.off").write_text((header + rest).replace("3 1 0", "3 2 0"))
        with pytest.raises(cotan.CotanError, match=r"a\.off ends after 1 of its 2 faces"):
            cotan.read(tmp_path / "a.off")


def test_shrec11():
    root = os.environ.get("COTAN_DATA")
    if not root:
        pytest.skip("COTAN_DATA is not set")
    data = cotan.load_dataset("folder", root=f"{root}/shrec11")
    assert (len(data.train), len(data.test), len(data.classes), data.skipped) == (480, 120, 30, [])
    assert all(shape.face.shape[1] == 500 for shape in data.train)
