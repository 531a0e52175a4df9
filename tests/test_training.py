"""Recipes, fit, resume, interruption, evaluate, predict."""

import errno
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from threading import Barrier, Event, Thread, current_thread
from types import SimpleNamespace
from weakref import ref

import numpy as np
import pytest
import torch
from filelock import FileLock
from torch import nn
from torch.nn.utils import parametrize, prune
from torch_geometric.data import Data
from typer.testing import CliRunner

import cotan
from cotan.atomic import BESIDE
from cotan.batching import prepare
from cotan.cli import app
from cotan.datasets import Splits
from cotan.errors import CotanError
from cotan.tasks import Classify
from cotan.training import Recipe, Run, checkpoint, evaluate, fit, model_for, predict
from cotan.training.device import make_fabric, own_randomness
from cotan.training.evaluate import in_eval
from cotan.training.folder import alone, append, put_aside, unlocked
from cotan.training.make import describe
from cotan.training.predict import Prediction
from cotan.training.progress import Progress
from cotan.training.recipe import node_of, record_of

QUICK = {"epochs": 4, "batch_size": 4, "lr": 1e-2, "progress": "none", "device": "cpu"}


def cloud(label: int, seed: int, points: int = 12) -> Data:
    """Points on a segment (class 0) or on a circle (class 1)."""
    g = torch.Generator().manual_seed(seed)
    t = torch.rand(points, generator=g) * 6.28
    pos = torch.stack([t.cos(), t.sin() * label, 0 * t], 1)
    return Data(pos=pos, y=torch.tensor([label]))


def clouds() -> Splits:
    lists = [[cloud(i % 2, 100 * part + i, 10 + i % 3) for i in range(n)] for part, n in enumerate((12, 6, 6))]
    return Splits(*lists, classes=("segment", "circle"), stress={"again": lists[2]}, name="clouds")


def deterministic(history):
    return [{k: v for k, v in line.items() if not k.endswith("_seconds")} for line in history]


def test_a_run_learns_and_leaves_its_files(tmp_path):
    run = fit("linear", clouds(), out=tmp_path / "run", **{**QUICK, "epochs": 30})
    assert run.status == "finished"
    assert run.metrics["test_accuracy"] == 1
    assert run.metrics["stress_again_accuracy"] == run.metrics["test_accuracy"]
    assert evaluate(run, tuple(clouds().test)) == evaluate(run, clouds())
    lines = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert lines == run.history
    assert [line["epoch"] for line in lines] == list(range(1, 31))
    assert lines[-1]["train_loss"] < lines[0]["train_loss"]
    assert all(isinstance(v, int | float) for line in lines for v in line.values())
    there = {path.name for path in (tmp_path / "run").iterdir()}
    files = {"metrics.jsonl", "run.json", "best.safetensors", "best.json", "last.safetensors", "last.json"}
    assert there - {".lock"} == files  # some versions of filelock remove theirs
    final = json.loads((tmp_path / "run/run.json").read_text())
    assert final["metrics"] == run.metrics
    assert final["model"]["options"]["layer"] == "linear"


@pytest.fixture(scope="module")
def one_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "one"
    fit(model_for("mlp", clouds(), width=4, depth=1), clouds(), **{**QUICK, "epochs": 1}, out=folder)
    return folder


def test_two_runs_of_one_seed_are_equal_and_of_two_seeds_are_not():
    a, b, c = (fit("linear", clouds(), seed=seed, **QUICK) for seed in (3, 3, 4))
    assert deterministic(a.history) == deterministic(b.history)
    assert a.metrics == b.metrics
    assert deterministic(a.history) != deterministic(c.history)


def test_no_epoch_of_a_seed_is_one_of_the_next():
    models = (model_for("linear", clouds(), seed=0, dropout=0.3) for _ in range(2))
    runs = [fit(model, clouds(), seed=seed, **{**QUICK, "lr": 1e-12}) for seed, model in enumerate(models)]
    assert len({line["train_loss"] for run in runs for line in run.history}) == 8


def test_the_callers_generator_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    fit("linear", clouds(), **QUICK)
    assert torch.equal(torch.rand(3), expected)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_resume_gives_the_numbers_of_an_uninterrupted_run(tmp_path, optimizer):
    settings = {**QUICK, "epochs": 6, "optimizer": optimizer, "schedule": "step", "step_size": 2}
    data = clouds()
    whole = fit(model_for("linear", data, seed=0, dropout=0.3), data, out=tmp_path / "whole", **settings)
    stopping = model_for("linear", data, seed=0, dropout=0.3)
    calls = [0]

    def stop(module, args):
        calls[0] += module.training
        if calls[0] == 3 * 3 + 2:  # in the middle of the fourth epoch of three batches
            raise KeyboardInterrupt

    handle = stopping.register_forward_pre_hook(stop)
    part = fit(stopping, data, out=tmp_path / "part", **settings)
    handle.remove()
    assert part.status == "stopped"
    assert len(part.history) == 3
    assert "test_accuracy" not in part.metrics
    assert Run.load(tmp_path / "part").best_epoch == part.best_epoch
    rest = fit(model_for("linear", data, seed=9, dropout=0.3), data, out=tmp_path / "part", resume=True, **settings)
    assert deterministic(rest.history) == deterministic(whole.history)
    assert rest.metrics == whole.metrics
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name])


def slow_training(out, settings):
    """A process in which each step waits, so that it can be met on its way."""
    script = (
        "import sys, time\n"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import test_training as t\n"
        "model = t.model_for('linear', t.clouds(), seed=0)\n"
        "model.register_forward_pre_hook(lambda module, args: time.sleep(0.05))\n"
        f"t.fit(model, t.clouds(), out={str(out)!r}, **{settings!r})\n"
    )
    return subprocess.Popen([sys.executable, "-c", script])


def test_a_killed_process_resumes_to_the_same_metrics(tmp_path):
    settings = {**QUICK, "epochs": 12}
    process = slow_training(tmp_path / "killed", settings)
    metrics = tmp_path / "killed/metrics.jsonl"
    limit = time.monotonic() + 100
    while time.monotonic() < limit and process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= 3:
            break
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 3 <= metrics.read_text().count("\n") < 12
    fit("linear", clouds(), out=tmp_path / "killed", resume=True, **settings)
    whole = fit("linear", clouds(), out=tmp_path / "whole", **settings)
    again = Run.load(tmp_path / "killed")
    assert again.status == "finished"
    assert deterministic(again.history) == deterministic(whole.history)
    assert again.metrics == whole.metrics


def test_the_same_shapes_in_another_place_are_resumed(tmp_path):
    """A job that starts again on another node may have its data in another folder."""
    first, second = (replace(clouds(), options={"root": root}) for root in ("scratch/1", "scratch/2"))
    fit("linear", first, out=tmp_path, **QUICK)
    run = fit("linear", second, out=tmp_path, resume=True, **{**QUICK, "epochs": 6})
    assert (len(run.history), Run.load(tmp_path).dataset["options"]) == (6, {"root": "scratch/2"})
    (other := clouds()).train.reverse()
    with pytest.raises(CotanError, match="cannot be resumed: its dataset has digest="):
        fit("linear", other, out=tmp_path, resume=True, **QUICK)


def test_resume_without_a_checkpoint_starts_afresh_and_says_so(tmp_path, capsys):
    run = fit("linear", clouds(), out=tmp_path / "new", resume=True, **{**QUICK, "progress": "lines"})
    assert "no checkpoint to resume: starting afresh" in capsys.readouterr().err
    assert len(run.history) == 4


def test_resume_of_another_recipe_is_refused(tmp_path):
    fit("linear", clouds(), out=tmp_path / "run", **QUICK)
    for change, said in (({"lr": 0.1}, "lr=0.01, now it is 0.1"), ({"precision": "bf16"}, "precision='32', now")):
        with pytest.raises(cotan.CotanError, match=f"its recipe has {said}"):
            fit("linear", clouds(), out=tmp_path / "run", resume=True, **QUICK | change)
    may_differ = {"epochs": 5, "patience": 9, "device": "auto"}
    longer = fit("linear", clouds(), out=tmp_path / "run", resume=True, **QUICK | may_differ)
    assert len(longer.history) == 5


def test_other_epochs_go_on_where_the_recipe_still_says_how_the_run_came_about(tmp_path):
    for schedule in ({}, {"schedule": "step", "step_size": 2}):
        short, whole = tmp_path / f"short {len(schedule)}", {**QUICK, **schedule, "epochs": 6}
        fit("linear", clouds(), out=short, **{**whole, "epochs": 3})
        longer = fit("linear", clouds(), out=short, resume=True, **whole)
        assert deterministic(longer.history) == deterministic(fit("linear", clouds(), **whole).history)
        with pytest.raises(cotan.CotanError, match=r"epochs=5, and 6 are done\. Without resume, it is put aside"):
            fit("linear", clouds(), out=short, resume=True, **{**whole, "epochs": 5})
    cosine = {**QUICK, "out": tmp_path / "cosine", "schedule": "cosine"}
    fit("linear", clouds(), **cosine)
    for epochs in (3, 5):
        said = "epochs=3, and 4 are done" if epochs == 3 else "schedule='cosine' are those of epochs=4, now it is 5"
        with pytest.raises(cotan.CotanError, match=said):
            fit("linear", clouds(), resume=True, **{**cosine, "epochs": epochs})
    assert Run.load(cosine["out"]).recipe.epochs == len(Run.load(cosine["out"]).history) == 4


def test_an_earlier_run_is_put_aside(tmp_path):
    first = fit("linear", clouds(), out=tmp_path / "run", **QUICK)
    fit("linear", clouds(), out=tmp_path / "run", **{**QUICK, "epochs": 1})
    assert Run.load(tmp_path / "run/earlier-1").history == first.history
    assert len(Run.load(tmp_path / "run").history) == 1
    fit("linear", clouds(), out=tmp_path / "run", **QUICK)
    assert len(Run.load(tmp_path / "run/earlier-2").history) == 1


def test_a_run_that_is_put_aside_cannot_be_resumed_though_a_kill_cuts_that_short(tmp_path, monkeypatch):
    fit("linear", clouds(), out=tmp_path, **QUICK)
    real, moved = Path.rename, []

    def rename(path, target):
        if moved:
            raise KeyboardInterrupt
        moved.append(path)
        return real(path, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Path, "rename", rename)
        put_aside(tmp_path)
    run = fit("linear", clouds(), out=tmp_path, resume=True, **{**QUICK, "epochs": 1})
    assert (len(run.history), (tmp_path / "earlier-2/run.json").exists()) == (1, True)


@pytest.mark.parametrize("dear", [True, False])
def test_checkpoints_of_a_long_training_wait_for_the_disk(dear, tmp_path, monkeypatch):
    """A power cut may else leave one without content, and the one before is gone."""
    if dear:
        monkeypatch.setattr("cotan.training.epochs.DEAR", 0.0)
    synced, real = [], checkpoint.atomic.write

    def write(path, *content, sync=False):
        synced.append((path.name, sync))
        real(path, *content, sync=sync)

    monkeypatch.setattr(checkpoint.atomic, "write", write)
    monkeypatch.setattr(checkpoint.atomic, "to_disk", lambda file: synced.append(Path(file.name).name))
    fit("linear", clouds(), out=tmp_path, **{**QUICK, "epochs": 1})
    assert ("metrics.jsonl" in synced) == dear
    assert set(synced) >= {("run.json", True), ("best.safetensors", dear), ("last.safetensors", dear)}


