import csv
import io
import json
import os
import re
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import torch

from cotan.cli import main
from cotan.datasets import Splits
from cotan.errors import CotanError
from cotan.evaluation import compute
from cotan.export import csv_text
from cotan.files import read
from cotan.training import Run, fit, predict


class Out(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def cotan(monkeypatch, capsys):
    """The command line in this process."""

    def run(*arguments) -> Out:
        monkeypatch.setattr(sys, "argv", ["cotan", *map(str, arguments)])
        monkeypatch.setattr(warnings, "showwarning", warnings.showwarning)
        with pytest.raises(SystemExit) as end:
            main()
            raise SystemExit(0)
        return Out(int(end.value.code or 0), *capsys.readouterr())

    return run


def test_the_module_is_the_command():
    out = subprocess.run([sys.executable, "-m", "cotan", "--help"], capture_output=True, text=True)
    assert out.returncode == 0
    assert "Start with: cotan list" in out.stdout


def test_version(cotan):
    from importlib.metadata import version

    assert cotan("--version").stdout == f"cotan {version('cotan')}\n"


@pytest.fixture(scope="module")
def mesh(tmp_path_factory) -> Path:
    import trimesh

    path = tmp_path_factory.mktemp("mesh") / "ball.off"
    trimesh.creation.icosphere(subdivisions=2).export(path)
    return path


@pytest.mark.parametrize(
    "command", ["list", "show", "compute", "fit", "bench", "predict", "inspect", "cache", "doctor"]
)
def test_help_has_an_example(cotan, command):
    out = cotan(command, "--help")
    assert out.returncode == 0
    assert f"Example: cotan {command}" in out.stdout


def test_no_line_of_the_commands_is_cut(cotan):
    assert "..." not in cotan("--help").stdout.split("Commands:")[1]


def test_the_help_of_fit_says_the_defaults_of_a_recipe():
    import typer

    from cotan.cli import app
    from cotan.training import Recipe

    fit = typer.main.get_command(app).commands["fit"]
    helps = {option.name: option.help or "" for option in fit.params}
    said = {name for name in Recipe.__dataclass_fields__ if "by default" in helps[name]}
    assert {"epochs", "lr", "optimizer", "patience"} <= said
    assert all(re.search(rf"\b{re.escape(str(getattr(Recipe(), name)))}\b.* by default", helps[name]) for name in said)


def test_compute_says_where_the_value_came_from(cotan, mesh, fresh_store, tmp_path):
    import numpy

    first = cotan("compute", mesh, "spectrum", "-o", "k=9", "--out", tmp_path / "s.npz", "--double")
    assert "computed in" in first.stdout, first.stderr
    again = cotan("compute", mesh, "spectrum", "-o", "k=9", "--double").stdout
    assert "from the store" in again
    found = numpy.load(tmp_path / "s.npz")
    numbers = ", ".join(f"{value:.6g}" for value in found["values"][:8])
    assert f"  9  in [{found['values'].min():.6g}, {found['values'].max():.6g}]  starts {numbers}\n" in again
    assert numpy.allclose(found["values"], [0] + [2] * 3 + [6] * 5, rtol=0.06, atol=1e-9)
    assert found["vectors"].shape == (162, 9)


def test_compute_writes_a_matrix_into_a_folder_of_its_own(cotan, mesh, tmp_path):
    import scipy.sparse

    path = tmp_path / "made/L.npz"
    assert f"written: {path}" in cotan("compute", mesh, "laplacian", "--out", path).stdout
    assert cotan("compute", mesh, "num_nodes").stdout.startswith("num_nodes: 162 (")
    expected = compute(read(mesh), "laplacian").to_dense()
    assert torch.equal(torch.from_numpy(scipy.sparse.load_npz(path).toarray()), expected)
    for arguments, message in {
        ("mass", "--out", mesh / "m.npz"): f"error: {mesh}/",  # a folder that is none
        ("pos",): "'pos' is in the file itself",
    }.items():
        out = cotan("compute", mesh, *arguments)
        assert (out.returncode, len(out.stderr.splitlines())) == (2, 1)
        assert message in out.stderr


def test_inspect_draws_what_a_network_of_views_sees(cotan, mesh, tmp_path, monkeypatch):
    from matplotlib.image import imread

    out = cotan("inspect", mesh, "--views", "--out", tmp_path / "v.png")
    assert out.stdout.endswith(f"picture: {tmp_path / 'v.png'}\n")
    height, width = imread(tmp_path / "v.png").shape[:2]
    assert (height, width) == (600, 800)  # three rows of four
    asked = []
    monkeypatch.setattr("cotan.inspect.shaded_views", lambda *_, up: asked.append(up))
    for up in ([], ["--up", "x"]):
        cotan("inspect", mesh, "--views", *up, "--out", tmp_path / "v.png")
    assert asked == ["z", "x"]


def test_compute_writes_matrices_of_a_tuple_and_a_record_as_json(cotan, mesh, tmp_path):
    import numpy

    assert cotan("compute", mesh, "gradient", "--out", tmp_path / "g.npz").returncode == 0
    found, matrices = numpy.load(tmp_path / "g.npz"), compute(read(mesh), "gradient")._asdict()
    assert len(found) == 3 * len(matrices)
    for name, matrix in matrices.items():
        for part in ("row", "col", "values"):
            assert numpy.array_equal(found[f"{name}_{part}"], getattr(matrix, part))
    out = cotan("compute", mesh, "mesh_report", "--out", tmp_path / "r.npz")
    assert (out.returncode, out.stderr) == (
        2,
        f"error: --out {tmp_path}/r.npz: the value is a record, expected .json\n",
    )
    assert not (tmp_path / "r.npz").exists()
    out = cotan("compute", mesh, "num_nodes", "--out", tmp_path / "n.npz")
    assert (
        out.stderr
        == f"error: --out {tmp_path}/n.npz: a int cannot be written; .npz takes tensors, matrices and tuples of them\n"
    )
    assert cotan("compute", mesh, "mesh_report", "--out", tmp_path / "r.json").returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["euler"] == 2
    out = cotan("compute", mesh, "mass", "--out", tmp_path / "m.json")
    assert (out.returncode, out.stderr) == (
        2,
        f"error: --out {tmp_path}/m.json: expected a file ending in .npz; a value per vertex also .off, .obj, .ply, .glb or "
        ".png; a record .json; the value is no record\n",
    )


@pytest.mark.parametrize("size", ["x", "nan", "-3", "inf"])
def test_a_size_of_the_store_that_is_none(cotan, size, monkeypatch):
    monkeypatch.setenv("COTAN_CACHE_GB", size)
    out = cotan("cache")
    assert (out.returncode, out.stderr) == (2, f"error: COTAN_CACHE_GB={size!r}, expected a number of gigabytes\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["compute", "MESH", "mass", "--out", "FILE.npz"],
        ["compute", "MESH", "mesh_report", "--out", "FILE.json"],
        ["show", "mlp", "--out", "FILE.svg"],
    ],
)
def test_a_full_disk_is_said_with_the_files_name_and_leaves_what_was_there(
    arguments, cotan, mesh, tmp_path, monkeypatch
):
    def full(source, target):
        if target == file:
            raise OSError(28, "No space left on device")
        os.rename(source, target)

    file = tmp_path / f"out{arguments[-1].removeprefix('FILE')}"
    file.write_bytes(b"before")
    monkeypatch.setattr("cotan.atomic.os.replace", full)
    given = {"MESH": mesh, arguments[-1]: file}
    out = cotan(*(given.get(argument, argument) for argument in arguments))
    assert out.returncode == 2
    assert f"error: {file} cannot be written: No space left on device. What was there before it is whole" in out.stderr
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [b"before"]


