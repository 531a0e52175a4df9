"""The dataset of creatures: splits, stress variants, workers, errors, contact sheet."""

import math
import os
import subprocess
import sys
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import torch
import trimesh
from scipy.spatial import cKDTree
from torch_geometric.data import Data

import cotan
from cotan.processes import Processes
from cotan_datasets.alter import holes, scaled
from cotan_datasets.body import PARTS
from cotan_datasets.creatures import CLASSES, body
from cotan_datasets.generate import _angles
from cotan_datasets.poses import SPLITS, STRESS, jobs, poses
from cotan_datasets.remesh import sheets
from cotan_datasets.spread import spread

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from importing torch_geometric

OPTIONS = {
    "vertices": 250, "per_class": 5, "seed": 0, "bend": 0.5, "rotate": False, "creatures": CLASSES, "stress": STRESS,
}  # fmt: skip


@pytest.fixture(scope="module")
def small():
    return poses(vertices=200, per_class=3, creatures=("human", "shark", "crab"), workers=1)


def mesh_of(shape, attribute="pos"):
    return trimesh.Trimesh(np.asarray(shape[attribute], dtype=float), np.asarray(shape["face"]).T, process=False)


def test_number_of_workers_changes_nothing():
    options = {"vertices": 150, "per_class": 8, "creatures": ("dog", "octopus"), "stress": ()}
    calls = []
    one, two = poses(workers=1, **options), poses(workers=2, progress=lambda *c: calls.append(c), **options)
    assert calls == [(i, 16) for i in range(1, 17)]
    for split in SPLITS:
        for a, b in zip(getattr(one, split), getattr(two, split), strict=True):
            assert all(torch.equal(a[k], b[k]) for k in ("pos", "face", "y", "part", "body"))


def test_what_ends_the_making_of_many_ends_it_soon(tmp_path):
    def progress(done, total):
        raise KeyboardInterrupt

    calls = [["sh", "-c", f"sleep 0.05; touch {tmp_path / str(i)}"] for i in range(200)]
    with pytest.raises(KeyboardInterrupt):
        spread(subprocess.call, calls, workers=2, progress=progress)
    assert 0 < len(list(tmp_path.iterdir())) < 150


@pytest.mark.parametrize("reason", [BlockingIOError(11, "no process more"), BrokenProcessPool("one was killed")])
def test_where_others_cannot_one_process_does_it_all(reason, monkeypatch):
    def fails(*_):
        raise reason

    monkeypatch.setattr(Processes, "submit", fails)
    assert spread(math.sqrt, [4] * 32, workers=2) == [2.0] * 32


def test_what_the_function_itself_raises_is_no_reason_to_do_it_all_again(tmp_path):
    """Again, the folders that were made would be in the way."""
    with pytest.raises(FileNotFoundError):
        spread(os.mkdir, [tmp_path / "a", tmp_path / "b", *[tmp_path / "c" / "d"] * 14], workers=2)


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
@pytest.mark.parametrize("rest", [0, 1000], ids=["idle", "at work"])
def test_workers_end_with_the_process_that_started_them(how, rest, leaves_none):
    leaves_none(
        "import os, signal, time\nfrom cotan_datasets.spread import spread\n"
        f"end = lambda *_: os.kill(os.getpid(), signal.{how})\n"
        f"spread(time.sleep, [0] * 8 + [{rest}] * 8, workers=2, progress=end)"
    )


def test_workers_leave_an_unguarded_script_alone(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import math\nfrom cotan_datasets.spread import spread\nprint(sum(spread(math.sqrt, [4] * 32)))\n"
    )
    paths = [p for p in sys.path if p]
    out = subprocess.run(
        [sys.executable, str(script)], env={"PYTHONPATH": ":".join(paths)}, capture_output=True, text=True, check=True
    )
    assert out.stdout == "64.0\n"


def test_splits_share_no_individual_and_stress_keeps_them():
    todo = jobs(**OPTIONS)
    individuals = {split: {(job["name"], *job["seed"]) for job in todo[split]} for split in SPLITS}
    assert [len(individuals[s]) for s in SPLITS] == [30, 10, 10]
    assert len(set.union(*individuals.values())) == 50
    for name in ("poses", "fine", "coarse"):
        assert [job["seed"] for job in todo[name]] == [job["seed"] for job in todo["test"]]
        assert len(todo[name]) == 10
    assert all(job["bend"] == [0.5, 1.0] for job in todo["poses"])
    assert [len(jobs(**(OPTIONS | {"per_class": 9}))[split]) for split in SPLITS] == [70, 10, 10]
    more = jobs(**(OPTIONS | {"per_class": 10}))
    assert all(job in more["train"] for job in todo["train"])


@pytest.mark.parametrize("name", CLASSES)
def test_stress_poses_bend_beyond_the_training_range(name):
    kind = body(name)
    limit = np.linalg.norm(kind.turn, axis=-1)
    free = (limit > 0) & (np.linalg.norm(kind.fold, axis=-1) == 0)
    for low, high in ((0.0, 0.5), (0.5, 1.0)):
        angles = _angles(kind, np.ones(len(kind.parent)), (low, high), np.random.default_rng(0))
        share = np.abs(np.einsum("bki,bi->bk", kind.turn, angles))[free] / limit[free] ** 2
        assert share.min() >= low - 1e-9
        assert share.max() <= high + 1e-9
        assert np.ptp(share) > 0.3