def test_the_weights_of_a_finished_run_are_on_the_disk_before_it_says_so(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr(checkpoint.atomic, "to_disk", lambda file: synced.append(Path(file.name).name))
    fit("linear", clouds(), out=tmp_path, **{**QUICK, "epochs": 1})
    records = [name.startswith(BESIDE) or name for name in synced]  # run.json, first and last
    assert records == [True, "best.safetensors", True]


def test_what_a_kill_left_half_written_goes_when_the_run_goes_on(tmp_path):
    fit("linear", clouds(), out=tmp_path, **QUICK)
    half = tmp_path / f"{BESIDE}1"
    half.write_bytes(b"half of a checkpoint, of a job that was preempted")
    (mine := tmp_path / f"{BESIDE}mine").mkdir()
    fit("linear", clouds(), out=tmp_path, resume=True, **QUICK)
    assert not half.exists()
    assert mine.exists()


def test_a_line_that_a_kill_cut_short_gives_way_to_the_next(tmp_path):
    path = tmp_path / "lines.jsonl"
    for cut in (b"", b'{"a": 1}\n', b'{"a": 1}\n{"b"', b'{"b"'):
        path.write_bytes(cut)
        append(path, {"c": 2})
        assert path.read_bytes() == cut[: cut.rfind(b"\n") + 1] + b'{"c": 2}\n'
    path.write_bytes(b'{"a": 1}')  # whole, as an editor leaves it
    append(path, {"c": 2})
    assert path.read_bytes() == b'{"a": 1}\n{"c": 2}\n'


def test_a_recipe_that_fails_puts_no_run_aside(tmp_path):
    fit("linear", clouds(), out=tmp_path, **QUICK)
    for augment, message in (
        ("random_rotaton", "Did you mean 'random_rotation'"),
        ("normalized_pos", "unknown augmentation"),
    ):
        with pytest.raises(cotan.CotanError, match=message):
            fit("linear", clouds(), out=tmp_path, augment=augment, **QUICK)
    assert Run.load(tmp_path).status == "finished"


def test_a_run_is_loaded_whole_but_for_a_line_cut_short(tmp_path):
    run = fit("linear", clouds(), out=tmp_path, **QUICK)
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"epoch"')
    again = Run.load(tmp_path)
    for name in ("recipe", "history", "metrics", "status", "best_epoch", "classes", "dataset", "costs", "versions"):
        assert getattr(again, name) == getattr(run, name), name


def test_weights_that_are_not_those_of_the_record_do_not_load(tmp_path):
    for seed in (0, 1):
        fit("linear", clouds(), out=tmp_path / str(seed), seed=seed, **QUICK)
    ours, theirs = (tmp_path / f"{seed}/best.safetensors" for seed in (0, 1))
    flipped = bytearray(ours.read_bytes())
    flipped[-1] ^= 1
    for content in (theirs.read_bytes(), flipped):
        ours.write_bytes(content)
        with pytest.raises(cotan.CotanError, match=r"best\.safetensors is not the file that run\.json is about"):
            Run.load(tmp_path / "0")
    (tmp_path / "0/run.json").unlink()
    ours.write_bytes(theirs.read_bytes())
    assert Run.load(tmp_path / "0").metrics == checkpoint.load(tmp_path / "1", "best")[1]["metrics"]


def test_a_run_of_another_model_does_not_load(tmp_path):
    fit(model_for("linear", clouds(), width=8), clouds(), out=tmp_path, **QUICK)
    with pytest.raises(cotan.CotanError, match=r"best\.safetensors does not fit the model: Error"):
        Run.load(tmp_path, model_for("linear", clouds(), width=4))


def test_a_loaded_run_predicts_the_same(tmp_path):
    run = fit("linear", clouds(), out=tmp_path / "run", **{**QUICK, "epochs": 20})
    shapes = clouds().test
    a, b = predict(run, shapes), predict(tmp_path / "run", shapes)
    assert [p.name for p in a] == [p.name for p in b] == ["segment", "circle"] * 3
    assert a[0].probability == b[0].probability == pytest.approx(float(a[0].probabilities.max()))
    assert a[0].probabilities.sum().item() == pytest.approx(1)
    one = predict(run, shapes[0])
    assert one.label == 0
    assert torch.allclose(one.probabilities, a[0].probabilities, atol=1e-5)


def test_threads_that_predict_at_once_are_all_in_eval_mode():
    model, shape = model_for("linear", clouds()), clouds().test[0]
    modes, both, first_left = [], Barrier(2), Event()

    def seen(model, _):
        both.wait(30)
        if current_thread() is not first:
            first_left.wait(30)
        modes.append(model.training)

    def ask():
        predict(model, shape)
        first_left.set()

    model.register_forward_pre_hook(seen)
    first = Thread(target=ask)
    first.start()
    predict(model, shape)
    first.join()
    assert modes == [False, False]
    assert model.training


def test_a_part_that_is_frozen_stays_frozen():
    model, shapes = model_for("linear", clouds()), clouds().test
    frozen = list(model.modules())[-1].eval()
    evaluate(model, shapes)
    predict(model, shapes)
    assert model.training
    assert not frozen.training


class Forces(nn.Module):
    """Minus the gradient of a learned energy, which also evaluation takes derivatives for."""

    task = "regress-vertices"

    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(1, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, pos, edge_index):
        with torch.enable_grad():
            pos = pos.detach().requires_grad_()
            length = (pos[edge_index[0]] - pos[edge_index[1]]).norm(dim=1, keepdim=True)
            return -torch.autograd.grad(self.energy(length).sum(), pos, create_graph=True)[0]


def test_what_takes_derivatives_itself_is_judged_and_predicted_without_a_graph(monkeypatch):
    square = torch.tensor([[0, 1, 2, 3], [1, 2, 3, 0]])
    molecules = [Data(pos=torch.rand(4, 3), edge_index=square) for _ in range(6)]
    for molecule in molecules:
        molecule.y = molecule.pos - molecule.pos.mean(0)
    splits = Splits(molecules[:3], molecules[3:5], molecules[5:], task="regress-vertices")
    run = fit(Forces(), splits, **QUICK)
    assert not predict(run, molecules[5]).label.requires_grad

    outputs, kept = [], []
    run.model.register_forward_hook(lambda _, __, output: outputs.append(ref(output)))
    metrics = cotan.tasks.RegressVertices.metrics
    count = lambda o, y: [kept.append(sum(output() is not None for output in outputs)), metrics(o, y)][1]  # noqa: E731
    monkeypatch.setattr(cotan.tasks.RegressVertices, "metrics", count)
    evaluate(run, molecules, batch_size=2)
    assert (len(outputs), kept) == (3, [0])


@pytest.mark.parametrize("augment", [(), ("random_rotation",)])
@pytest.mark.parametrize("features", [None, ("vertex_normals",)])
def test_shapes_that_require_grad_still(features, augment):
    """As after a look at what an answer depends on. What is prepared once serves all epochs, and has no derivative in pos."""
    results = []
    for live in (False, True):
        splits = clouds()
        for shape in (*splits.train, *splits.val, *splits.test):
            shape.pos = 1.0 * shape.pos.double().requires_grad_(live)
        run = fit(model_for("linear", splits, features=features, seed=0), splits, **QUICK, augment=augment)
        found = [p.probabilities for p in predict(run, splits.test)]
        results.append((deterministic(run.history), run.metrics, evaluate(run, splits.test), found))
    assert str(results[0]) == str(results[1])


def test_a_number_that_is_the_same_everywhere_has_no_deviation_by_rounding():
    shapes = clouds()
    for shape in [*shapes.train, *shapes.val, *shapes.test]:
        shape.y = torch.tensor([[float(shape.y), 0.1]], dtype=torch.float64)  # 12 times 0.1 is not 1.2
    shapes.val[0].y[0, 1] = 0.3
    run = fit("linear", replace(shapes, task="regress", classes=()), **QUICK)
    assert run.model.target_deviation[1] == 1
    assert run.metrics["val_loss"] < 10


@pytest.mark.parametrize(("offset", "said"), [(1e5, False), (1e6, True)])
def test_numbers_that_differ_by_less_than_float32_has_are_said(offset, said, capsys):
    shapes = clouds()
    for i, shape in enumerate([*shapes.train, *shapes.val, *shapes.test]):
        shape.y = torch.tensor([[1e8, offset + i % 5]], dtype=torch.float64)
    fit("linear", replace(shapes, task="regress", classes=()), **{**QUICK, "epochs": 1, "progress": "lines"})
    expected = "number 1 of y is 1e+06 ± 1.4, where the model's precision has steps of 0.12: subtract"
    assert (expected in capsys.readouterr().err) == said


def test_a_part_of_two_models_is_in_the_mode_it_had_when_both_are_done():
    part = nn.Linear(2, 2)
    one, two = in_eval(nn.Sequential(part)), in_eval(nn.Sequential(part))
    one.__enter__()
    two.__enter__()
    one.__exit__(None, None, None)
    assert not part.training  # of the thread that is still at work
    two.__exit__(None, None, None)
    assert part.training


class Merged(nn.Linear):
    """As layers of low rank updates are: in eval mode the update is in the weights, in training mode beside them."""

    def train(self, mode=True):
        self.merged = not mode
        return super().train(mode)


def test_a_part_leaves_eval_mode_by_its_own_method():
    model = nn.Sequential(Merged(2, 2), Merged(2, 2).eval())
    with in_eval(model):
        assert model[0].merged
    assert [part.merged for part in model] == [False, True]
    assert [part.training for part in model] == [True, False]


# In a process of its own: what other tests have left free would be used again in any case.
FAULTS = """
import ctypes, resource, sys
import torch
from torch_geometric.data import Data
import cotan
for threshold in (-1, -3):
    ctypes.CDLL(None).mallopt(threshold, 2**17)  # as at first, and does not move
ring = torch.stack([torch.arange(2000), torch.arange(2000).roll(1)])
shapes = [Data(x=torch.randn(2000, 3), edge_index=ring, y=torch.tensor(0)) for _ in range(16)]
model = cotan.create_model("gcn", in_dim=3, out_dim=2)
def faults():
    for _ in range(3):  # by when there is room for all that lives at once
        cotan.predict(model, shapes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    cotan.predict(model, shapes)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
module = sys.modules[cotan.predict.__module__]
keep_pages, module.keep_pages = module.keep_pages, lambda device: None
print(faults())
module.keep_pages = keep_pages
print(faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_the_next_batch_has_the_memory_of_the_last():
    out = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True).stdout
    anew, kept = map(int, out.split())
    assert kept < anew / 10  # of 44,000


def test_evaluate_keeps_memory_as_predict_does(monkeypatch):
    asked = []
    monkeypatch.setattr(sys.modules[evaluate.__module__], "keep_pages", asked.append)
    evaluate(cotan.create_model("linear", in_dim=3, out_dim=2), [Data(x=torch.randn(4, 3), y=torch.tensor(0))])
    assert asked == [torch.device("cpu")]


def test_predict_reads_a_file(tmp_path):
    import trimesh

    mesh = trimesh.creation.icosphere(subdivisions=1)
    mesh.export(tmp_path / "ball.off")
    model = cotan.create_model("linear", 3, 4, task="label")
    found = predict(model, tmp_path / "ball.off")
    assert found.label.shape == (42,)
    assert found.probabilities.shape == (42, 4)
    with pytest.raises(cotan.CotanError, match="no file"):
        predict(model, tmp_path / "other.off")


def test_evaluate_counts_only_the_mask():
    data = cotan.load_dataset("blocks", nodes=120, labelled=5)
    model = model_for("linear", data, seed=0)
    got = evaluate(model, data)
    shape = data.test[0]
    output = cotan.apply(model.eval(), Data(x=shape.x, edge_index=shape.edge_index)).detach()[shape.mask]
    expected = (output.argmax(1) == shape.y[shape.mask]).double().mean()
    assert got["accuracy"] == pytest.approx(float(expected))
    assert got["loss"] == pytest.approx(float(nn.functional.cross_entropy(output, shape.y[shape.mask])), rel=1e-5)


def test_evaluate_keeps_to_the_models_precision_and_names_what_is_empty():
    data = replace(clouds(), val=[])
    model = model_for("linear", data).double()
    output = torch.cat([cotan.apply(model.eval(), shape).detach() for shape in data.test])
    loss = nn.functional.cross_entropy(output, torch.cat([shape.y for shape in data.test]))
    assert evaluate(model, data)["loss"] == pytest.approx(float(loss), rel=1e-12)
    with pytest.raises(cotan.CotanError, match=r"no shapes to evaluate on: 'val' of Splits\('clouds'.* is empty"):
        evaluate(model, data, split="val")
    with pytest.raises(cotan.CotanError, match=r"no shapes to evaluate on$"):
        evaluate(model, [])


def test_the_loss_of_masked_vertices_has_no_gradient_from_the_others():
    data = cotan.load_dataset("blocks", nodes=120, labelled=5)
    other = cotan.load_dataset("blocks", nodes=120, labelled=5)
    for shape in other.train:
        shape.y = torch.where(shape.mask, shape.y, (shape.y + 1) % 4)
    a, b = (fit(model_for("linear", data, seed=0), d, **QUICK) for d in (data, other))
    assert [x["train_loss"] for x in a.history] == [x["train_loss"] for x in b.history]


def edged(seed: int) -> Data:
    """A path, an edge's label whether its ends' signals sum to more than zero; the last edge does not count."""
    x = torch.randn(6 + seed, 2, generator=torch.Generator().manual_seed(seed))
    index = torch.stack([torch.arange(5 + seed), torch.arange(1, 6 + seed)])
    mask = torch.arange(5 + seed) < 4 + seed
    return Data(x=x, edge_index=index, y_index=index, y=(x[index].sum((0, 2)) > 0).long(), mask=mask)


def test_targets_at_places_of_several_vertices():
    shapes = [edged(seed) for seed in range(6)]
    data = Splits(shapes[:4], shapes[4:5], shapes[5:], classes=("less", "more"), task="label")
    run = fit("linear", data, **{**QUICK, "epochs": 60})
    output = cotan.apply(run.model, shapes[5])[shapes[5].y_index].mean(0)
    loss = nn.functional.cross_entropy(output[:-1], shapes[5].y[:-1])
    assert run.metrics["test_loss"] == pytest.approx(float(loss.detach()), rel=1e-5)
    assert run.metrics["test_accuracy"] == 1
    both = prepare(run.model, shapes[:2], per="vertex").collate([1, 0])
    assert both.index.tolist() == torch.cat([shapes[1].y_index, shapes[0].y_index + 7], 1).tolist()


def test_several_numbers_at_places_of_several_vertices():
    shapes = []
    for seed in range(6):
        shape = edged(seed)
        del shape.mask
        shape.y = shape.x[shape.y_index].mean(0) * torch.tensor([1e5, 1e-3])  # (E, 2), one of each edge
        shapes.append(shape)
    data = Splits(shapes[:4], shapes[4:5], shapes[5:], task="regress-vertices")
    run = fit(model_for("linear", data, seed=0), data, **{**QUICK, "epochs": 200})
    output = cotan.apply(run.model, shapes[5])[shapes[5].y_index].mean(0)
    assert output.shape == shapes[5].y.shape
    assert ((output - shapes[5].y).norm(dim=0) < 0.5 * shapes[5].y.norm(dim=0)).all()
    assert run.metrics["test_mean_absolute_error"] == pytest.approx(
        float((output - shapes[5].y).detach().abs().mean()), rel=1e-4
    )


def test_places_that_do_not_fit_are_an_error():
    bad = edged(0)
    bad.y_index = bad.y_index[:, 1:]
    with pytest.raises(cotan.CotanError, match=r"train\[0\]: y_index is \(2, 4\) of torch.int64; expected .* \(n, 5\)"):
        fit("linear", Splits([bad], task="label", classes=("less", "more")), **QUICK)
    bad.y_index = edged(0).y_index + 1
    with pytest.raises(cotan.CotanError, match=r"y_index out of range: vertex numbers 1 to 6, expected 0 to 5"):
        fit("linear", Splits([bad], task="label", classes=("less", "more")), **QUICK)


def test_places_on_some_shapes_only_are_an_error():
    splits = clouds()
    for shape in splits.train + splits.val + splits.test:
        shape.y = shape.y.expand(len(shape.pos))
    splits.val[2].y_index = torch.arange(len(splits.val[2].pos))[None]
    with pytest.raises(cotan.CotanError, match="val: 1 of 6 shapes have y_index, number 0 has none"):
        fit(model_for("linear", replace(splits, val=[]), task="label"), replace(splits, task="label"), **QUICK)
    with pytest.raises(cotan.CotanError, match="1 of 6 shapes have y_index"):
        evaluate(model_for("linear", replace(splits, val=[]), task="label"), splits.val)


def test_one_graph_without_val_cuts_the_mask():
    data = cotan.load_dataset("blocks", nodes=120, labelled=10)
    data.val = []
    cut = data.with_val(seed=1)
    train, val, before = cut.train[0].mask, cut.val[0].mask, data.train[0].mask
    assert not (train & val).any()
    assert torch.equal(train | val, before)
    assert torch.bincount(cut.val[0].y[val]).tolist() == [2, 2, 2, 2]


def test_val_is_cut_by_class_and_seed():
    data = clouds()
    data.val = []
    cut, same, other = (data.with_val(seed) for seed in (0, 0, 1))
    assert sorted(int(s.y) for s in cut.val) == [0, 1]
    assert len(cut.train) + len(cut.val) == 12
    assert cut.digest == same.digest != other.digest


@pytest.mark.parametrize("name", ["patient {}", 7, np.int64(3), torch.tensor([2]), np.array(2.0)])
def test_val_is_cut_by_groups(name, capsys):
    """Twelve shapes of six groups, which share no class: a fifth of three in each class is one group, with both its shapes."""
    data = replace(clouds(), val=[])
    for i, shape in enumerate(data.train):
        number = i % 2 + 2 * (i // 4)
        shape.group = name.format(number) if isinstance(name, str) else name * 0 + number
    groups = [[str(s.group) for s in part] for part in (data.with_val(4).train, data.with_val(4).val)]
    assert sorted(int(s.y) for s in data.with_val(4).val) == [0, 0, 1, 1]
    assert len(groups[0]) == 8
    assert not set(groups[0]) & set(groups[1])
    assert len({tuple(s.group for s in data.with_val(seed).val) for seed in range(9)}) > 1
    data.test[0].group = data.train[3].group
    fit("linear", data, val_share=0, **{**QUICK, "epochs": 1, "progress": "lines"})
    assert capsys.readouterr().err.startswith("1 of test is of a group that is in train too\n")


def test_what_is_no_group():
    data = replace(clouds(), val=[])
    cut = data.with_val().val
    for shape in data.train:
        shape.group = torch.zeros(shape.num_nodes)  # one a vertex: another thing of this name
    assert [s.pos.tolist() for s in data.with_val().val] == [s.pos.tolist() for s in cut]
    for shape in data.train:
        shape.group = "one"
    with pytest.raises(cotan.CotanError, match="12 training shapes, of 1 groups, are too few to cut one"):
        data.with_val()
    data.train[0].group = ["one"]
    with pytest.raises(cotan.CotanError, match=r"group of a shape: expected one number or text.*got list"):
        data.with_val()


def test_val_is_cut_by_the_classes_of_a_task_of_ones_own(scratch):
    cotan.task("classify-anew")(type("ClassifyAnew", (Classify,), {}))
    data = clouds()
    data.train = [*data.train, *(cloud(0, 1000 + i) for i in range(24))]
    cut = [replace(data, val=[], task=task).with_val(seed=3) for task in ("classify", "classify-anew")]
    assert cut[0].digest == cut[1].digest


def test_without_a_val_all_of_train_is_used_and_the_last_epoch_is_kept(tmp_path):
    data = clouds()
    data.val = []
    whole = len(data.train)
    run = fit("linear", data, val_share=0, out=tmp_path / "run", **QUICK)
    assert run.best_epoch == len(run.history) == QUICK["epochs"]
    assert not any(name.startswith("val_") and name != "val_seconds" for line in run.history for name in line)
    assert "test_accuracy" in run.metrics
    assert len(data.train) == whole
    cut = fit("linear", data, out=tmp_path / "cut", **QUICK)
    assert "val_accuracy" in cut.metrics
    again = Run.load(tmp_path / "run").model.state_dict()
    assert all(torch.equal(again[name], value) for name, value in run.model.state_dict().items())


@cotan.operator(per="vertex")
def only_if_large(pos):
    if pos.abs().max() < 0.1:
        raise cotan.CotanError("too small for this")
    return pos


def test_what_is_in_train_and_test_is_counted(capsys):
    data, options = clouds(), {**QUICK, "epochs": 1, "progress": "lines"}
    fit("linear", Splits(data.train, data.val, data.test), **options)
    graph = Data(x=torch.rand(12, 2), y=torch.arange(12) % 2)
    graph.train_mask, graph.test_mask = torch.arange(12) < 6, torch.arange(12) >= 6
    fit("linear", graph, **options)
    assert " too\n" not in capsys.readouterr().err
    fit("linear", Splits(data.train, data.val, data.test + data.train[:3]), **options)
    assert capsys.readouterr().err.startswith("3 of test are in train too\n")
    data.val[0].group = data.train[0].group = 1
    fit("linear", Splits(data.train, data.val + data.train[1:2] + data.test[:2], data.test), **options)
    said = ["1 of val is in train too", "1 of val is of a group that is in train too", "2 of test are in val too"]
    assert capsys.readouterr().err.splitlines()[:3] == said
    graph.val_mask, graph.test_mask = graph.test_mask, torch.arange(12) >= 4
    fit("linear", graph, **options)
    assert capsys.readouterr().err.startswith("2 of test are in train too\n")


@pytest.mark.parametrize("task", ["classify", "label"])
def test_what_a_model_refuses_is_left_out_of_training_and_wrong_in_test(task, capsys):
    data = clouds()
    if task == "label":
        for shape in data.train + data.val + data.test:
            shape.y = shape.y.expand(len(shape.pos)).clone()
        data.task = task
    small = data.test[0].clone()
    small.pos = small.pos / 1e3
    data.train.append(small)
    data.test.append(small)
    model = model_for("linear", data, features="only_if_large", width=8, depth=1)
    run = fit(model, data, **{**QUICK, "progress": "lines"}, augment="random_rotation")
    assert "train: 1 of 13 refused; it: shape 12 of 13: too small for this" in capsys.readouterr().err
    assert run.metrics["test_refused"] == 1
    others = run.metrics["test_accuracy_answered"]
    share = 1 - small.y.numel() / sum(shape.y.numel() for shape in data.test)
    assert run.metrics["test_accuracy"] == pytest.approx(others * share)
    assert {"test_mean_recall", "test_mean_iou", "test_roc_auc"}.isdisjoint(run.metrics)
    assert run.metrics["test_roc_auc_answered"] <= 1
    assert run.metrics["test_mean_recall_answered"] == pytest.approx(others)  # of classes of one size
    found = evaluate(model, data)
    assert found["accuracy"] == run.metrics["test_accuracy"]
    with pytest.raises(cotan.CotanError, match="1 of 1 refused; it: shape 0 of 1: too small for this"):
        evaluate(model, [small])
    data.val = [small]
    with pytest.raises(cotan.CotanError, match="val: 1 of 1 refused"):
        fit(model, data, **QUICK)


class TwoStages(cotan.Network):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
        self.stages = []

    def before_training(self, batches, say):
        say("first stage")
        self.stages.append(sum(len(target) for _, target in batches))
        assert all(values["normalized_pos"].shape[1] == 3 for values, _ in batches)

    def forward(self, normalized_pos, batch, ptr):
        return self.linear(cotan.pool(normalized_pos, batch, len(ptr) - 1))


def test_a_first_stage_of_a_model_runs_once(tmp_path, capsys):
    data, model = clouds(), TwoStages()
    fit(model, data, out=tmp_path / "run", **{**QUICK, "epochs": 2, "progress": "lines"})
    assert "first stage" in capsys.readouterr().err
    fit(model, data, out=tmp_path / "run", resume=True, **{**QUICK, "epochs": 2})
    assert model.stages == [12]


def test_class_balance_weighs_classes_equally():
    data = clouds()
    data.train = [s for i, s in enumerate(data.train) if int(s.y) == 0 or i < 4]  # six of class 0, two of class 1
    model = cotan.create_model("linear", 3, 2)
    with torch.no_grad():
        model.readout.linear.weight.zero_()
        model.readout.linear.bias.copy_(torch.tensor([1.0, 0.0]))
    run = fit(model, data, class_balance=True, **{**QUICK, "epochs": 1, "lr": 1e-12, "batch_size": 8})
    p = torch.tensor([1.0, 0.0]).log_softmax(0)
    assert run.history[0]["train_loss"] == pytest.approx(-float(p.mean()), rel=1e-5)


@pytest.mark.parametrize(
    ("size", "said"), [(2500.0, "of which models learn little: x (about 2e+03)"), (2.5, ""), (0.0, "")]
)
def test_features_far_from_one_are_said(size, said, capsys):
    shapes = [Data(x=torch.full((5, 1), size), y=torch.tensor([i % 2])) for i in range(6)]
    fit("mlp", Splits(shapes, shapes), **{**QUICK, "epochs": 1, "progress": "lines"})
    found = capsys.readouterr().err
    assert said in found
    assert ("far from 0" in found) == bool(said)


@pytest.mark.parametrize(
    ("mean", "deviation", "said"),
    [
        (290.0, 3.0, "far from 0 ± 1, of which models learn little: x[:, 1] (290 ± 2.6)"),
        (-1.0, 0.05, "x[:, 1] (-1 ± 0.044)"),
        (1.0, 0.5, ""),
        (2.5, 1e-8, ""),
    ],
)
def test_features_that_hardly_differ_from_their_mean_are_said(mean, deviation, said, capsys):
    numbers = mean + deviation * torch.linspace(-1.5, 1.5, 64)
    mask = torch.arange(64) > 0
    shapes = [Data(x=torch.stack([mask, numbers], 1), y=torch.tensor([i % 2])) for i in range(6)]
    fit("mlp", Splits(shapes, shapes), **{**QUICK, "epochs": 1, "progress": "lines"})
    found = capsys.readouterr().err
    assert said in found
    assert ("far from 0" in found) == bool(said)


@pytest.mark.parametrize(("kinds", "model", "said"), [(28, "mlp", True), (2, "mlp", False), (28, "looks up", False)])
def test_whole_numbers_that_may_be_kinds_are_said(kinds, model, said, capsys):
    class LooksUp(nn.Embedding):
        def forward(self, x):
            return super().forward(x[:, 0])

    shapes = [Data(x=torch.full((1, 1), kinds - 1), y=torch.tensor([i % 2])) for i in range(6)]
    model = LooksUp(kinds, 2) if model == "looks up" else model
    fit(model, Splits(shapes, shapes), **{**QUICK, "epochs": 1, "progress": "lines"})
    assert (f"x holds whole numbers (up to {kinds - 1} in" in capsys.readouterr().err) == said


def test_with_class_balance_the_epoch_is_the_best_for_all_classes():
    class Later(nn.Module):
        """Says column 0 of x in the first epoch, then column 1."""

        def __init__(self):
            super().__init__()
            self.zero, self.epochs = nn.Parameter(torch.zeros(())), 0

        def forward(self, x):
            self.epochs += self.training
            return torch.nn.functional.one_hot(x[:, min(self.epochs, 2) - 1].long(), 2) + self.zero

    said = [[0, 0]] * 5 + [[0, 1]] * 3  # first that all are of class 0, then that two are of class 1 which are not
    shapes = [Data(x=torch.tensor([row]), y=torch.tensor([int(i == 7)])) for i, row in enumerate(said)]
    runs = [
        fit(Later(), Splits(shapes, shapes), class_balance=balance, **{**QUICK, "batch_size": 8, "lr": 1e-9})
        for balance in (False, True)
    ]
    assert [run.best_epoch for run in runs] == [1, 2]
    assert [run.metrics["val_accuracy"] for run in runs] == [7 / 8, 6 / 8]
    assert [run.metrics["val_mean_recall"] for run in runs] == pytest.approx([1 / 2, (5 / 7 + 1) / 2])


@pytest.mark.parametrize(
    ("name", "best"), [("share", 3), ("share_error", 4), ("error_1", 4), ("accuracy", 1), (None, 1), ("sharp", None)]
)
def test_the_epoch_is_the_best_by_the_metric_that_the_task_names(name, best, scratch, tmp_path):
    """Of four epochs whose share is NaN, 0.4, 0.6 and 0.2, the last resumed; loss and accuracy are the same in all."""
    shares = iter([torch.nan, 0.4, 0.6, 0.2])

    class Own(Classify):
        chosen_by = name

        @staticmethod
        def loss(output, target, **_):
            return Classify.loss(output, target) * 0 + 1

        @staticmethod
        def metrics(output, target):
            return {"accuracy": 0.5, "share": (share := next(shares)), "share_error": share, "error_1": share}

    cotan.task(f"own-{name}")(Own)
    data = replace(clouds(), task=f"own-{name}", test=[], stress={})
    if best is None:
        with pytest.raises(cotan.CotanError, match="chosen by 'sharp', and val has none; it has loss, accuracy, share"):
            fit("linear", data, **{**QUICK, "epochs": 4})
    else:
        for epochs in (3, 4):
            run = fit("linear", data, out=tmp_path, resume=True, **{**QUICK, "epochs": epochs})
        assert run.best_epoch == best


def test_label_smoothing_spreads_a_share_of_the_target():
    data = clouds()
    model = cotan.create_model("linear", 3, 2)
    with torch.no_grad():
        model.readout.linear.weight.zero_()
        model.readout.linear.bias.copy_(torch.tensor([1.0, 0.0]))
    data.train = [s for s in data.train if int(s.y) == 0] + [s for s in data.train if int(s.y) == 1][:1]
    share = sum(int(s.y) for s in data.train) / len(data.train)
    run = fit(model, data, label_smoothing=0.2, **{**QUICK, "epochs": 1, "lr": 1e-12, "batch_size": 99})
    first, second = torch.tensor([1.0, 0.0]).log_softmax(0).tolist()
    ones = 0.8 * share + 0.1  # the weight of class 1 in the mean target
    assert run.history[0]["train_loss"] == pytest.approx(-(1 - ones) * first - ones * second, rel=1e-5)


def test_the_best_epoch_is_kept_and_patience_ends_training():
    data = clouds()
    run = fit("linear", data, patience=2, **{**QUICK, "epochs": 200, "optimizer": "sgd", "lr": 1e-9, "momentum": 0.0})
    assert len(run.history) < 200
    ranks = [(line["val_accuracy"], -line["val_loss"]) for line in run.history]
    assert run.best_epoch == ranks.index(max(ranks)) + 1
    assert len(run.history) == run.best_epoch + 2
    assert evaluate(run.model, data.val)["loss"] == pytest.approx(run.metrics["val_loss"])


def test_augmentation_is_drawn_anew_each_epoch_and_repeats():
    settings = {**QUICK, "augment": ("random_rotation",)}
    plain = fit(model_for("linear", clouds(), seed=0), clouds(), **{**QUICK, "lr": 1e-12})
    a, b = (fit(model_for("linear", clouds(), seed=0), clouds(), **{**settings, "lr": 1e-12}) for _ in range(2))
    losses = [line["train_loss"] for line in a.history]
    assert losses == [line["train_loss"] for line in b.history]
    assert max(abs(x - y) for x, y in pairwise(losses)) > 1e-4  # turned each epoch
    fixed = [line["train_loss"] for line in plain.history]
    assert max(abs(x - y) for x, y in pairwise(fixed)) < 1e-5
    assert [line["val_loss"] for line in a.history] == pytest.approx([line["val_loss"] for line in plain.history])


def test_a_module_of_ones_own(tmp_path):
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, x, batch, ptr):
            return cotan.pool(self.linear(x) ** 2, batch, len(ptr) - 1)

    run = fit(Own(), clouds(), out=tmp_path, **QUICK)
    with pytest.raises(cotan.CotanError, match="not made by create_model"):
        Run.load(tmp_path)
    assert Run.load(tmp_path, model=Own()).metrics == run.metrics


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("gaussian", {"coordinates": cotan.node("pseudo_coordinates", kind="degree")}),
        ("spectral", {"k": np.int64(4), "dropout": np.float32(0.25)}),
        ("stack", {"layer": "gaussian", "last": {"coordinates": cotan.node("pseudo_coordinates", kind="degree")}}),
    ],
)
def test_a_run_remembers_options_of_any_kind(name, options, tmp_path):
    splits = cotan.load_dataset("blocks", nodes=60, labelled=4)
    run = fit(model_for(name, splits, width=4, depth=2, **options), splits, out=tmp_path, **QUICK)
    shape = splits.test[0]
    assert torch.equal(cotan.apply(Run.load(tmp_path).model, shape), cotan.apply(run.model, shape))
    assert fit(model_for(name, splits, width=4, depth=2, **options), splits, out=tmp_path, resume=True, **QUICK).history


def test_a_model_of_functions_is_given_to_load(tmp_path):
    splits = cotan.load_dataset("blocks", nodes=60, labelled=4)
    options = {"aggregate": lambda messages, pattern: cotan.sparse.segment_max(messages.abs(), pattern), "width": 4}
    fit(model_for("aggregate", splits, **options), splits, out=tmp_path, **QUICK)
    with pytest.raises(cotan.CotanError, match=r"give it: Run\.load\(path, model=\.\.\.\)"):
        Run.load(tmp_path)
    assert Run.load(tmp_path, model_for("aggregate", splits, **options)).status == "finished"


def test_bf16_trains():
    run = fit("linear", clouds(), precision="bf16", **QUICK)
    assert 0 < run.history[-1]["val_loss"] != fit("linear", clouds(), **QUICK).history[-1]["val_loss"]
    assert next(run.model.parameters()).dtype == torch.float32


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["32", "bf16"])
@pytest.mark.parametrize("name", ["linear", "gaussian", "gat"])
def test_on_a_gpu_the_same_numbers_again(name, precision):
    how = {**QUICK, "device": "cuda", "precision": precision}
    a, b = (fit(name, clouds(), **how) for _ in range(2))
    assert deterministic(a.history) == deterministic(b.history)
    assert all(p.is_cuda for p in a.model.parameters())
    assert evaluate(a, clouds())["loss"] == pytest.approx(a.metrics["test_loss"], rel=0.05)


def test_randomness_and_order_of_sums_are_the_callers_again(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr("os.environ", {})
    before = torch.random.get_rng_state()
    with own_randomness():
        torch.manual_seed(5)
        assert torch.are_deterministic_algorithms_enabled()
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"  # else cuBLAS adds in any order, and torch warns
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.utils.deterministic.fill_uninitialized_memory
    assert torch.equal(before, torch.random.get_rng_state())


def test_several_models_share_what_they_both_need(tmp_path, monkeypatch):
    import trimesh

    monkeypatch.setenv("COTAN_CACHE", str(tmp_path))
    balls = []
    for i in range(2):
        mesh = trimesh.creation.icosphere(subdivisions=1, radius=1 + i)
        pos, face = torch.tensor(mesh.vertices, dtype=torch.float32), torch.tensor(mesh.faces).T.contiguous()
        balls.append(Data(pos=pos + torch.rand(1), face=face, y=torch.tensor([i])))
    models = {str(k): cotan.create_model("spectral", 3, 2, k=k) for k in (8, 16)}
    cotan.counts(reset=True)
    out = prepare(models, balls)
    assert cotan.counts()["laplacian"].evaluations == len(balls)
    assert out["8"].nodes["laplacian(kind=cotan)"] == out["16"].nodes["laplacian(kind=cotan)"]
    again = prepare(models, balls)
    assert cotan.counts()["laplacian"].evaluations == len(balls)
    assert again["8"].hits > 0
    assert again["8"].seconds == pytest.approx(out["8"].seconds)  # what it once took, though nothing was computed
    assert out["8"].hits == 0


def test_other_processes_fill_the_store(tmp_path, monkeypatch):
    from cotan import processes, warming

    monkeypatch.setenv("COTAN_CACHE", str(tmp_path))
    monkeypatch.setattr(warming, "PAYS", 0.0)
    monkeypatch.setattr(processes, "usable", lambda: 2)
    shapes = [cloud(i % 2, i) for i in range(8)]
    model = cotan.create_model("linear", 3, 2)
    cotan.counts(reset=True)
    done = []
    prepared = prepare(model, shapes, progress=lambda n, total: done.append((n, total)))
    count = cotan.counts()["normalized_pos"]
    assert (count.evaluations, count.hits) == (3, 5)
    assert done[-1] == (8, 8)
    assert prepared.seconds > 0
    for shape, sample in zip(shapes, prepared.samples, strict=True):
        assert torch.equal(sample["features 0"], cotan.compute(shape, "normalized_pos"))


def sized(scale: torch.Tensor) -> Splits:
    """Clouds with two numbers of theirs for targets, in some unit each."""
    data = clouds()
    for shapes in data.lists().values():
        for shape in shapes:
            shape.y = (shape.pos.amax(0)[:2] * scale).view(1, 2)
    return replace(data, task="regress", classes=())


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
def test_numbers_of_any_size_are_learned_alike_and_said_in_their_units(optimizer, tmp_path):
    """Units in powers of two, so that rounding is alike too."""
    units = torch.tensor([2.0**14, 2.0**-14])
    runs, found = [], []
    for scale in (torch.ones(2), units):
        data = sized(scale)
        model = model_for("linear", data, seed=0, width=8, depth=1)
        runs.append(fit(model, data, optimizer=optimizer, out=tmp_path / str(len(runs)), **QUICK))
        found.append(torch.stack([p.label for p in predict(runs[-1], data.test)]))
    plain, other = (torch.tensor([(x["train_loss"], x["val_loss"]) for x in run.history]) for run in runs)
    torch.testing.assert_close(plain, other, rtol=1e-4, atol=0)
    assert plain.max() < 10
    torch.testing.assert_close(found[1] / units, found[0], rtol=1e-4, atol=1e-5)
    target = torch.cat([shape.y for shape in data.test])
    off = (found[1] - target).abs().mean()
    assert runs[1].metrics["test_mean_absolute_error"] == pytest.approx(float(off), rel=1e-4)
    assert evaluate(runs[1], data)["loss"] == pytest.approx(runs[1].metrics["test_loss"])
    assert torch.equal(torch.stack([p.label for p in predict(tmp_path / "1", data.test)]), found[1])
    with torch.no_grad():
        assert torch.equal(cotan.apply(torch.compile(runs[1].model, backend="eager"), data.test), found[1])


class Convolution(cotan.Network):
    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.layer = cotan.create_layer("gcn", in_dim, 8)
        self.readout = cotan.Readout(8, out_dim, task="label")

    def forward(self, x, **nodes):
        return self.feed(self.readout, self.feed(self.layer, x, nodes).relu(), nodes)


@pytest.mark.parametrize("name", ["gcn", "own"])
def test_a_compiled_model_trains_and_its_run_is_the_plain_models(name, tmp_path):
    data = cotan.load_dataset("blocks", nodes=60, labelled=4)
    named = model_for("gcn", data, width=4, depth=2)
    plain = named if name == "gcn" else Convolution(named.made["in_dim"], named.made["out_dim"])
    compiled = torch.compile(deepcopy(plain), backend="eager")
    losses = []
    for model, folder in ((plain, "plain"), (compiled, "compiled")):
        run = fit(model, data, out=tmp_path / folder, **QUICK)
        losses.append(torch.tensor([line["val_loss"] for line in run.history]))
    torch.testing.assert_close(*losses, rtol=1e-4, atol=0)
    loaded = Run.load(tmp_path / "compiled", model=None if name == "gcn" else deepcopy(plain)).model.eval()
    found = cotan.apply(compiled.eval(), data.test)
    torch.testing.assert_close(cotan.apply(loaded, data.test), found, rtol=1e-4, atol=1e-5)
    longer = {**QUICK, "epochs": QUICK["epochs"] + 2}
    assert len(fit(compiled, data, out=tmp_path / "compiled", resume=True, **longer).history) == longer["epochs"]


def test_a_number_that_is_the_same_everywhere_is_learned():
    data = sized(torch.tensor([0.0, 1.0]))
    for shape in data.train + data.val + data.test:
        shape.y[0, 0] = 1e4
    run = fit("linear", data, **QUICK)
    assert run.model.target_deviation[0] == 1
    assert abs(float(predict(run, data.test[0]).label[0]) - 1e4) < 10


def test_a_folder_is_one_trainings(tmp_path):
    """A second one is refused before it prepares anything, and hurts nothing; what a kill leaves is no lock."""
    process = slow_training(tmp_path, {**QUICK, "epochs": 500})
    limit = time.monotonic() + 100
    while time.monotonic() < limit and not (tmp_path / "last.safetensors").exists():
        time.sleep(0.01)
    try:
        for resume in (False, True):
            with pytest.raises(cotan.CotanError, match=f"{tmp_path} is in use: another training writes there"):
                fit("linear", clouds(), out=tmp_path, resume=resume, **QUICK)
        assert Run.load(tmp_path).status == "running"
        assert not (tmp_path / "earlier-1").exists()
    finally:
        process.kill()
        process.wait()
    assert fit("linear", clouds(), out=tmp_path, **QUICK).status == "finished"
    assert Run.load(tmp_path / "earlier-1").status == "running"


@pytest.mark.parametrize("error", [errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_written_to_and_said(error, tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", flock)
    for aside in (0, 1):
        unlocked.clear()
        with pytest.warns(RuntimeWarning, match=f"{tmp_path}/run has no locks: nothing keeps another training"):
            assert fit("linear", clouds(), out=tmp_path / "run", **QUICK).status == "finished"
        assert Run.load(tmp_path / "run").status == "finished"
        assert (tmp_path / "run/earlier-1").exists() == aside
    fit("linear", clouds(), out=tmp_path / "other", **QUICK)  # a suite has many: it is said once


def test_what_is_loaded_does_not_hold_its_file(tmp_path):
    """On Windows, one that is mapped into memory could not be replaced by the next epoch's."""
    checkpoint.save(tmp_path, "last", {"a": torch.ones(5000)}, {})
    tensors, _ = checkpoint.load(tmp_path, "last")
    path = tmp_path / "last.safetensors"
    with open(path, "r+b") as file:  # in place
        file.write(bytes(path.stat().st_size))
    assert torch.equal(tensors["a"], torch.ones(5000))


def test_tensors_that_share_memory_are_kept(tmp_path):
    x = torch.arange(4.0)
    given = {"a": x, "b": x[2:], "c": x.view(2, 2).T}
    checkpoint.save(tmp_path, "last", given, {})
    tensors, _ = checkpoint.load(tmp_path, "last")
    assert all(torch.equal(tensors[name], value) for name, value in given.items())


def test_a_checkpoint_that_cannot_be_read_now_is_not_taken_for_a_damaged_one(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EIO, "Input/output error")

    fit("linear", clouds(), out=tmp_path, **QUICK)
    monkeypatch.setattr("safetensors.safe_open", refuse)
    with pytest.raises(cotan.CotanError, match=r"last\.safetensors cannot be read: .*Input/output error"):
        fit("linear", clouds(), out=tmp_path, resume=True, **QUICK)
    assert not (tmp_path / "earlier-1").exists()


def test_a_run_stays_in_its_folder_wherever_the_caller_goes(tmp_path, monkeypatch):
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "here")
    run = fit("linear", clouds(), out="run", on_epoch=lambda _: os.chdir(tmp_path / "there"), **QUICK)
    assert run.path == tmp_path / "here" / "run"
    assert len(Run.load(run.path).history) == QUICK["epochs"]
    assert Run.load(run.path).status == "finished"
    assert not any((tmp_path / "there").iterdir())