def test_show_writes_a_picture_in_which_shared_nodes_appear_once(cotan, tmp_path):
    out = cotan("show", "spectral", "smooth-spectral", "mlp", "--out", tmp_path / "plan.svg")
    assert out.returncode == 0, out.stderr
    assert out.stdout.count("operator  laplacian") == 1
    assert "shared by mlp, smooth-spectral, spectral" in out.stdout
    svg = (tmp_path / "plan.svg").read_text()
    assert svg.count(">laplacian") >= 1
    from xml.etree import ElementTree

    ElementTree.fromstring(svg)


def test_a_plan_is_no_png(cotan, tmp_path):
    out = cotan("show", "mlp", "--out", tmp_path / "plan.png")
    assert (out.returncode, list(tmp_path.iterdir())) == (2, [])
    assert out.stderr == f"error: --out {tmp_path / 'plan.png'}: a plan is drawn as .svg\n"


@pytest.mark.parametrize("task", ["classify", "label"])
def test_fit_on_a_folder_of_meshes(cotan, task, tmp_path):
    """One class a shape, or labels in files; what cannot be used is named and counted."""
    triangle = "OFF\n4 2 0\n0 0 0\n1 0 0\n0 1 0\n1 1 {}\n3 0 1 2\n3 2 1 3\n"
    for part, count in (("train", 5), ("test", 2)):
        for i in range(count):
            for name in ("flat", "steep") if task == "classify" else ("",):
                folder = tmp_path / name / part
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{i}.off").write_text(triangle.format(int(name == "steep")))
                if task == "label" and (part, i) != ("train", 3):
                    (folder / f"{i}.txt").write_text("1 1 2 2")
    (tmp_path / "flat/train/4.off" if task == "classify" else tmp_path / "train/4.off").write_text("no mesh")
    out = cotan(
        "fit", "--model", "gcn", "--dataset", "folder", "--root", tmp_path, "--epochs", 1, "--out", tmp_path / "r"
    )
    assert out.returncode == 0
    assert "test_accuracy" in out.stdout
    assert ("1 file was skipped" if task == "classify" else "2 files were skipped") in out.stderr
    assert "4.off: " in out.stderr