def test_dataset_holds_what_it_says(small):
    assert [len(small.train), len(small.val), len(small.test)] == [3, 3, 3]
    assert small.classes == ("human", "shark", "crab")
    assert [int(s.y) for s in small.test] == [0, 1, 2]
    assert tuple(small.stress) == STRESS
    assert all(len(shapes) == 3 for shapes in small.stress.values())
    pose_of = [s.pos.numpy().tobytes() for s in small.train + small.val + small.test + small.stress["poses"]]
    assert len(set(pose_of)) == 12
    labelled = poses(vertices=150, per_class=3, creatures=("dog",), stress=(), task="label", workers=1)
    assert labelled.classes == PARTS
    assert torch.equal(labelled.test[0].y, labelled.test[0].part)


def test_stress_variants(small):
    for i, shape in enumerate(small.test):
        variant = {name: shapes[i] for name, shapes in small.stress.items()}
        assert all(v.y.equal(shape.y) for v in variant.values())
        assert len(variant["fine"].pos) == 800
        assert len(variant["coarse"].pos) == 125
        for name in ("fine", "coarse"):  # the same pose: what is close in the body is close in space
            gap, nearest = cKDTree(variant[name].body).query(shape.body)
            assert ((shape.pos - variant[name].pos[nearest]).norm(dim=1).numpy() < 2 * gap).mean() > 0.95
            assert mesh_of(variant[name]).is_watertight
        for name in ("rotated", "noisy", "scaled"):
            assert variant[name].face.equal(shape.face)
            assert variant[name].part.equal(shape.part)
        assert torch.allclose(torch.cdist(variant["rotated"].pos, variant["rotated"].pos),
                              torch.cdist(shape.pos, shape.pos), atol=1e-3)  # fmt: skip
        assert not torch.allclose(variant["rotated"].pos, shape.pos, atol=0.05)
        ratio = variant["scaled"].pos / shape.pos
        assert 0.5 <= ratio.median() <= 2
        assert torch.allclose(variant["scaled"].pos, ratio.median() * shape.pos)
        edge = mesh_of(shape).edges_unique_length.mean()
        assert 0.05 * edge < (variant["noisy"].pos - shape.pos).std() < 0.2 * edge
    sizes = {float((a.pos / b.pos).median()) for a, b in zip(small.stress["scaled"], small.test, strict=True)}
    assert len(sizes) == 3  # each is changed in its own way


def test_holes_open_a_manifold_and_keep_what_belongs_to_vertices(small):
    for shape, open_ in zip(small.test, small.stress["holes"], strict=True):
        assert 0.6 * len(shape.pos) < len(open_.pos) < len(shape.pos)
        index = cKDTree(shape.pos).query(open_.pos)[1]
        for key in ("pos", "part", "body"):
            assert torch.equal(shape[key][index], open_[key])
        mesh = mesh_of(open_)
        edges = np.unique(mesh.edges_sorted, axis=0, return_counts=True)[1]
        assert edges.max() == 2
        assert (edges == 1).sum() >= 9
        assert mesh.body_count == 1
        fans, _ = sheets(mesh.faces, len(mesh.vertices))
        assert (fans == 1).all()


def shape_of(mesh):
    return Data(pos=torch.tensor(mesh.vertices), face=torch.tensor(mesh.faces).T.contiguous())


def test_holes_are_of_a_share_of_the_vertices_and_on_one_side_of_a_sheet():
    ball = shape_of(trimesh.creation.icosphere(subdivisions=4))
    left = len(holes(ball, np.random.default_rng(0)).pos)
    assert 0.045 * 2562 - 3 <= 2562 - left <= 0.045 * 2562 + 10  # some vertices may have lost all of their faces
    sheet = shape_of(trimesh.creation.box((1, 1, 1e-3)).subdivide_to_size(0.05))
    here = holes(sheet, np.random.default_rng(0)).pos
    gone = sheet.pos[cKDTree(here).query(sheet.pos)[0] > 1e-6]
    assert len(gone) > 20
    assert cKDTree(gone).query(gone * torch.tensor([1, 1, -1]))[0].min() > 1e-6  # what lies across is there


def test_scales_go_both_ways():
    ball = shape_of(trimesh.creation.icosphere(subdivisions=0))
    rng = np.random.default_rng(0)
    size = torch.stack([scaled(ball, rng).pos.norm(dim=1).mean() for _ in range(40)]).log2()
    assert -1 <= size.min() < -0.7 < 0.7 < size.max() <= 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"creatures": ("dog", "unicorn")}, "unknown creatures of poses 'unicorn'.* There is: .*crab, .*dog"),
        ({"creatures": ()}, "unknown creatures of poses 'none'"),
        ({"stress": ("poses", "melted")}, "unknown stress of poses 'melted'.* There is: coarse"),
        ({"task": "regress"}, "unknown task of poses 'regress'.* There is: classify, label"),
        ({"vertices": 120}, "^poses: vertices=120, expected a whole number of at least 125$"),
        ({"per_class": 2}, "^poses: per_class=2, expected a whole number of at least 3$"),
        ({"bend": 1.0}, "^poses: bend=1.0, expected a number between 0 and 1$"),
    ],
)
def test_bad_options_are_named(options, message):
    with pytest.raises(cotan.CotanError, match=message):
        poses(**options)