# --- bad input --------------------------------------------------------------------------------------------------------


def test_a_recipe_with_a_typo_names_the_nearest(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[recipe]\nepochs = 3\nlearning_rat = 0.1\nschedul = 'cosine'\n")
    with pytest.raises(cotan.CotanError, match="unknown key of a recipe 'learning_rat'"):
        Recipe.of(path)
    with pytest.raises(cotan.CotanError, match="Did you mean 'schedule'"):
        Recipe.of(schedul="cosine")
    with pytest.raises(cotan.CotanError, match=r"A model's options go to cotan\.model_for"):
        fit("linear", clouds(), width=8)
    with pytest.raises(cotan.CotanError, match=r"unknown schedule of a recipe 'cosin'\. Did you mean 'cosine'"):
        Recipe.of(schedule="cosin")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("epochs", 0),
        ("epochs", 2.5),
        ("lr", -1.0),
        ("lr", "fast"),
        ("class_balance", 1),
        ("batch_size", True),
        ("lr", float("nan")),
        ("label_smoothing", 1.0),
        ("seed", 2**32),
    ],
)
def test_numbers_of_a_recipe_are_checked(name, value):
    with pytest.raises(cotan.CotanError, match=f"recipe: {name}="):
        Recipe(**{name: value})


def test_what_the_optimizer_or_schedule_would_not_use_is_refused():
    for name, value, rest, of in (
        ("momentum", 0.5, {}, "optimizer='sgd'; here optimizer='adam'"),
        ("momentum", 0.5, {"optimizer": "adamw"}, "optimizer='sgd'; here optimizer='adamw'"),
        ("gamma", 0.1, {}, "schedule='step'; here schedule='none'"),
        ("step_size", 3, {"schedule": "cosine"}, "schedule='step'; here schedule='cosine'"),
    ):
        with pytest.raises(cotan.CotanError, match=f"recipe: {name}={value} is for {of}"):
            Recipe.of({name: value, **rest})
    assert Recipe(momentum=0.9, step_size=20, gamma=0.5) == Recipe()
    sgd = Recipe(optimizer="sgd", momentum=0.5, schedule="step", gamma=0.1)
    for base in (sgd, sgd.record()):  # what is replaced takes with it what only it used
        assert Recipe.of(base, optimizer="adam") == Recipe(schedule="step", gamma=0.1)
        assert Recipe.of(base, schedule="none") == Recipe(optimizer="sgd", momentum=0.5)
        assert Recipe.of(base, optimizer="sgd", epochs=3).momentum == 0.5
        with pytest.raises(cotan.CotanError, match=r"recipe: momentum=0\.3 is for"):
            Recipe.of(base, optimizer="adam", momentum=0.3)