def test_cache_shows_and_prunes(cotan, mesh, fresh_store):
    cotan("compute", mesh, "mass")
    shown = cotan("cache")
    assert "mass" in shown.stdout
    assert "1 entries" in shown.stdout
    assert "removed 1 files" in cotan("cache", "--prune").stdout
    for node in ("mass", "edge_lengths"):
        cotan("compute", mesh, node)
    one = cotan("cache", "--prune", "--node", "mass")
    assert (one.returncode, "removed 1 files" in one.stdout) == (0, True)


def test_what_an_older_format_left_is_said_and_pruned(cotan, fresh_store):
    old, own = (fresh_store.folder.with_name("v2") / name for name in ("mass/ab/abc.safetensors", "notes.txt"))
    old.parent.mkdir(parents=True)
    for file in (old, own):
        file.write_bytes(bytes(2048))
    assert f"{old.parents[2]}: 2.0 kB of an older format; --prune removes it" in cotan("cache").stdout
    assert f"{old.parents[2]}: 2.0 kB of an older format, removed" in cotan("cache", "--prune").stdout
    assert own.exists()
    assert not old.exists()


def test_a_store_that_stays_is_no_store_that_was_pruned(cotan, mesh, fresh_store, monkeypatch):
    """As where it is another user's."""

    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")

    cotan("compute", mesh, "mass")
    cotan("compute", mesh, "edge_lengths")
    monkeypatch.setattr(Path, "unlink", refused)
    out = cotan("cache", "--prune", "--node", "mass")
    assert out.returncode == 2
    assert re.search(r"v3 holds [\d.]+ k?B that were to go: another process writes there, or they cannot", out.stderr)
    assert cotan("cache", "--prune", "--keep", "1").returncode == 0