def test_a_step_is_of_sixteen_shapes_or_of_a_thousand_sampled_vertices():
    sample = (15, 10)
    assert (Recipe().batch_size, Recipe(sample=sample).batch_size) == (16, 1024)
    assert Recipe.of(Recipe(), sample=sample).batch_size == Recipe.of({"sample": sample}).batch_size == 1024
    assert Recipe.of(Recipe(sample=sample), sample=()).batch_size == 16
    assert Recipe.of(sample=sample).batch_size == 1024  # as fit(model, data, sample=...) and the command line call it
    for size in (16, 128):
        assert Recipe.of(Recipe(batch_size=size), sample=sample).batch_size == size
    assert Recipe.of(Recipe(sample=sample), batch_size=16).batch_size == 16


def test_numbers_of_numpy_and_torch_are_numbers():
    recipe = Recipe(batch_size=np.int64(4), lr=np.float32(0.5), epochs=torch.tensor(3))
    assert recipe == Recipe(batch_size=4, lr=0.5, epochs=3)
    assert json.loads(json.dumps(recipe.record()))["epochs"] == 3


@pytest.mark.parametrize("size", [0, -1, 2.5])
def test_a_batch_has_a_shape(size):
    model = model_for("linear", clouds())
    for call in (
        lambda: evaluate(model, clouds(), batch_size=size),
        lambda: predict(model, clouds().test, batch_size=size),
    ):
        with pytest.raises(cotan.CotanError, match=f"batch_size={size}, expected a whole number of at least 1"):
            call()


def test_what_is_no_model_to_train():
    frozen = model_for("linear", clouds()).requires_grad_(False)
    for model, got in (
        (3, "int"),
        (Run(frozen, Recipe()), "Run"),
        (nn.Linear, "type"),
        (frozen, "Stack without parameters to train"),
    ):
        with pytest.raises(cotan.CotanError, match=rf"expected a model \(an nn.Module\) or the name of one, got {got}"):
            fit(model, clouds(), **QUICK)
    for wrong in ({"features": 3}, {"features": [3]}):
        with pytest.raises(cotan.CotanError, match=r"expected a node's name or cotan\.node\(\.\.\.\), got int"):
            model_for("linear", clouds(), **wrong)
    with pytest.raises(cotan.CotanError, match=r"expected a node's name or cotan\.node\(\.\.\.\), got NoneType"):
        Recipe(augment=None)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("run.json", b"[]", "run.json cannot be read: expected a JSON object, got a list"),
        ("best.safetensors", b"{}", "checkpoint .*best.safetensors cannot be read"),
    ],
)
def test_a_broken_run_says_what_is_wrong(file, content, message, tmp_path):
    fit("linear", clouds(), out=tmp_path, **QUICK)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(cotan.CotanError, match=message):
        Run.load(tmp_path)


def test_a_damaged_line_is_left_out_and_said(tmp_path):
    run = fit("linear", clouds(), out=tmp_path, **QUICK)
    file = tmp_path / "metrics.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    for number, damaged in ((0, b"3\n"), (1, b"\xff\n"), (len(lines) - 1, bytes(30) + b"\n")):
        file.write_bytes(b"".join([*lines[:number], damaged, *lines[number + 1 :]]))
        said = rf"metrics\.jsonl, line {number + 1}, is left out, as it is not JSON: .*expect"
        with pytest.warns(RuntimeWarning, match=re.compile(said, re.I)):
            assert Run.load(tmp_path).history == [line for line in run.history if line["epoch"] != number + 1]


def test_classes_of_other_names_are_not_resumed(tmp_path):
    fit("linear", replace(clouds(), classes=("cat", "dog")), out=tmp_path, **QUICK)
    more = {**QUICK, "epochs": 5, "out": tmp_path, "resume": True}
    with pytest.raises(cotan.CotanError, match=r"resumed: classes: \['cat', 'dog'\], now"):
        fit("linear", replace(clouds(), classes=("dog", "cat")), **more)
    assert len(fit("linear", replace(clouds(), classes=("cat", "dog")), **more).history) == 5


@pytest.mark.parametrize("balanced", [False, True])
def test_a_model_by_name_with_a_new_head_trains_for_other_classes(tmp_path, balanced):
    def headed(classes):
        model = model_for("linear", clouds(), width=4, depth=1)
        model.readout.linear = nn.Linear(4, classes)
        return model

    data = replace(clouds(), classes=())
    settings = {**QUICK, "class_balance": balanced}
    fit(headed(2), data, out=tmp_path / "2", **settings)
    assert Run.load(tmp_path / "2").model.made["out_dim"] == 2  # as it was made
    data.train[0].y = data.test[0].y = torch.tensor([4])
    run = fit(headed(5), replace(data), out=tmp_path / "5", **settings)
    with pytest.raises(CotanError, match="or has other parts or nodes since; give it"):
        Run.load(tmp_path / "5")
    again = Run.load(tmp_path / "5", model=headed(5))
    assert evaluate(again, data)["loss"] == pytest.approx(run.metrics["test_loss"])
    with pytest.raises(CotanError, match="gives 3 classes, and there are targets up to 4"):
        fit(headed(3), data, **settings)


def of_the_adjacency(model):
    model.layers[0].needs = {"normalized_adjacency": "adjacency"}