BAD = {
    "empty.off": (b"", "is empty"),
    "nothing.off": (b"OFF\n0 0 0\n", "no vertices"),
    "nan.off": (b"OFF\n3 1 0\n0 0 0\nnan 0 0\n0 1 0\n3 0 1 2\n", "NaN or infinite"),
    "far.off": (
        b"OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 7\n",
        "face out of range: vertex numbers 0 to 7, expected 0 to 2",
    ),
    "points.obj": (b"v 0 0 0\nv 1 0 0\nv 0 1 0\n", "face"),
    "half.off": (b"OFF\n3 2 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "ends after 1 of its 2 faces"),
    "noise.ply": (bytes(range(256)), "cannot be read"),
    "words.doc": (b"hello", "unknown kind of file"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_message_and_exit_2(cotan, name, tmp_path):
    content, message = BAD[name]
    path = tmp_path / name
    path.write_bytes(content)
    out = cotan("compute", path, "laplacian", "-o", "kind=cotan", "--out", tmp_path / "out.npz")
    assert out.returncode == 2, out.stdout + out.stderr
    assert out.stderr.startswith("error: ")
    assert message in out.stderr
    assert "Traceback" not in out.stderr
    assert not (tmp_path / "out.npz").exists()


FIT = ["fit", "--model", "gcn", "--dataset", "blocks", "--epochs", "1", "--out", "run"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["compute", "MESH", "spectrm"], "Did you mean 'spectrum'"),
        (["compute", "MESH", "spectrum", "-o", "kk=3"], "Did you mean 'k'"),
        (["compute", "MESH", "spectrum", "-o", "k"], "expected NAME=VALUE"),
        (["show", "--filters", "RUN", "-o", "k=3"], "no MODEL and no option with it"),
        (["compute", "nowhere.off", "spectrum"], "no file nowhere.off"),
        (["show", "specral"], "Did you mean 'spectral'"),
        (["show"], "no model named; there is: aggregate, "),
        (["list", "layrs"], "unknown kind or name 'layrs'. Did you mean 'layer'"),
        (["compute", "MESH", "spectrum", "-o", "k=x"], "option k='x' of operator 'spectrum': expected a number"),
        (["cache", "--prune", "--node", "spectrm"], "unknown node in the store 'spectrm'"),
        (["cache", "--prune", "--keep", "-1"], "--keep -1: expected gigabytes, zero or more"),
        (["cache", "--keep", "3"], "--node and --keep say what --prune removes"),
        ([*FIT, "-o", "width=wide"], "width='wide'"),
        ([*FIT, "-o", "dropout=2"], "dropout=2: ValueError: dropout probability has to be between 0 and 1"),
        ([*FIT, "-d", "nodes=many"], "nodes='many'"),
    ],
)
def test_bad_words_are_one_message_and_exit_2(cotan, arguments, message, mesh, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = cotan(*[str(mesh) if a == "MESH" else a for a in arguments])
    assert out.returncode == 2
    assert message in out.stderr
    assert "Traceback" not in out.stderr
    assert list(tmp_path.iterdir()) == []


def test_fit_shows_how_far_a_dataset_is_made(monkeypatch, tmp_path):
    from cotan import cli

    def made(name, *, progress, **_):
        assert callable(progress)
        raise StopIteration

    monkeypatch.setattr("cotan.datasets.load_dataset", made)
    with pytest.raises(StopIteration):
        cli.fit(model="gcn", dataset="poses", out=tmp_path)


def test_options_as_python_writes_them():
    from cotan.cli import _options

    pairs = {"a=False": False, "a=false": False, "a=None": None, "a=0.5": 0.5, "a=[1, 2]": [1, 2], "a=mean": "mean"}
    assert [_options([pair])["a"] for pair in pairs] == list(pairs.values())
    assert _options(["in-both=1", "words_of=a-b"]) == {"in_both": 1, "words_of": "a-b"}


def test_fit_then_predict_labels_as_coloured_meshes(cotan, mesh, tmp_path):
    import shutil

    import trimesh

    other = tmp_path / "other.off"
    shutil.copy(mesh, other)
    options = [
        "-d",
        "per_class=3",
        "-d",
        "task=label",
        "-d",
        "stress=[]",
        "-d",
        'creatures=["dog","crab"]',
        "-d",
        "vertices=150",
    ]
    fitted = cotan("fit", "--model", "linear", "--dataset", "poses", *options, "--epochs", 1, "--out", tmp_path / "run")
    assert fitted.returncode == 0, fitted.stderr
    one = cotan("predict", tmp_path / "run", mesh, "--out", tmp_path / "one.ply")
    assert "one.ply" in one.stdout
    listed = cotan("predict", tmp_path / "run", mesh, "--out", tmp_path / "one.txt")
    assert listed.returncode == 0
    labels = (tmp_path / "one.txt").read_text().splitlines()
    assert len(labels) == len(read(mesh).pos)
    assert set(labels) <= set(Run.load(tmp_path / "run").classes)
    as_numbers = ["--task", "regress-vertices", "--epochs", 1, "--out", tmp_path / "numbers"]
    assert cotan("fit", "--model", "linear", "--dataset", "poses", *options, *as_numbers).returncode == 0
    numbers = cotan("predict", tmp_path / "numbers", mesh, "--out", tmp_path / "numbers.txt")
    found = [float(line) for line in (tmp_path / "numbers.txt").read_text().splitlines()]
    assert len(found) == len(read(mesh).pos)
    assert f"{min(found):.6g} to {max(found):.6g}" in numbers.stdout
    (tmp_path / "seam.xyz").write_text("0 0 0\n1 0 0\n0 0 0\n")
    seam = cotan("predict", tmp_path / "run", tmp_path / "seam.xyz", "--out", tmp_path / "seam.txt")
    assert len((tmp_path / "seam.txt").read_text().splitlines()) == 3  # a line for each row of the file
    assert " at 0 " not in seam.stdout
    two = cotan("predict", tmp_path / "run", mesh, other, "--out", tmp_path / "two")
    assert two.returncode == 0, two.stderr
    names = {path.name for path in (tmp_path / "two").iterdir()}
    assert names == {f"{mesh.stem}.labels.ply", "other.labels.ply"}
    for where in ([], ["--out", tmp_path / "two"]):
        for again in (mesh, tmp_path / mesh.name.upper()):  # which is the same file on Windows and on a Mac
            same = cotan("predict", tmp_path / "run", mesh, other, again, *where)
            assert (same.returncode, same.stdout) == (2, "")
            assert "error: two of the files have one name (but for case, at most)" in same.stderr
    (tmp_path / "there").mkdir()
    assert cotan("predict", tmp_path / "run", mesh, "--out", tmp_path / "there").returncode == 0
    assert [path.name for path in (tmp_path / "there").iterdir()] == [f"{mesh.stem}.labels.ply"]
    drawn = trimesh.load(tmp_path / "one.ply", process=False)
    assert drawn.visual.kind == "vertex"
    assert len(drawn.vertices) == len(trimesh.load(mesh, process=False).vertices)


def test_predict_several_numbers_a_vertex(cotan, mesh, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shape = read(mesh)
    shape.y = compute(shape, "vertex_normals")
    splits = Splits([shape], [], [shape], task="regress-vertices")
    run = fit("linear", splits, epochs=1, out="run", progress="none")
    assert cotan("predict", "run", mesh).returncode == 0
    for name, wanted in (
        ("x.csv", "answers at vertices go to a .txt"),
        ("x.ply", "several numbers a vertex go to a .txt"),
    ):
        assert wanted in cotan("predict", "run", mesh, "--out", name).stderr
        assert not Path(name).exists()
    rows = [line.split() for line in Path("ball.labels.txt").read_text().splitlines()]
    torch.testing.assert_close(torch.tensor([[float(n) for n in row] for row in rows]), predict(run, shape).label)


def test_fit_then_predict_one_answer_a_shape(cotan, mesh, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = ["--dataset", "poses", "-d", "per_class=3", "-d", 'creatures=["dog","crab"]', "-d", "vertices=150"]
    for run, *task in (("classes",), ("numbers", "--task", "regress")):
        fitted = cotan("fit", "--model", "linear", *data, "-d", "stress=[]", *task, "--epochs", 1, "--out", run)
        assert fitted.returncode == 0, fitted.stderr
    found = predict(Run.load("classes"), mesh)
    assert cotan("predict", "classes", mesh).stdout == f"{mesh}: {found.name}  {found.probability:.1%}\n"
    found = predict(Run.load("numbers"), mesh)
    out = cotan("predict", "numbers", mesh, mesh, "--out", "numbers.csv").stdout
    assert out == f"{mesh}: {float(found.label):.6g}\n" * 2 + "table: numbers.csv\n"
    assert Path("numbers.csv").read_text() == "file,0\n" + f"{mesh},{float(found.label):.6g}\n" * 2
    Path("folder.csv").mkdir()
    assert "can go to a .csv" in cotan("predict", "numbers", mesh, "--out", "folder.csv").stderr
    cotan("predict", "classes", mesh, "--out", "classes.csv")
    head, row = map(str.split, Path("classes.csv").read_text().splitlines(), ",,")
    assert head == ["file", "class", "dog", "crab"]
    assert row[:2] == [str(mesh), predict("classes", mesh).name]
    assert [float(p) for p in row[2:]] == pytest.approx(predict("classes", mesh).probabilities.tolist(), rel=1e-5)
    Path("bad.off").write_text("no mesh")
    out = cotan(
        "predict", "classes", "bad.off", mesh, "gone.off", "--out", "some.csv"
    )  # one does not end the others' work
    assert (out.returncode, out.stdout.splitlines()[1:]) == (1, ["table: some.csv"])
    assert Path("some.csv").read_text() == Path("classes.csv").read_text()
    first, second, last = out.stderr.splitlines()
    assert first.startswith("skipped bad.off: bad.off cannot be read as a mesh")
    assert second == "skipped gone.off: no file gone.off"
    assert last == "2 of 3 files skipped, the first bad.off"
    out = cotan("predict", "classes", "bad.off", "gone.off", "--out", "none.csv")
    assert (out.returncode, out.stdout, Path("none.csv").exists()) == (1, "", False)
    out = cotan("predict", "classes", "bad.off", "--out", "none.csv")
    assert (out.returncode, out.stderr.startswith("error: bad.off cannot"), Path("none.csv").exists()) == (
        2,
        True,
        False,
    )
    for files in ([mesh], [mesh, mesh.with_name("other.off")]):
        out = cotan("predict", "classes", *files, "--out", "labels.txt")
        assert (out.returncode, out.stdout) == (2, "")
        assert "--out labels.txt: this model gives one answer a shape" in out.stderr
    assert not (tmp_path / "labels.txt").exists()


def test_list_says_a_line_of_each(cotan):
    out = cotan("list").stdout.splitlines()
    models = "models, and each layer: the stack of it (cotan list stack)"
    start = {kind: out.index(kind) for kind in ("operators", "layers", models, "datasets", "tasks", "suites")}
    assert list(start.values()) == sorted(start.values())
    assert re.match(r"  spectrum +\S", next(line for line in out if line.startswith("  spectrum ")))
    names = [line.split()[0] for line in out[start[models] + 1 : start["datasets"]]]
    assert "stack" in names
    assert not {"gcn", "spectral"} & set(names)
    cut = [line for line in out if len(line.split()) > 1 and line.startswith("  ") and line[-1] not in ".?):"]
    assert not cut, "first lines of docstrings that are no sentence"
    assert [line.split()[0] for line in out[start["suites"] + 1 :]][:2] == ["cora", "demo"]
    assert cotan("list", "suites").stdout.splitlines() == out[start["suites"] :]


def test_list_says_all_of_a_name(cotan):
    out = cotan("list", "folder").stdout
    assert "Arguments:\n    root: the folder." in out
    assert "options: root='', seed=0, val=0.0, test=0.2, group='', per='', votes=True\n" in out
    assert '[[models]]\nname = "linear"' in cotan("list", "demo").stdout
    out = cotan("list", "spectral").stdout
    assert "needs: spectrum, mass\noptions: k=64\n" in out
    assert "cotan list stack" in out
    out = cotan("list", "zoom_out").stdout
    assert out.startswith(
        "function cotan.operators.zoom_out(functional, source, target, target_mass, *, step=4, landmarks=None)\n\nA"
    )


def test_what_cotan_did_not_expect_is_one_line_too(cotan, mesh, monkeypatch):
    def broken(*_, **__):
        raise RuntimeError("boom\nand more")

    monkeypatch.setattr("cotan.files.read", broken)
    monkeypatch.delenv("COTAN_DEBUG", raising=False)
    out = cotan("compute", mesh, "mass")
    assert out.returncode == 1
    assert re.fullmatch(r"error: RuntimeError: boom \(.*test_cli.py:\d+\)\. cotan did not .*\n", out.stderr)
    monkeypatch.setenv("COTAN_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["cotan", "compute", str(mesh), "mass"])
    with pytest.raises(RuntimeError, match="boom"):
        main()
    monkeypatch.setattr(sys, "argv", ["cotan", "list", "spectrall"])
    with pytest.raises(CotanError, match="unknown kind or name"):
        main()


def test_a_terminal_without_accents_still_says_the_rest(cotan, tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stderr", terminal)
    assert cotan("inspect", tmp_path / "é.off").returncode == 2
    terminal.flush()
    assert terminal.buffer.getvalue().decode() == f"error: no file {tmp_path}/?.off\n"


def test_an_interrupted_command_says_so(cotan, mesh, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("cotan.files.read", interrupted)
    out = cotan("compute", mesh, "mass")
    assert (out.returncode, out.stderr.split(";")[0]) == (130, "stopped")


def test_a_training_that_is_stopped_keeps_its_run_and_says_so_to_scripts(cotan, tmp_path, monkeypatch):
    from cotan.training import loop

    epoch = loop.Fit._one_epoch

    def one_epoch(self):
        if self.epoch == 1:
            raise KeyboardInterrupt
        epoch(self)

    monkeypatch.setattr(loop.Fit, "_one_epoch", one_epoch)
    out = cotan(*FIT, "--epochs", "3", "--out", str(tmp_path / "run"))
    assert (out.returncode, out.stderr.splitlines()[-1].split(";")[0]) == (130, "stopped")
    assert (tmp_path / "run/best.safetensors").exists()


def test_values_per_vertex_are_written_in_colours(cotan, mesh, tmp_path):
    for name in ("h.png", "h.ply"):
        node = ("heat_kernel_signature", "mean_curvature")[name == "h.ply"]
        out = cotan("compute", mesh, node, "--out", tmp_path / name)
        assert out.returncode == 0
        assert (tmp_path / name).stat().st_size > 1000
        assert ("drawn are the first 9 of 16 columns" in out.stdout) == (name == "h.png")
    none = ("spectrum", "mesh_report", "raster")
    for node, name in (("mass", "m.txt"), ("mass", "m.stl"), *((node, "n.png") for node in none), ("voxels", "v.ply")):
        refused = cotan("compute", mesh, node, "--out", tmp_path / name)
        assert (refused.returncode, len(refused.stderr.splitlines())) == (2, 1)
        assert "expected a file ending in .npz" in refused.stderr
        assert ("or .png, in which it is drawn" in refused.stderr) == (node == "voxels")


def test_values_that_their_operator_draws_are_drawn(cotan, mesh, tmp_path):
    from matplotlib.image import imread

    from cotan_voxels import slices

    def drawn(node, *options):
        assert cotan("compute", mesh, node, *options, "--out", tmp_path / "new/x.png").returncode == 0
        return torch.from_numpy(imread(tmp_path / "new/x.png"))[..., :3]

    sheet = drawn("views", "-o", "size=16", "-o", "count=4", "-o", 'outputs=["silhouette"]')
    seen = compute(read(mesh), "views", size=16, count=4, outputs=("silhouette",))
    assert sheet.shape == (18, 4 * 18, 3)  # in one row, with two pixels between
    assert torch.equal(sheet[:16, 18:34, 0], seen[1, 0])
    whole, cut = drawn("torus"), drawn("torus", "-o", "pos=normalized_pos", "-o", "maps=2")
    assert cut.shape[0] == 2 * whole.shape[0]  # a row for each map
    slices([compute(read(mesh), "voxels", resolution=8)]).savefig(tmp_path / "slices.png")
    assert torch.equal(
        drawn("voxels", "-o", "resolution=8"), torch.from_numpy(imread(tmp_path / "slices.png"))[..., :3]
    )


def test_a_typo_is_met_before_anything_is_made(cotan, mesh, tmp_path, monkeypatch):
    monkeypatch.setattr("cotan.datasets.load_dataset", None)
    monkeypatch.setattr("cotan.evaluation.compute", None)
    fit = ("fit", "--dataset", "poses", "--out", tmp_path / "run", "--model")
    for arguments, said in (
        ((*fit, "linaer"), "Did you mean 'linear'"),
        ((*fit, "gcn", "-o", "widht=8"), "unknown option of a stack of 'gcn' 'widht'. Did you mean 'width'"),
        ((*fit, "stack", "-o", "layer=gat", "-o", "head=8"), "of a stack of 'gat' 'head'. Did you mean 'heads'"),
        ((*fit, "pyramid", "-o", "width=8"), "of a pyramid of 'gcn' 'width'. Did you mean 'widths'"),
        ((*fit, "mlp", "-o", "layer=gat"), "unknown option of model 'mlp' 'layer'"),
        ((*fit, "gat", "-o", "heads=many"), "option heads='many' of layer 'gat': expected a number"),
        ((*fit, "gcn", "-o", "task=label"), "task='label' among the options of model 'gcn': it is given apart"),
        (("show", "gcn", "-o", "task=label"), "task='label' among the options of model 'gcn': it is given apart"),
        (("compute", mesh, "spectrum", "--out", "x.foo"), "--out x.foo: expected a file ending in .npz"),
        (("inspect", mesh, "--out", "x.foo"), "--out x.foo: expected a file ending in .png"),
        (("inspect", mesh, "--k", "0"), "Invalid value for '--k'"),
        (("inspect", mesh, "--up", "q"), "unknown axis 'q'. There is: x, y, z"),
    ):
        out = cotan(*arguments)
        assert (out.returncode, out.stdout) == (2, "")
        assert said in out.stderr
    assert not list(tmp_path.iterdir())


def test_a_seed_that_failed_fails_the_command(cotan, tmp_path, monkeypatch):
    from cotan.benchmark import Suite, Table

    row = {"dataset": "blobs", "model": "mlp", "seed": 0, "val_loss": 1.0, "test_loss": 1.0, "test_accuracy": 1.0}
    suite = Suite.of({"datasets": ["blobs"], "models": ["mlp"], "seeds": [0, 1]})
    row["key"] = suite.key(*suite.each()[0])
    monkeypatch.setattr("cotan.report.write_report", lambda table: tmp_path)
    for seed, rows, code in ((1, [row], 1), (None, [row], 0), (None, [], 1)):  # of None a stress variant that the model
        failed = [("blobs", "mlp", seed, "not finite")]  # cannot take, or all there is
        monkeypatch.setattr("cotan.benchmark.bench", lambda *_, r=rows, f=failed, **__: Table(suite, tmp_path, r, f))
        assert cotan("bench", "demo").returncode == code
    stopped = Table(suite, tmp_path, [row], stopped=True)
    monkeypatch.setattr("cotan.benchmark.bench", lambda *_, **__: stopped)
    out = cotan("bench", "demo")
    assert out.returncode == 130
    said = f"stopped: 1 of 2 results are kept in {tmp_path}; the same command goes on"
    assert "".join(said.split()) in "".join(out.stdout.split())  # wherever it is wrapped


def test_inspect_says_what_can_be_said_of_a_graph(cotan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "g.edgelist").write_text("0 1\n1 2\n3 3\n")
    (tmp_path / "p.xyz").write_text("0 0 0\n1 0 0\n0 1 0\n")
    out = cotan("inspect", "g.edgelist")
    assert (out.returncode, out.stderr) == (0, "")
    assert out.stdout.splitlines() == [
        "vertices: 4",
        "edges: 3",
        "components: 2",
        "self loops: 1",
        "largest degree: 2",
        "eigenvalues: 0, 0, 1, 3",  # of a path of three, and of a vertex
    ]
    for file, *options in (("g.edgelist", "--out", "g.png"), ("g.edgelist", "--views"), ("p.xyz", "--views")):
        out = cotan("inspect", file, *options)
        assert out.returncode == 2
        assert f"{file} has no {'face' if '--views' in options else 'pos'} to draw" in out.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["g.edgelist", "p.xyz"]


def test_names_of_files_and_classes_steer_no_terminal_and_no_spreadsheet(cotan, mesh, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shapes = [read(mesh) for _ in range(4)]
    for i, shape in enumerate(shapes):
        shape.y = torch.tensor([i % 2])
    classes = ("=HYPERLINK(0)", "\x1b]0;owned\x07")
    fit("linear", Splits(shapes, [], [], classes=classes), epochs=1, val_share=0, progress="none", out="run")
    Path("-1+1\x1b[2J.off").write_bytes(mesh.read_bytes())
    out = cotan("predict", "run", "--out", "table.csv", "--", "-1+1\x1b[2J.off")
    assert out.returncode == 0, out.stderr
    assert out.stdout.startswith("-1+1\\x1b[2J.off: ")
    assert "\x1b" not in out.stdout + out.stderr
    with Path("table.csv").open(newline="") as file:
        head, row = csv.reader(file)
    assert head[2] == "'=HYPERLINK(0)"
    assert row[0].startswith("'-1+1")
    assert sum(map(float, row[2:])) == pytest.approx(1, abs=1e-5)  # numbers stay numbers


def test_csv_text_leaves_numbers_of_any_sign():
    assert csv_text([["-1.5", "+2", -3, None, "a-b", "-nan", "@x"]]) == "-1.5,+2,-3,,a-b,-nan,'@x\n"