CHANGES = {
    "a part": lambda model: setattr(model.after[0], "1", nn.GELU()),
    "a layer's node": of_the_adjacency,
    "a source": lambda model: setattr(model, "instead", {"edge_index": cotan.node("nearest_neighbours", k=3)}),
    "features": lambda model: setattr(model, "features", (cotan.node("pos"),)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_run_with_what_was_replaced_does_not_load_as_what_it_was(change, tmp_path):
    """Its weights would fit, and answer otherwise."""
    model = model_for("gcn", clouds(), width=4, depth=1, neighbours=4)
    made = deepcopy(model)
    change(model)
    for trained, same in ((model, False), (made, True)):
        fit(trained, clouds(), out=tmp_path / str(same), **QUICK)
        assert (json.loads((tmp_path / str(same) / "run.json").read_text())["model"] is not None) == same
    with pytest.raises(CotanError, match="or has other parts or nodes since; give it"):
        Run.load(tmp_path / "False")
    Run.load(tmp_path / "True")


def pruned(model):
    prune.l1_unstructured(model.lift, "weight", 0.5)
    prune.remove(model.lift, "weight")


def merged(model):
    parametrize.register_parametrization(model.lift, "weight", nn.Identity())
    parametrize.remove_parametrizations(model.lift, "weight")


def tied(model):
    model.layers[1] = model.layers[0]


@pytest.mark.parametrize("change", [pruned, merged, tied])
def test_a_run_of_the_same_parts_in_another_order_or_twice_loads_by_itself(change, tmp_path):
    model = model_for("gcn", clouds(), width=4, depth=2, neighbours=4)
    change(model)
    run = fit(model, clouds(), out=tmp_path, **QUICK)
    assert evaluate(tmp_path, clouds())["loss"] == pytest.approx(run.metrics["test_loss"])


class Net(nn.Module):
    """The mean of what a map gives at each point of a shape, or that itself."""

    def __init__(self, linear, pooled=True):
        super().__init__()
        self.linear, self.pooled = linear, pooled

    def forward(self, pos, batch, ptr):
        out = self.linear(pos)
        return cotan.pool(out, batch, len(ptr) - 1) if self.pooled else out


def test_class_weights_of_a_module_with_more_outputs_than_classes():
    run = fit(Net(nn.Linear(3, 7)), replace(clouds(), classes=()), **QUICK, class_balance=True)
    assert run.history[-1]["val_mean_recall"] >= 0.5


def test_an_output_that_is_not_one_a_shape_is_refused():
    """The first rows would pass for the shapes."""
    test = clouds().test
    many = sum(shape.num_nodes for shape in test)
    words = (
        rf"Net gives \({many}, 2\) for 6 shapes with {many} vertices; expected 6 rows, one a shape, of task 'classify'"
    )
    with pytest.raises(CotanError, match=words):
        predict(Net(nn.Linear(3, 2), pooled=False), test)
    with pytest.raises(CotanError, match=rf"Net gives \({many}, 2\) for a batch with 6 targets"):
        evaluate(Net(nn.Linear(3, 2), pooled=False), test)
    numbers = Net(nn.Linear(3, 1), pooled=False)
    numbers.task = "regress"
    with pytest.raises(CotanError, match=rf"Net gives \({many}, 1\) for a batch with 6 targets"):
        evaluate(numbers, [shape.clone().update({"y": torch.rand(1, 1)}) for shape in test])
    labels = Net(nn.Linear(3, 2))
    labels.task = "label"
    with pytest.raises(CotanError, match=f"expected {many} rows, one a vertex, of task 'label'"):
        predict(labels, test)
    numbers.forward = lambda pos, **_: pos.mean()
    with pytest.raises(CotanError, match=r"Net gives \(\) for 1 shapes"):
        predict(numbers, test[0])
    test[0].y = torch.tensor([2])
    with pytest.raises(CotanError, match="Net gives 2 classes, and there are targets up to 2"):
        evaluate(Net(nn.Linear(3, 2)), test)
    with pytest.raises(CotanError, match="Net gives 2 classes, and there are targets up to 2"):
        fit(Net(nn.Linear(3, 2)), replace(clouds(), test=test, classes=()), **QUICK)


def test_a_scaled_model_with_a_head_for_more_numbers_is_told_what_to_do():
    data = clouds()
    for shape in [*data.train, *data.val, *data.test]:
        shape.y = torch.rand(1, 3)
    model = cotan.create_model("linear", 3, 1, task="regress", width=4, depth=1)
    model.readout.linear = nn.Linear(4, 3)
    with pytest.raises(CotanError, match=r"y has 3 numbers, and the model was made for 1: cotan\.model_for makes one"):
        fit(model, replace(data, task="regress", classes=(), stress={}), **QUICK)


def test_a_model_of_another_task_than_the_datasets_is_told_so():
    model = model_for("linear", clouds())
    for shape in (data := clouds()).train:
        shape.y = torch.rand(1, 1)
    with pytest.raises(CotanError, match=r"int64.*The model is for task 'classify', the dataset for 'regress'"):
        fit(model, replace(data, task="regress"), **QUICK)


def test_a_model_with_other_parts_frozen_is_not_resumed(tmp_path):
    model = model_for("linear", clouds(), width=4, depth=1)
    for parameter in model.lift.parameters():
        parameter.requires_grad_(False)
    fit(model, clouds(), out=tmp_path, **QUICK)
    more = {**QUICK, "epochs": 5, "out": tmp_path, "resume": True}
    assert len(fit(model, clouds(), **more).history) == 5
    for parameter in model.parameters():
        parameter.requires_grad_(True)
    with pytest.raises(CotanError, match=r"cannot be resumed: frozen: \['lift.weight', 'lift.bias'\], now it is \[\]"):
        fit(model, clouds(), **more)


def test_a_model_that_on_epoch_freezes_or_that_is_compiled_now_is_resumed(tmp_path):
    model = model_for("linear", clouds(), width=4, depth=1)
    model.readout.requires_grad_(False)
    more = {**QUICK, "out": tmp_path, "resume": True}
    fit(model, clouds(), **more, on_epoch=lambda line: model.lift.requires_grad_(line["epoch"] < 2))
    model.lift.requires_grad_(True)
    wrapped = torch.compile(model, backend="eager")
    assert len(fit(wrapped, clouds(), **{**more, "epochs": 5}).history) == 5


def test_a_run_of_before_whose_model_has_another_head_is_resumed(tmp_path):
    """Its record says how the model was made."""
    model = model_for("linear", clouds(), width=4, depth=1)
    made = describe(model)
    model.readout.linear = nn.Sequential(model.readout.linear)
    fit(model, clouds(), out=tmp_path, **QUICK)
    for name in ("best", "last"):
        tensors, record = checkpoint.load(tmp_path, name)
        del record["frozen"]
        checkpoint.save(tmp_path, name, tensors, {**record, "model": made})
    assert len(fit(model, clouds(), out=tmp_path, resume=True, **{**QUICK, "epochs": 5}).history) == 5


def test_what_is_unfrozen_in_the_middle_is_not_left_untrained():
    model = model_for("linear", clouds(), width=4, depth=1)
    model.lift.requires_grad_(False)
    with pytest.raises(CotanError, match=r"on_epoch unfroze or replaced lift\.weight, lift\.bias, and the"):
        fit(model, clouds(), **QUICK, on_epoch=lambda _: model.requires_grad_(True))
    model.requires_grad_(True)
    kept = model.lift.weight.detach().clone()
    fit(model, clouds(), **QUICK, on_epoch=lambda _: model.lift.requires_grad_(False))
    assert not torch.equal(model.lift.weight, kept)


def test_the_val_that_fit_cut_is_named_where_a_dataset_has_none():
    data = replace(clouds(), val=[])
    run = fit("linear", data, **QUICK)
    with pytest.raises(CotanError, match=r"is empty; what fit cut from train is splits\.with_val\(seed\)\.val"):
        evaluate(run, data, split="val")
    assert evaluate(run, data.with_val(run.recipe.seed), split="val")["loss"] == pytest.approx(run.metrics["val_loss"])


def test_loading_a_run_leaves_the_callers_generator_alone(one_run):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    Run.load(one_run)
    assert torch.equal(torch.rand(3), expected)


def test_a_module_whose_sizes_are_not_known_yet_is_trained(tmp_path):
    fit(Net(nn.LazyLinear(2)), clouds(), out=tmp_path, **QUICK)
    assert json.loads((tmp_path / "run.json").read_text())["parameters"] == 8
    run = fit(Net(nn.LazyLinear(2)), clouds(), out=tmp_path, resume=True, **{**QUICK, "epochs": 5})
    assert len(run.history) == 5
    assert evaluate(Run.load(tmp_path, model=Net(nn.LazyLinear(2))), clouds())["loss"] == pytest.approx(
        run.metrics["test_loss"]
    )


def test_a_model_that_was_made_in_inference_mode_is_not_trained():
    with torch.inference_mode():
        model = model_for("linear", clouds())
    with pytest.raises(CotanError, match=r"made in torch\.inference_mode, and cannot be trained"):
        fit(model, clouds(), **QUICK)
    with torch.inference_mode():
        assert fit("linear", clouds(), **QUICK).history


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("criterion", "A task of yours has its own loss"),
        ("callbacks", "on_epoch"),
        ("scheduler", r"mean 'schedule'\?.* a loop of yours"),
        ("random_state", r"mean 'seed' \(random_state\)\?.*A model's options go to"),
    ],
)
def test_what_other_trainers_take_is_said_to_be_elsewhere(key, said):
    with pytest.raises(CotanError, match=f"unknown key of a recipe '{key}'.*{said}"):
        fit("linear", clouds(), **QUICK, **{key: 1})


def stale(change):
    """What was prepared before a change of the shapes."""
    data = clouds()
    prepared = {name: prepare(model_for("linear", data), shapes) for name, shapes in data.lists().items()}
    change(data, prepared)
    return data, prepared


def relabel(data, prepared):
    data.train[3].y = 1 - data.train[3].y


def of_no_targets(data, prepared):
    prepared["val"] = prepare(model_for("linear", data), data.val, per=None)


def longer(data, prepared):
    data.test[0] = cloud(0, 1, points=20)


def of_other_features(data, prepared):
    model = model_for("linear", data, features="pos")
    prepared["test"] = prepare(model, data.test)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (relabel, r"prepared\['train'\] has other targets than train"),
        (of_no_targets, r"prepared\['val'\] has other targets than val, or of another task: per='shape'"),
        (longer, r"prepared\['test'\] is of other shapes than test"),
        (of_other_features, r"prepared\['test'\] is of another model: it lacks normalized_pos"),
        (lambda _, prepared: prepared.pop("val"), "prepared has stress_again, test, train, expected train, val, test"),
        (lambda _, prepared: prepared.update(more=prepared["val"]), "prepared has more, stress_again"),
        (lambda data, _: data.train.pop(), r"prepared\['train'\] is of other shapes"),
        (lambda _, prepared: prepared.update(val=3), r"prepared\['val'\]: expected what cotan.prepare gives"),
    ],
)
def test_what_was_prepared_of_something_else_is_refused(change, said):
    data, prepared = stale(change)
    with pytest.raises(CotanError, match=said):
        fit("linear", data, prepared=prepared, **QUICK)


def test_what_was_prepared_gives_the_numbers_of_what_fit_prepares():
    data, prepared = stale(lambda *_: None)
    part = {"train": prepared["train"], "val": prepared["val"]}
    whole, again, untested = (fit("linear", data, **QUICK, prepared=given) for given in (None, prepared, part))
    assert deterministic(whole.history) == deterministic(again.history) == deterministic(untested.history)
    assert whole.metrics == again.metrics
    assert untested.metrics == {name: value for name, value in whole.metrics.items() if name.startswith("val")}


def test_what_was_prepared_may_be_of_other_forms_in_test():
    """Meshes in train, clouds in test."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 2)

        def forward(self, pos, batch, ptr, face=None):
            return cotan.pool(self.linear(pos), batch, len(ptr) - 1)

    data = clouds()
    for shape in [*data.train, *data.val]:
        shape.face = torch.tensor([[0], [1], [2]])
    prepared = {name: prepare(model := Net(), shapes) for name, shapes in data.lists().items()}
    assert fit(model, data, prepared=prepared, **QUICK).metrics["test_accuracy"] >= 0


def test_a_choice_by_another_metric_is_not_resumed(tmp_path, scratch):
    class Own(Classify):
        chosen_by = "mean_recall"

    cotan.task("own")(Own)
    data = replace(clouds(), task="own")
    fit("linear", data, out=tmp_path, **QUICK)
    Own.chosen_by = None
    with pytest.raises(cotan.CotanError, match="resumed: chosen_by: 'mean_recall', now it is None"):
        fit("linear", data, out=tmp_path, resume=True, **{**QUICK, "epochs": 5})


def test_another_model_and_another_version_of_an_operator_are_not_resumed(tmp_path, scratch):
    def resumed(version, width):
        text = f"@cotan.operator(per='vertex', version={version})\ndef height(pos): return pos"
        exec(text, {"cotan": cotan, "__name__": "notebook"})
        model = model_for("linear", clouds(), features="height", width=width)
        return fit(model, clouds(), out=tmp_path, resume=True, **{**QUICK, "epochs": 1})

    resumed(1, 4)
    with pytest.raises(cotan.CotanError, match=r"cannot be resumed: its model has options\.width=4, now it is 5"):
        resumed(1, 5)
    with pytest.raises(cotan.CotanError, match="cannot be resumed: its plan has features 0="):
        resumed(2, 4)


def test_weights_of_another_run_are_not_resumed(tmp_path, capsys):
    for seed in (0, 1):
        fit("linear", clouds(), out=tmp_path / str(seed), seed=seed, **QUICK)
    best = tmp_path / "1/best.safetensors"
    shutil.copy(tmp_path / "0/best.safetensors", best)
    with pytest.raises(cotan.CotanError, match=r"cannot be resumed: its recipe has seed=0, now it is 1"):
        fit("linear", clouds(), out=tmp_path / "1", resume=True, seed=1, **QUICK)
    tensors, record = checkpoint.load(tmp_path / "0", "best")
    longer = {**QUICK, "epochs": 5, "progress": "lines", "out": tmp_path / "0", "resume": True}
    # As a kill leaves it, before last is written.
    checkpoint.save(tmp_path / "0", "best", tensors, record | {"epoch": 5})
    append(tmp_path / "0/metrics.jsonl", {"epoch": 5})
    fit("linear", clouds(), **longer)
    assert f"resuming {tmp_path}/0 after epoch 4 of 5" in capsys.readouterr().err
    # Of its own, but an older one, as where a power cut kept one file and not the other.
    checkpoint.save(tmp_path / "0", "best", tensors, record | {"epoch": 0})
    fit("linear", clouds(), **longer)
    assert re.search(r"has no best.safetensors of epoch \d: starting afresh", capsys.readouterr().err)


def test_a_recipe_survives_json_and_toml(tmp_path):
    recipe = Recipe(epochs=3, augment=(cotan.node("random_scale", low=0.5), "random_rotation"), precision="bf16")
    assert Recipe.of(json.loads(json.dumps(recipe.record()))) == recipe
    path = tmp_path / "r.toml"
    path.write_text(
        'epochs = 3\nprecision = "bf16"\naugment = [{name = "random_scale", low = 0.5}, "random_rotation"]\n',
        "utf-8-sig",  # as editors on Windows write it
    )
    assert Recipe.of(path) == recipe
    assert Recipe.of(path, epochs=7).epochs == 7


def test_a_request_survives_json():
    request = cotan.node(
        "spectrum", k=8, laplacian=cotan.node("laplacian", kind="robust"), on=cotan.node("coarsen", level=2)
    )
    assert node_of(json.loads(json.dumps(record_of(request)))) == request
    assert record_of(cotan.node("mass")) == "mass"
    assert node_of(request) == request
    with pytest.raises(cotan.CotanError, match="expected a node's name"):
        node_of(3)
    with pytest.raises(cotan.CotanError, match="a node is written as its name or as a table with a name, got"):
        node_of({"level": 2})


@pytest.mark.parametrize("kind", ["adam", "adamw", "sgd"])
def test_the_optimizer_is_the_recipes(kind):
    recipe = Recipe(optimizer=kind, lr=0.3, weight_decay=0.1, **({"momentum": 0.7} if kind == "sgd" else {}))
    optimizer = recipe.make_optimizer([torch.zeros(1, requires_grad=True)])
    (group,) = optimizer.param_groups
    assert type(optimizer).__name__.lower() == kind
    assert (group["lr"], group["weight_decay"], group.get("momentum", 0.7)) == (0.3, 0.1, 0.7)


def test_an_augmentation_has_no_seed_of_its_own():
    with pytest.raises(cotan.CotanError, match=r"augment='random_rotation\(seed=5\)', expected no seed"):
        Recipe(augment=(cotan.node("random_rotation", seed=5),))


@pytest.mark.parametrize("schedule", ["none", "cosine", "step"])
def test_the_rate_agrees_with_torchs_schedulers(schedule):
    recipe = Recipe(
        epochs=10, lr=0.5, schedule=schedule, **({"step_size": 3, "gamma": 0.1} if schedule == "step" else {})
    )
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    other = {
        "none": lambda: torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=10),
        "step": lambda: torch.optim.lr_scheduler.StepLR(optimizer, 3, 0.1),
    }[schedule]()
    for epoch in range(10):
        assert recipe.rate(epoch) == pytest.approx(optimizer.param_groups[0]["lr"])
        optimizer.step()
        other.step()


def test_bad_targets_are_refused():
    one = clouds()
    one.train = [s for s in one.train if int(s.y) == 0]
    with pytest.raises(cotan.CotanError, match="all training targets are class 0"):
        fit("linear", one, **QUICK)
    far = clouds()
    far.test[0].y = torch.tensor([2])
    with pytest.raises(cotan.CotanError, match=r"test\[0\]: labels 2 to 2, but there are 2 classes"):
        fit("linear", far, **QUICK)
    with pytest.raises(cotan.CotanError, match="wants a label for each of 10 vertices"):
        fit(cotan.create_model("linear", 3, 2, task="label"), clouds(), **QUICK)
    with pytest.raises(cotan.CotanError, match=r"expected a dataset's name, an object with \.train, \.val and \.test"):
        fit("linear", 7, **QUICK)


def test_a_model_of_another_width_is_refused():
    with pytest.raises(cotan.CotanError, match="in_dim=5"):
        fit(cotan.create_model("linear", 5, 2), clouds(), **QUICK)


def test_training_that_diverges_says_so():
    with pytest.raises(cotan.CotanError, match=r"training diverged in epoch \d+ \(train loss .*smaller lr"):
        fit("linear", clouds(), **{**QUICK, "lr": 1e30, "epochs": 20, "optimizer": "sgd"})
    model = model_for("linear", clouds())  # of which the weights stay finite
    model.register_forward_hook(lambda module, _, output: output if module.training else output * torch.nan)
    with pytest.raises(cotan.CotanError, match=r"training diverged in epoch 1 \(train loss .*, val loss nan\)"):
        fit(model, clouds(), **QUICK)


@pytest.mark.parametrize("share", [0.2, 0])
def test_the_best_epoch_before_training_diverged_is_kept(share, tmp_path):
    splits, model = replace(clouds(), val=[]), model_for("linear", clouds())

    def before_the_last_step(module, inputs, output):
        if module.training and len(seen) == 3:  # epochs are done, and the last step's gradients are not finite
            output.register_hook(lambda g: g * torch.inf)

    seen = []
    model.register_forward_hook(before_the_last_step)
    with pytest.raises(cotan.CotanError, match=r"diverged in epoch 4 .*model has its weights of epoch [123] again"):
        fit(model, splits, out=tmp_path, on_epoch=seen.append, val_share=share, **{**QUICK, "batch_size": 16})
    assert cotan.predict(model, splits.test[0]).probability > 0
    kept = Run.load(tmp_path)
    assert torch.equal(cotan.apply(kept.model, splits.test[0]), cotan.apply(model, splits.test[0]))


def test_a_model_of_weights_that_are_not_finite_gives_no_labels(one_run):
    run = Run.load(one_run)
    with torch.no_grad():
        next(run.model.parameters())[:] = torch.nan
    for ask in (predict, evaluate):
        with pytest.raises(cotan.CotanError, match=r"not finite in 1 of \d+ tensors, such as .*training diverged"):
            ask(run, clouds().test)


@pytest.mark.parametrize("value", [torch.nan, -torch.inf])
def test_a_shape_without_an_answer_is_named_among_others(value, one_run):
    run = Run.load(one_run)
    run.model.register_forward_hook(lambda module, given, output: output.index_fill(0, torch.tensor([1]), value))
    with pytest.raises(cotan.CotanError, match=r"^shape 1 of 3: the model's output is not finite; .* are finite$"):
        predict(run, clouds().test[:3])


def test_a_full_disk_is_said_and_leaves_what_was_there(tmp_path, monkeypatch):
    fit("linear", clouds(), out=tmp_path, **{**QUICK, "epochs": 2})
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cotan.atomic.os.replace", full)
    with pytest.raises(cotan.CotanError, match="No space left on device"):
        fit("linear", clouds(), out=tmp_path, resume=True, **QUICK)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before


def test_no_bar_is_left_behind_that_hides_the_cursor(monkeypatch):
    there = []

    def start(self, *_):
        there.append(self)
        self.bar = SimpleNamespace(update=lambda *_, **__: None, stop=there.clear)

    def interrupted(*_, progress, **__):
        progress(1, 2)
        assert there
        raise KeyboardInterrupt

    monkeypatch.setattr("cotan.training.progress.Progress.start", start)
    monkeypatch.setattr("cotan.training.loop.prepare", interrupted)
    with pytest.raises(KeyboardInterrupt):
        fit("linear", clouds(), **{**QUICK, "progress": "bar"})
    assert not there


def test_without_stderr_nothing_is_shown(monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    assert fit("linear", clouds(), **{**QUICK, "progress": "auto"}).status == "finished"


def test_a_bar_shows_what_is_counted_now(monkeypatch, capsys):
    from rich.progress import Progress as Plain

    bars = []

    class Bar(Plain):
        def start(self):
            bars.append(self)
            super().start()

    monkeypatch.setattr("rich.progress.Progress", Bar)

    def running():
        return [bar.tasks[0].description for bar in bars if bar.live.is_started]

    with Progress("bar") as show:
        show.counter("make")(1, 3)  # and then it fails
        again = show.counter("prepare")
        again(1, 2)
        assert running() == ["prepare"]
        again(2, 2)
        assert running() == []
        show.counter("make")(1, 3)
        show.start("train", 5, done=2)
        assert running() == ["train"]
        assert bars[-1].tasks[0].completed == 2
        show.say("[a line] that stays")
    assert running() == []
    assert "[a line] that stays" in capsys.readouterr().err
    with pytest.raises(cotan.CotanError, match="unknown progress 'dots'"):
        Progress("dots")


@pytest.mark.parametrize(
    ("width", "left"), [(30, ""), (60, "loss 2.283  val loss 2.275"), (120, "loss 2.283  val loss 2.275  0.01 s/epoch")]
)
def test_a_narrow_terminal_keeps_the_count_and_whole_numbers(width, left, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(width))
    with Progress("bar") as show:
        show.start("gcn", 12)
        show.step(3, "loss 2.283  val loss 2.275  0.01 s/epoch")
        assert show.bar.tasks[0].fields["facts"] == left
        show.bar.refresh()
        seen = show.bar.console.render_lines(show.bar.get_renderable())
    assert any(" 3/12" in "".join(segment.text for segment in line) for line in seen)


def test_a_long_preparation_says_a_line_every_ten_seconds(monkeypatch, capsys):
    clock = iter([0, 4, 11, 12, 22])
    monkeypatch.setattr("cotan.training.progress.time.monotonic", lambda: next(clock))
    count = Progress("lines").counter("prepare train")
    for done in range(1, 4):
        count(done, 9)
    assert capsys.readouterr().err == "prepare train 2/9\n"


def test_what_no_run_and_no_checkpoint_can_be_made_of(tmp_path):
    with pytest.raises(cotan.CotanError, match="no run folder"):
        Run.load(tmp_path / "nowhere")
    with pytest.raises(cotan.CotanError, match=r"has no best\.safetensors: no epoch of a run was finished there"):
        Run.load(tmp_path)

    class Counts(nn.Linear):
        def get_extra_state(self):
            return {"seen": 3}

        def set_extra_state(self, state): ...

    model = model_for("linear", clouds())
    model.beside = Counts(1, 1)
    with pytest.raises(cotan.CotanError, match=r"state 'beside\._extra_state' is a dict; a checkpoint holds tensors"):
        fit(model, clouds(), out=tmp_path, **QUICK)


def test_stopped_in_the_first_epoch_nothing_is_kept(tmp_path, capsys):
    model = model_for("linear", clouds())

    def stop(*_):
        raise KeyboardInterrupt

    handle = model.register_forward_pre_hook(stop)
    run = fit(model, clouds(), out=tmp_path, **{**QUICK, "progress": "lines"})
    handle.remove()
    assert (run.status, run.best_epoch, run.history, run.metrics) == ("stopped", None, [], {})
    assert "stopped before the first epoch was finished; nothing is kept" in capsys.readouterr().err
    assert not (tmp_path / "best.safetensors").exists()
    assert fit(model, clouds(), out=tmp_path, resume=True, **QUICK).status == "finished"


@pytest.mark.parametrize("option", [{"label_smoothing": 0.1}, {"class_balance": True}])
def test_options_of_classes_are_not_for_numbers(option):
    data = replace(clouds(), task="regress", classes=())
    with pytest.raises(cotan.CotanError, match=f"{next(iter(option))} is for tasks with classes"):
        fit("linear", data, **QUICK, **option)


def test_a_first_signal_is_a_tensor():
    with pytest.raises(cotan.CotanError, match="features: laplacian is a Sparse, expected a tensor per vertex"):
        model_for("linear", clouds(), features="laplacian")


def test_no_shapes_have_no_predictions():
    assert predict(model_for("linear", clouds()), []) == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(cotan.CotanError, match="file/run cannot be written: Not a directory"):
        fit("linear", clouds(), out=tmp_path / "file/run", **QUICK)
    (tmp_path / "lines").mkdir()
    with pytest.raises(cotan.CotanError, match=r"lines cannot be written: Is a directory\. The lines before are whole"):
        append(tmp_path / "lines", {})
    run = fit("linear", clouds(), out=tmp_path / "run", **QUICK)

    def fixed(*_):
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as context:
        context.setattr(Path, "rename", fixed)
        with pytest.raises(cotan.CotanError, match=r"the run in .*run cannot be put aside: .*Read-only"):
            fit("linear", clouds(), out=tmp_path / "run", **QUICK)
    assert Run.load(tmp_path / "run").metrics == run.metrics


def test_what_is_no_recipe():
    with pytest.raises(cotan.CotanError, match="recipe: expected a Recipe, a mapping or a TOML file, got int"):
        fit("linear", clouds(), 3)


def test_the_weights_alone_are_a_run(tmp_path):
    run = fit("linear", clouds(), out=tmp_path / "whole", **QUICK)
    (tmp_path / "sent").mkdir()
    (tmp_path / "whole/best.safetensors").rename(tmp_path / "sent/best.safetensors")
    sent = Run.load(tmp_path / "sent")
    assert (sent.classes, sent.best_epoch, sent.recipe) == (run.classes, run.best_epoch, run.recipe)
    assert sent.metrics == {name: value for name, value in run.metrics.items() if name.startswith("val_")}
    assert torch.equal(predict(sent, clouds().test[0]).probabilities, predict(run, clouds().test[0]).probabilities)
    assert repr(sent).startswith(f"Run(running, 0 epochs, best {run.best_epoch}: val_accuracy ")


def test_a_device_that_is_not_there():
    for device in ("tpux", "cpu:1", "cuda:x", "mps"):
        with pytest.raises(cotan.CotanError, match=f"device '{device}', expected auto, cpu, cuda or cuda:N"):
            fit("linear", clouds(), **{**QUICK, "device": device})
    if not torch.cuda.is_available():
        with pytest.raises(cotan.CotanError, match="there is none"):
            fit("linear", clouds(), **{**QUICK, "device": "cuda"})


def test_a_mac_is_no_gpu(monkeypatch):
    """Its mps has no float64, so that training ended with the metrics of the first epoch."""
    monkeypatch.setattr("lightning_fabric.accelerators.mps.MPSAccelerator.is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert make_fabric(Recipe()).device == torch.device("cpu")


@pytest.mark.parametrize(
    "found",
    [
        {"SLURM_NTASKS": "4", "SLURM_JOB_NAME": "array"},
        {"LSB_JOBID": "3", "LSB_DJOB_RANKFILE": "hosts", "JSM_NAMESPACE_LOCAL_RANK": "0", "JSM_NAMESPACE_SIZE": "2"},
    ],
)
def test_other_tasks_of_a_clusters_job_are_none_of_a_training(found, monkeypatch):
    """Each of them may be a training of its own."""
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    assert make_fabric(Recipe()).world_size == 1


class Own(nn.Module):
    """A module without a word about its task."""

    def __init__(self, pooled=False):
        super().__init__()
        self.linear, self.pooled = nn.Linear(4, 3), pooled

    def forward(self, x, batch):
        y = self.linear(x)
        return y.mean(0, keepdim=True) if self.pooled else y


def test_a_module_of_ones_own_does_the_datasets_task():
    splits = cotan.load_dataset("blocks", nodes=60, features=4, classes=3)
    run = fit(Own(), splits, **QUICK)
    assert run.model.task == "label"
    assert evaluate(run, splits)["accuracy"] == pytest.approx(run.metrics["test_accuracy"])
    assert predict(run, splits.test[0]).label.shape == (60,)


def test_an_output_of_another_shape_is_named():
    with pytest.raises(
        cotan.CotanError, match=r"Own gives \(1, 3\) for a batch with 60 targets, one a vertex; expected \(60,"
    ):
        fit(Own(pooled=True), cotan.load_dataset("blocks", nodes=60, features=4), **QUICK)
    with pytest.raises(cotan.CotanError, match=r"Own gives 3 classes, and there are targets up to 3"):
        fit(Own(), cotan.load_dataset("blocks", nodes=60, features=4, classes=4), **QUICK)
    with pytest.raises(
        cotan.CotanError, match=r"Scores gives \(4,\) for a batch with 4 targets.* expected \(4, classes\)"
    ):
        fit(Scores(), clouds(), **QUICK)


class Scores(nn.Module):
    """One number a shape, where each class wants its own."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 1)

    def forward(self, x, batch, ptr):
        return cotan.pool(self.linear(x), batch, len(ptr) - 1)[:, 0]


def test_an_unknown_augmentation_leaves_the_earlier_run_where_it_is(tmp_path):
    with pytest.raises(
        cotan.CotanError, match=r"unknown augmentation 'rotate'.* There is: random_jitter, random_rotation"
    ):
        (tmp_path / "run.json").write_text("{}")
        fit("mlp", clouds(), out=tmp_path, augment=("rotate",), **QUICK)
    assert not (tmp_path / "earlier-1").exists()


def test_evaluate_takes_a_runs_folder(tmp_path):
    run = fit("mlp", clouds(), out=tmp_path, **QUICK)
    assert evaluate(tmp_path, clouds()) == evaluate(run, clouds())
    with pytest.raises(cotan.CotanError, match="expected a model, a Run or a run's folder, got int"):
        evaluate(3, clouds())


def test_a_device_of_torchs_and_a_logger_of_the_callers():
    told = []
    run = fit("linear", clouds(), on_epoch=told.append, **{**QUICK, "device": torch.device("cpu")})
    assert told == run.history
    assert run.recipe.device == "cpu"


def test_a_pyg_dataset_is_a_list():
    class Clouds(torch.utils.data.Dataset):
        def __len__(self):
            return 6

        def __getitem__(self, i):
            if not 0 <= i < 6:
                raise IndexError
            return clouds().test[i]

    run = fit("linear", clouds(), **QUICK)
    assert evaluate(run, Clouds()) == evaluate(run, clouds().test)
    assert [found.label for found in predict(run, Clouds())] == [found.label for found in predict(run, clouds().test)]
    assert torch.equal(cotan.apply(run.model, Clouds()), cotan.apply(run.model, clouds().test))


def test_labels_are_of_the_vertices_that_the_file_has(tmp_path):
    """As a folder's labels are: nothing is merged."""
    (tmp_path / "seam.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 1 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\nf 4 5 6\n")
    with pytest.warns(cotan.MeshWarning, match="2 vertices at the place of another"):
        found = predict(cotan.create_model("linear", 3, 2, task="label"), tmp_path / "seam.obj")
    assert len(found.label) == 6


def test_resume_wants_a_folder():
    with pytest.raises(cotan.CotanError, match=r"resume goes on from .* a run's folder: expected out="):
        fit("linear", clouds(), resume=True, **QUICK)


class Size(nn.Module):
    """Two numbers of a shape, by a module without a word about its task."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)

    def forward(self, x, batch, ptr):
        return cotan.pool(self.linear(x), batch, len(ptr) - 1)


def test_numbers_are_learned_by_a_module_of_ones_own():
    data = sized(torch.tensor([1.0, 2.0]))
    run = fit(Size(), data, **QUICK)
    assert evaluate(run, data)["loss"] == pytest.approx(run.metrics["test_loss"])
    del data.test[0].y
    with pytest.raises(cotan.CotanError, match=r"test\[0\] has no y, the target of task 'regress'"):
        evaluate(run, data)


def test_a_run_that_was_killed_says_so_and_has_the_metrics_of_its_weights(tmp_path):
    def kill(line):
        if line["epoch"] in (2, 6):
            raise RuntimeError

    settings = {**QUICK, "out": tmp_path, "on_epoch": kill}
    for epochs in (2, 4, 6):  # killed, finished, then killed where it was gone on with
        with suppress(RuntimeError):
            fit("linear", clouds(), resume=True, **{**settings, "epochs": epochs})
        run = Run.load(tmp_path)
        best = {f"val_{name}": value for name, value in evaluate(run, clouds(), split="val").items()}
        assert {name: run.metrics[name] for name in best} == pytest.approx(best)
        assert run.status == ("finished" if epochs == 4 else "running")
        assert ("test_accuracy" in run.metrics) == (epochs == 4)


def test_the_first_shape_may_be_one_that_is_refused():
    data = clouds()
    data.train[0].pos /= 1e3
    assert model_for("linear", data, features="only_if_large").made["in_dim"] == 3
    for shape in data.train:
        shape.pos /= 1e3
    with pytest.raises(cotan.CotanError, match="too small for this"):
        model_for("linear", replace(data, val=[], test=[], stress={}), features="only_if_large")


@pytest.mark.parametrize("split", ["val", "test"])
def test_what_is_left_of_a_split_may_have_no_target_that_counts(split):
    data = clouds()
    for shape in data.train + data.val + data.test:
        shape.y = shape.y.expand(len(shape.pos)).clone()
    small, masked = data.lists()[split][:2]
    small.pos /= 1e3
    masked.mask = torch.zeros(len(masked.pos), dtype=torch.bool)
    data = replace(data, task="label", stress={}, **{split: [small, masked]})
    model = model_for("linear", data, features="only_if_large")
    if split == "val":
        with pytest.raises(cotan.CotanError, match="val: 1 of 2 refused"):
            fit(model, data, **QUICK)
    else:
        assert "test_accuracy" not in fit(model, data, **QUICK).metrics
        with pytest.raises(cotan.CotanError, match="1 of 2 refused"):
            evaluate(model, data)


@pytest.mark.parametrize("wrong", [{"model": "linaer"}, {"augment": "random_rotaton"}, {"device": "gpu"}])
def test_what_is_wrong_is_met_before_the_dataset_is_made(wrong, monkeypatch):
    monkeypatch.setattr("cotan.training.loop.load_dataset", None)
    with pytest.raises(cotan.CotanError, match=r"Did you mean|expected auto"):
        fit(dataset="poses", **{"model": "linear", **QUICK, **wrong})
    ((option, value),) = wrong.items()
    asked = ["--model", "linear", "--dataset", "none", "--out", "none", f"--{option}", value]
    with pytest.raises(cotan.CotanError, match=r"Did you mean '(linear|random_rotation)|expected auto"):
        CliRunner().invoke(app, ["fit", *asked], standalone_mode=False, catch_exceptions=False)


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_trains_where_the_caller_wants_no_gradients(mode):
    data = clouds()
    with mode():
        run = fit("linear", data, **QUICK)
        assert not torch.is_grad_enabled()
    assert deterministic(run.history) == deterministic(fit("linear", clouds(), **QUICK).history)


@pytest.mark.parametrize("there", [False, True])
def test_what_is_refused_late_leaves_no_folder(there, tmp_path):
    data = clouds()
    for shape in data.train:
        shape.pos /= 1e3
    if there:
        (tmp_path / "run").mkdir()
    model = cotan.create_model("linear", 3, 2, features="only_if_large")
    with pytest.raises(cotan.CotanError, match="train: 12 of 12 refused"):
        fit(model, data, out=tmp_path / "run", **QUICK)
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"] * there
    with alone(tmp_path / "run"):  # as of bench
        with pytest.raises(cotan.CotanError, match="train: 12 of 12 refused"):
            fit(model, data, out=tmp_path / "run", **QUICK)
        assert (tmp_path / "run" / ".lock").exists()
    assert list(tmp_path.rglob("*")) == [tmp_path / "run"] * there


def test_a_lock_that_is_removed_when_it_ends_leaves_no_folder(tmp_path, monkeypatch):
    """On Windows nobody can remove an open file, and filelock does when it lets go."""
    release = FileLock.release

    def refuse(path):
        raise PermissionError(errno.EACCES, "in use", path)

    def let_go(lock, *how, **more):
        release(lock, *how, **more)
        with suppress(FileNotFoundError):
            os.remove(lock.lock_file)

    monkeypatch.setattr(Path, "unlink", refuse)
    monkeypatch.setattr(FileLock, "release", let_go)
    with alone(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


def test_a_file_that_is_no_text_is_no_recipe(tmp_path):
    (tmp_path / "recipe.toml").write_bytes(b"\xff\xfe\x00")
    for reader, what in ((Recipe.of, "recipe"), (cotan.Suite.read, "suite")):
        with pytest.raises(cotan.CotanError, match=f"{what} .*recipe.toml is not TOML"):
            reader(tmp_path / "recipe.toml")


def tampered(folder, record):
    """A run with another record in the header of its checkpoint."""
    tensors, known = checkpoint.load(folder, "best")
    checkpoint.save(folder, "best", tensors, record(known))


@pytest.mark.parametrize("key", ["model", "recipe", "classes", "dataset", "metrics", "versions"])
@pytest.mark.parametrize("value", ["/etc/passwd", 3, ...])
def test_a_record_of_another_kind_is_refused_and_no_file_that_it_names_is_read(key, value, tmp_path, one_run):
    def record(known):
        return {k: v for k, v in {**known, key: value}.items() if v is not ...}

    shutil.copytree(one_run, tmp_path / "run")
    tampered(tmp_path / "run", record)
    with pytest.raises(CotanError, match=f"best.safetensors: its record has no '{key}', or none that is"):
        Run.load(tmp_path / "run")


@pytest.mark.parametrize("options", [{"width": 20_000, "depth": 3}, {"width": 1, "depth": 10**9}])
def test_a_record_of_a_model_that_its_file_cannot_fill_asks_for_no_memory(options, tmp_path, one_run, monkeypatch):
    def record(known):
        return {**known, "model": {**known["model"], "options": {**known["model"]["options"], **options}}}

    monkeypatch.setattr("cotan.training.run.SMALL", 10**5)
    shutil.copytree(one_run, tmp_path / "run")
    tampered(tmp_path / "run", record)
    with pytest.raises(CotanError, match=r"best.safetensors does not fit the model of its record, which is far larger"):
        Run.load(tmp_path / "run")
    assert Run.load(one_run).status == "finished"  # and the bound is gone


@pytest.mark.parametrize("name", ["run.json", "metrics.jsonl"])
def test_records_that_are_nested_without_end_are_said(name, tmp_path, one_run):
    shutil.copytree(one_run, tmp_path / "run")
    (tmp_path / "run" / name).write_text("[" * 10**5 + "\n{}\n")
    said = (pytest.raises, CotanError) if name == "run.json" else (pytest.warns, RuntimeWarning)
    with said[0](said[1], match=f"{name}.*nested too deep"):
        Run.load(tmp_path / "run")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in this system's folders")
def test_pipes_in_a_run_are_not_waited_for(tmp_path, one_run):
    shutil.copytree(one_run, tmp_path / "run")
    for name in ("run.json", "metrics.jsonl", "best.safetensors"):
        (tmp_path / "run" / name).unlink()
        os.mkfifo(tmp_path / "run" / name)
        if name != "best.safetensors":
            assert Run.load(tmp_path / "run").best_epoch == 1
    with pytest.raises(CotanError, match=r"has no best.safetensors"):
        Run.load(tmp_path / "run")


def test_a_prediction_is_shown_with_few_of_its_classes():
    found = Prediction(1, "b", 0.9, torch.tensor([0.1, 0.9]), ("a", "b"))
    fields = "label=1, name='b', probability=0.9, probabilities=tensor([0.1000, 0.9000]), classes=('a', 'b')"
    assert repr(found) == f"Prediction({fields})"
    assert repr(found._replace(classes=tuple(map(str, range(6890))))).endswith("'5', ...))")
