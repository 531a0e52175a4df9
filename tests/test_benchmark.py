"""Suites, results that are never lost, the table and the page."""

import csv
import hashlib
import html
import io
import json
import os
import re
import sys

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import cotan
from cotan.benchmark import Suite, bench
from cotan.datasets import Splits
from cotan.drawing import bars
from cotan.report import write_report
from cotan.suite import shipped
from cotan.table import Table, aligned
from cotan.training import Run
from cotan.training.recipe import node_of

SUITE = """
seeds = [0, 1]
[recipe]
epochs = 2
device = "cpu"
[[datasets]]
name = "two-solids"
[[models]]
name = "linear"
options = { width = 8, depth = 1 }
[[models]]
name = "linear"
label = "wide"
options = { width = 16, depth = 1 }
recipe = { epochs = 3 }
"""


def solid(kind: int, seed: int) -> Data:
    import trimesh

    mesh = trimesh.creation.box() if kind else trimesh.creation.icosphere(subdivisions=1)
    torch.manual_seed(seed)
    pos = torch.tensor(mesh.vertices, dtype=torch.float32) * (1 + torch.rand(3))
    return Data(pos=pos, face=torch.tensor(mesh.faces).T.contiguous(), y=torch.tensor([kind]))


@cotan.dataset("two-solids")
def two_solids(*, first: int = 0):
    lists = [[solid(i % 2, first + 10 * part + i) for i in range(6)] for part in range(3)]
    return Splits(*lists, classes=("ball", "<box>"), stress={"again": lists[2]}, skipped=[("x.off", "broken")])


@cotan.dataset("folded-solids")
def folded_solids(*, fold: int = 0, folds: int = 2):
    shapes = [solid(i % 2, i) for i in range(6 * folds)]
    test = shapes[6 * fold : 6 * fold + 6]
    return Splits([s for s in shapes if not any(s is t for t in test)], test, test, classes=("ball", "box"))


@cotan.dataset("val-is-test")
def val_is_test(*, val: bool = True):
    shapes = [solid(i % 2, i) for i in range(8)]
    return Splits(shapes[:4], [s.clone() for s in shapes[4:]] if val else [], shapes[4:], classes=("ball", "box"))


@cotan.layer("fails-here")
class FailsHere(nn.Module):
    def __init__(self, in_dim, out_dim, *, when: str = "forward"):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)
        if when != "forward":
            self.needs = {"mass": cotan.node("always_fails" if when == "plan" else "edge_weight")}

    def forward(self, x, mass):
        if self.training:
            raise cotan.CotanError("it does not work")
        return self.linear(x)


@cotan.operator(per="vertex")
def always_fails(pos):
    raise cotan.CotanError("no such mass")


@cotan.operator(per="vertex")
def fails_on_small(pos):
    if pos.abs().max() < 1e-2:
        raise cotan.CotanError("too small")
    return pos


@pytest.fixture
def suite(tmp_path):
    path = tmp_path / "small.toml"
    path.write_text(SUITE)
    return path


def test_a_suite_gives_lines_a_table_and_a_page(suite, tmp_path):
    table = bench(suite, out=tmp_path / "out", progress="none")
    lines = [json.loads(line) for line in (tmp_path / "out/results.jsonl").read_text().splitlines()]
    assert [(line["model"], line["seed"]) for line in lines] == [("linear", 0), ("wide", 0), ("linear", 1), ("wide", 1)]
    assert sorted(map(str, lines)) == sorted(map(str, table.rows))
    first = lines[0]
    assert first["stress_again_accuracy"] == first["test_accuracy"]
    assert first["split_digest"] == cotan.load_dataset("two-solids").digest
    assert first["parameters"] == sum(p.numel() for p in Run.load(tmp_path / "out" / first["run"]).model.parameters())
    assert {"epoch_seconds", "prepare_seconds", "versions", "recipe"} <= first.keys()
    best = (tmp_path / "out" / first["run"] / "best.safetensors").read_bytes()
    assert first["checkpoint_sha256"] == hashlib.sha256(best).hexdigest()
    assert [line["epochs"] for line in lines] == [2, 3, 2, 3]
    header, rows = table.summary("two-solids")
    assert header[:3] == ["model", "test", "again"]
    mean = (lines[0]["test_accuracy"] + lines[2]["test_accuracy"]) / 2
    assert rows[0][1].startswith(f"{mean:.1%}")
    assert "wide" in str(table)
    page = write_report(table).read_text()
    assert page.count("data:image/png;base64,") == 2
    assert "<svg" in page
    assert 'alt="&lt;box&gt;, ball"' in page or 'alt="ball, &lt;box&gt;"' in page
    assert "x.off" in page
    assert not re.search(r"(src|href)=\"http", page)


def test_the_same_suite_gives_the_same_numbers(suite, tmp_path):
    a, b = (bench(suite, out=tmp_path / name, progress="none") for name in "ab")

    def numbers(table):
        return [{k: v for k, v in row.items() if k.startswith(("val_", "test_", "stress_"))} for row in table.rows]

    assert numbers(a) == numbers(b)


def test_finished_results_are_kept_and_only_the_missing_run(suite, tmp_path, monkeypatch):
    import cotan.benchmark as benchmark

    bench(suite, out=tmp_path / "out", progress="none")
    file = tmp_path / "out/results.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:2]) + lines[2][:30])  # cut short by a kill
    calls = []
    real = benchmark.fit
    monkeypatch.setattr(benchmark, "fit", lambda *args, **kwargs: calls.append(args[2].seed) or real(*args, **kwargs))
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert calls == [1, 1]
    assert len(table.rows) == 4
    assert [json.loads(line)["key"] for line in file.read_text().splitlines()][:2] == [
        json.loads(x)["key"] for x in lines[:2]
    ]
    bench(suite, out=tmp_path / "out", progress="none")
    assert calls == [1, 1]


def test_a_result_whose_line_two_machines_garbled_is_kept_again(suite, tmp_path, monkeypatch):
    """On a file system without locks: what was trained is not trained again."""
    rows = bench(suite, out=tmp_path, progress="none").rows
    file = tmp_path / "results.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1][:300] + "".join(lines[2:]))
    monkeypatch.setattr("cotan.training.epochs.Fit._one_epoch", None)
    with pytest.warns(RuntimeWarning, match="results.jsonl, line 2, is left out, as it is not JSON"):
        again = bench(suite, out=tmp_path, progress="none").rows
    numbers = ("key", "test_loss", "epochs", "epoch_seconds", "checkpoint_sha256")
    assert [[row[name] for name in numbers] for row in again] == [[row[name] for name in numbers] for row in rows]


@pytest.mark.parametrize("file", ["best.safetensors", "last.safetensors", "metrics.jsonl"])
def test_a_run_that_a_power_cut_damaged_is_run_anew(file, suite, tmp_path, capsys):
    rows = bench(suite, out=tmp_path, models=["wide"], seeds=[0], progress="none").rows
    (tmp_path / "results.jsonl").unlink()
    damaged = tmp_path / rows[0]["run"] / file
    damaged.write_bytes(b"")
    table = bench(suite, out=tmp_path, models=["wide"], seeds=[0], progress="lines")
    assert not table.failures
    assert table.rows[0]["checkpoint_sha256"] == rows[0]["checkpoint_sha256"]
    assert (damaged.parent / "earlier-1" / file).read_bytes() == b""
    said = "has 0 of 3 epochs" if file == "metrics.jsonl" else "cannot be read"
    assert re.search(f"{damaged} {said}.*: starting afresh", capsys.readouterr().err)


def test_a_part_of_a_suite_is_run_alone_and_kept(suite, tmp_path):
    part = Suite.read(suite).only(["wide"], [1])
    assert [(row["model"], row["seed"]) for row in bench(part, out=tmp_path / "out", progress="none").rows] == [
        ("wide", 1)
    ]
    assert len(bench(suite, out=tmp_path / "out", progress="none").rows) == 4
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 4
    with pytest.raises(cotan.CotanError, match="unknown model of suite 'small' 'wider'"):
        Suite.read(suite).only(["wider"])
    with pytest.raises(cotan.CotanError, match="has no seed 7; it has 0, 1"):
        Suite.read(suite).only(seeds=[7])


def test_parts_at_once_end_in_one_table(suite, tmp_path, monkeypatch, capsys):
    """Another process has finished a seed, and trains a second model, while this one runs the other seed."""
    from filelock import FileLock

    import cotan.benchmark as benchmark

    out, real, met = tmp_path / "out", benchmark.fit, []

    def fit(*args, **kwargs):
        monkeypatch.setattr(benchmark, "fit", real)
        met.append(bench(suite, out=out, seeds=[1], progress="none"))
        return real(*args, **kwargs)

    monkeypatch.setattr(benchmark, "fit", fit)
    table = bench(suite, out=out, models=["linear"], seeds=[0], progress="none")
    assert [(row["model"], row["seed"]) for row in met[0].rows] == [("linear", 1), ("wide", 1)]
    assert [(row["model"], row["seed"]) for row in table.rows] == [("linear", 0), ("linear", 1), ("wide", 1)]
    assert table.averaged("two-solids") == ["1 to 2 seeds"]
    assert "Seeds: 0, 1." in write_report(table).read_text()
    where = table.rows[0]["run"].replace("linear", "wide")[:-6]
    key = Suite.read(suite).key(table.suite.datasets[0], table.suite.models[1], 0)
    capsys.readouterr()
    with FileLock(out / f"{where}{key[:6]}" / ".lock"):
        table = bench(suite, out=out, progress="lines")
    assert (table.failures, table.state()) == ([], "3 of 4 results are there")
    assert "wide on two-solids, seed 0: another process is at it" in capsys.readouterr().err
    assert len(bench(suite, out=out, progress="none").rows) == 4
    assert len((out / "results.jsonl").read_text().splitlines()) == 4


def test_a_suite_and_a_training_have_folders_of_their_own(suite, tmp_path):
    out, run = tmp_path / "suite", tmp_path / "run"
    for folder, name in ((run, "results.jsonl"), (out, "metrics.jsonl")):  # as callers name theirs, too
        folder.mkdir()
        (folder / name).touch()
    bench(suite, out=out, models=["linear"], seeds=[0], progress="none")
    cotan.fit("linear", "two-solids", out=run, epochs=1, progress="none")
    there = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(cotan.CotanError, match=f"{out} holds the results of a suite: expected another folder"):
        cotan.fit("linear", "two-solids", out=out, epochs=1, progress="none")
    with pytest.raises(cotan.CotanError, match=f"{run} holds a run of fit: expected another folder"):
        bench(suite, out=run, progress="none")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == there
    (run / "digests.json").write_text("{}")  # both were in one folder before this was refused
    assert len(bench(suite, out=run, models=["linear"], seeds=[0], progress="none").rows) == 1
    assert cotan.fit("linear", "two-solids", out=run, resume=True, epochs=2, progress="none").status == "finished"


@pytest.mark.parametrize("width", [40, 80, 120, 200])
def test_no_terminal_is_too_narrow_for_the_numbers(suite, width, monkeypatch, capsys):
    axes = [f"stress_{name}" for name in ("poses", "coarse", "rotated", "noisy", "scaled")]
    rows = [
        {"dataset": "two-solids", "model": model, "seed": seed, "parameters": 123456, "epoch_seconds": 0.1234}
        | {f"{axis}_accuracy": 0.5 + seed / 10 + i / 100 for i, axis in enumerate(axes)}
        for model in ("linear", "wide")
        for seed in (0, 1)
    ]
    table = cotan.Table(Suite.read(suite), suite.parent, rows)
    monkeypatch.setenv("COLUMNS", str(width))
    table.show()
    text = capsys.readouterr().out
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    header, lines = table.summary("two-solids")
    assert all(text.count(cell) >= 2 for cell in lines[0][1:])
    assert all(name in text for name in header)


def test_a_long_name_of_a_model_takes_no_room_from_the_numbers(suite, monkeypatch, capsys):
    name = "a model of a [red] name that is longer than the terminal is wide, which happens"
    rows = [{"dataset": "d", "model": name, "seed": seed, "val_accuracy": 0.25 + seed / 2} for seed in (0, 1)]
    monkeypatch.setenv("COLUMNS", "50")
    cotan.Table(Suite.read(suite), suite.parent, rows).show()
    text = capsys.readouterr().out
    assert "50.0% ± 25.0%" in text
    assert all(word in text for word in name.split())


def test_decimal_points_stand_below_each_other():
    rows = [["a", "1.25 ± 0.5", "0.0378"], ["b", "10.3 ± 10.25", "7.36"], ["c", "-", "1,151"], ["d", "2", "-"]]
    assert aligned(rows) == [
        ("a", " 1.25 ±  0.5 ", "    0.0378"),
        ("b", "10.3  ± 10.25", "    7.36  "),
        ("c", " -           ", "1,151     "),
        ("d", " 2           ", "    -     "),
    ]


def test_a_table_of_other_numbers_and_of_failures(suite):
    rows = [{"dataset": "d", "model": "m", "seed": i, "val_loss": 0.5, "val_error": 2.0 * i} for i in range(2)]
    rows = [row | {"parameters": 1200, "epoch_seconds": 0.25, "prepare_seconds": 4.0} for row in rows]
    failures = [("d", "n", 0, "too [small]"), ("d", "o", None, "no mass")]
    table = cotan.Table(Suite.read(suite), suite.parent, rows, failures)
    assert (table.metric("d"), table.axes("d")) == ("error", ["val"])
    assert table.cell("d", "m", "val_error") == (1, 1)
    assert table.summary("d")[1] == [["m", "1 ± 1", "1,200", "0.25", "4"]]
    assert "failed: n on d, seed 0: too [small]\nfailed: o on d: no mass\n" in str(table)


@pytest.mark.parametrize(
    ("metric", "best"), [("accuracy", "b"), ("absolute_error", "a"), ("log_loss", "a"), ("f1", None)]
)
def test_the_best_is_marked_where_it_is_known_which_that_is(metric, best, suite):
    rows = [{"dataset": "d", "model": m, "seed": 0, f"test_{metric}": value} for m, value in (("a", 0.2), ("b", 0.7))]
    marked = re.findall(r"<td>(\w)</td><td class=.best", cotan.Table(Suite.read(suite), suite.parent, rows).html("d"))
    assert marked == ([] if best is None else [best])
    assert "best" not in cotan.Table(Suite.read(suite), suite.parent, rows[:1]).html("d")  # among one
    rows[1] |= {"chosen_by": metric, "test_accuracy": 0.1}
    table = cotan.Table(Suite.read(suite), suite.parent, rows)
    assert (table.metric("d"), table.direction("d")) == (metric, -1 if best == "a" else 1)


def test_a_metric_is_no_end_of_another_and_what_was_refused_is_said_of_it(suite):
    row = {"dataset": "d", "seed": 0, "chosen_by": "roc_auc", "test_loss": 1.0, "test_accuracy": 0.5}
    rows = [
        {
            **row,
            "model": "a",
            "test_roc_auc": 0.3,
            "test_macro_roc_auc": 0.2,
            "stress_thin_loss": 1.0,
            "stress_thin_roc_auc": 0.1,
        },
        {
            **row,
            "model": "b",
            "test_roc_auc_answered": 0.4,
            "test_refused": 1,
            "stress_holed_loss": 1.0,
            "stress_holed_roc_auc_answered": 0.2,
            "stress_holed_refused": 2,
        },
    ]
    table = cotan.Table(Suite.read(suite), suite.parent, rows)
    assert table.axes("d") == ["test", "stress_thin", "stress_holed"]
    assert [cells[:3] for cells in table.summary("d")[1]] == [["a", "0.3", "0.1"], ["b", "-", "-"]]
    assert table.refusals() == [
        "b on d, test: 1 shape refused, left out; roc_auc on the others 0.4",
        "b on d, holed: 2 shapes refused, left out; roc_auc on the others 0.2",
    ]
    assert cotan.Table(Suite.read(suite), suite.parent, rows[1:]).axes("d") == ["test"]
    again = [{**rows[0], "seed": seed} for seed in (1, 2)]
    del again[1]["stress_thin_roc_auc"]
    assert "a on d, thin: only 2 of 3 runs have roc_auc" in str(
        cotan.Table(Suite.read(suite), suite.parent, [*rows, *again])
    )


def test_a_table_of_losses_alone(suite):
    rows = [{"dataset": "d", "model": "m", "seed": 0, "val_loss": 1.0, "test_loss": 0.5}]
    table = cotan.Table(Suite.read(suite), suite.parent, rows)
    assert (table.metric("d"), table.axes("d")) == ("loss", ["test"])
    rows[0] |= {"test_f1": 0.5, "test_accuracy": 0.5}
    assert table.metric("d") == "accuracy"  # by which the epoch was chosen, where the task names none


def test_what_another_process_finished_meanwhile_is_not_run_again(suite, tmp_path, monkeypatch):
    import cotan.benchmark as benchmark

    real, seeds = benchmark.fit, []

    def fit(*args, **kwargs):
        seeds.append(args[2].seed)
        if len(seeds) == 1:
            bench(suite, out=tmp_path, models=["wide"], progress="none")
        return real(*args, **kwargs)

    monkeypatch.setattr(benchmark, "fit", fit)
    assert len(bench(suite, out=tmp_path, progress="none").rows) == 4
    assert sorted(seeds) == [0, 0, 1, 1]


def test_its_folder_is_the_one_that_was_meant_at_first(suite, tmp_path, monkeypatch):
    import cotan.benchmark as benchmark

    real = benchmark.fit
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path)

    def fit(*args, **kwargs):
        monkeypatch.chdir(tmp_path / "there")
        return real(*args, **kwargs)

    monkeypatch.setattr(benchmark, "fit", fit)
    assert len(bench(suite, out="out", seeds=[0], progress="none").rows) == 2
    assert not any((tmp_path / "there").iterdir())


@pytest.mark.parametrize("name", ["../x", "/x", "a/b", "..\\x"])
def test_a_suite_writes_in_no_folder_but_its_own(name, suite):
    if "\\" in name and os.sep == "/":
        pytest.skip("a name like another here")
    content = {"name": name, "models": ["linear"], "datasets": ["two-solids"]}
    with pytest.raises(cotan.CotanError, match="expected one word: it names the folder of the results"):
        bench(content)


@pytest.mark.parametrize("label", ["a\x1b[31m", "a\n\\input{/etc/passwd}", "\u202ea"])
def test_a_label_that_steers_a_terminal_or_ends_a_line_is_refused(label, suite):
    models = [{"name": "linear", "label": label}]
    with pytest.raises(cotan.CotanError, match="has control characters, and stands in tables"):
        bench({"models": models, "datasets": ["two-solids"]})


def test_a_new_label_keeps_the_result(suite, tmp_path):
    bench(suite, out=tmp_path / "out", progress="none")
    suite.write_text(SUITE.replace('label = "wide"', 'label = "wider [free] [/x]"'))
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert [row["model"] for row in table.rows] == ["linear", "linear", *["wider [free] [/x]"] * 2]
    assert " wider [free] [/x] " in str(table)
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 4


def test_a_run_that_cannot_be_resumed_is_run_anew(suite, tmp_path, monkeypatch):
    """As where a run was stopped, and then the data changed, or an operator's version."""
    row = bench(suite, out=tmp_path, progress="none").rows[0]
    before = (tmp_path / "results.jsonl").read_text()
    (tmp_path / "results.jsonl").unlink()
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *_, **__: two_solids(first=100))
    table = bench(suite, out=tmp_path, progress="none")
    assert not table.failures
    assert table.rows[0]["split_digest"] != row["split_digest"]
    assert (tmp_path / row["run"] / "earlier-1" / "run.json").exists()
    assert len(before.splitlines()) == len(table.rows)


def test_results_of_other_shapes_count_as_missing(suite, tmp_path, monkeypatch, capsys):
    old = bench(suite, out=tmp_path, progress="none").rows
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *_, **__: two_solids(first=100))
    other = SUITE + '[[models]]\nname = "linear"\nlabel = "third"\noptions = { width = 4, depth = 1 }\n'
    suite.write_text(other)
    table = bench(suite, out=tmp_path, models=["third"], seeds=[1], progress="lines")
    said = "two-solids holds other shapes than before; results of it that count as missing: 4"
    assert capsys.readouterr().err.count(said) == 1
    assert [(row["model"], row["seed"]) for row in table.rows] == [("third", 1)]  # not beside those of the old shapes
    table = bench(suite, out=tmp_path, progress="lines")
    assert said not in capsys.readouterr().err
    assert {row["split_digest"] for row in table.rows} == {two_solids(first=100).digest}
    assert len(table.rows) == 6
    kept = [json.loads(line) for line in (tmp_path / "results.jsonl").read_text().splitlines()]
    assert kept[:4] == [row for seed in (0, 1) for row in old if row["seed"] == seed]


def test_finished_results_are_shown_without_their_data(suite, tmp_path, monkeypatch):
    first = bench(suite, out=tmp_path, progress="none")
    page = write_report(first).read_text()

    def gone(name, **_):
        raise cotan.CotanError(f"{name} is gone")

    monkeypatch.setattr("cotan.benchmark.load_dataset", gone)
    again = bench(suite, out=tmp_path, progress="none")
    assert again.rows == first.rows
    assert write_report(again).read_text() == page  # with its pictures, and what was skipped
    (tmp_path / "digests.json").unlink()  # as in a folder of before there were any
    assert bench(suite, out=tmp_path, progress="none").rows == first.rows
    suite.write_text(SUITE.replace("[0, 1]", "[0, 1, 2]"))
    with pytest.raises(cotan.CotanError, match="two-solids is gone"):
        bench(suite, out=tmp_path, progress="none")


def test_another_recipe_is_another_result(suite, tmp_path):
    bench(suite, out=tmp_path / "out", progress="none")
    suite.write_text(SUITE.replace("epochs = 2", "epochs = 1"))
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert [row["epochs"] for row in table.rows] == [1, 1, 3, 3]
    assert len((tmp_path / "out/results.jsonl").read_text().splitlines()) == 6


@pytest.mark.parametrize("when", ["forward", "plan"])
def test_a_model_that_fails_stops_no_other(suite, tmp_path, when):
    failing = f'[[models]]\nname = "fails-here"\noptions = {{ when = "{when}", depth = 1 }}\n'
    suite.write_text(SUITE.replace("seeds = [0, 1]", "seeds = [0]") + failing)
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert [row["model"] for row in table.rows] == ["linear", "wide"]
    ((dataset, model, _, reason),) = table.failures
    assert (dataset, model) == ("two-solids", "fails-here")
    assert ("it does not work" if when == "forward" else "no such mass") in reason
    assert "fails-here" in write_report(table).read_text()


def test_a_stress_variant_that_a_model_cannot_take_is_an_empty_cell(suite, tmp_path, monkeypatch):
    data = two_solids()
    data.stress["tiny"] = [Data(pos=s.pos / 1000, face=s.face, y=s.y) for s in data.test]
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *args, **kwargs: data)
    careful = '[[models]]\nname = "linear"\nlabel = "careful"\nfeatures = "fails_on_small"\n'
    suite.write_text(SUITE.replace("seeds = [0, 1]", "seeds = [0]") + careful)
    table = bench(suite, out=tmp_path / "out", progress="none")
    header, rows = table.summary("two-solids")
    assert header[1:4] == ["test", "again", "tiny"]
    assert [row[0] for row in rows] == ["linear", "wide", "careful"]
    assert rows[2][3] == "-"
    assert "-" not in rows[0] + rows[2][:3]
    ((_, model, _, reason),) = table.failures
    assert model == "careful"
    assert "stress_tiny: 6 of 6 refused; the first: shape 0 of 6: too small" in reason
    assert write_report(table).exists()


def test_a_model_that_refuses_all_of_test_has_no_result(tmp_path, monkeypatch):
    data = two_solids()
    for shape in data.test:
        shape.pos = shape.pos / 1000
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *args, **kwargs: data)
    model = {"name": "linear", "features": "fails_on_small"}
    table = bench({"datasets": ["two-solids"], "models": [model]}, out=tmp_path, progress="none")
    assert not table.rows
    assert table.failures[0][3].startswith("test: 6 of 6 refused")


def test_a_suite_in_which_all_failed_has_a_page_that_says_so(tmp_path, monkeypatch):
    cloud = Data(pos=torch.rand(9, 3), y=torch.tensor([0]))
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *args, **kwargs: Splits([cloud], [cloud], [cloud]))
    suite = {
        "recipe": {"epochs": 1, "device": "cpu"},
        "datasets": ["two-solids"],
        "models": [{"name": "fails-here", "options": {"depth": 1, "when": "source"}}],
    }
    table = bench(suite, out=tmp_path, progress="none")
    assert not table.rows
    page = write_report(table).read_text()
    assert "fails-here on two-solids: train: 'edge_weight'" in html.unescape(page)
    assert "To run it again" not in page
    assert "<h2>Preparation" not in page


def test_data_that_lack_what_one_model_needs_are_for_the_others(suite, tmp_path, monkeypatch):
    data = two_solids()
    data.stress["cloud"] = [Data(pos=s.pos, y=s.y) for s in data.test]
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *args, **kwargs: data)
    lacking = '[[models]]\nname = "fails-here"\noptions = { when = "source", depth = 1 }\n'
    curved = '[[models]]\nname = "linear"\nlabel = "curved"\nfeatures = "gauss_curvature"\n'
    suite.write_text(SUITE.replace("seeds = [0, 1]", "seeds = [0]") + lacking + curved)
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert [row["model"] for row in table.rows] == ["linear", "wide", "curved"]
    rows = table.summary("two-solids")[1]
    assert [row[3] == "-" for row in rows] == [False, False, True]
    (first, second) = table.failures
    assert first[1] == "fails-here"
    assert first[3].startswith("train: ")
    assert "'edge_weight'" in first[3]
    assert second[1] == "curved"
    assert second[3].startswith("stress_cloud: node 'gauss_curvature")


def test_refused_shapes_are_wrong_and_said(suite, tmp_path, monkeypatch):
    data = two_solids()
    data.test[0].pos = data.test[0].pos / 1000
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *args, **kwargs: data)
    careful = '[[models]]\nname = "linear"\nlabel = "careful"\nfeatures = "fails_on_small"\n'
    suite.write_text(SUITE.replace("seeds = [0, 1]", "seeds = [0]") + careful)
    table = bench(suite, out=tmp_path / "out", progress="none")
    row = next(row for row in table.rows if row["model"] == "careful")
    assert row["test_accuracy"] == pytest.approx(row["test_accuracy_answered"] * 5 / 6)
    others = f"{row['test_accuracy_answered']:.1%}"
    line = f"careful on two-solids, test: 1 shape refused, counted as wrong; accuracy on the others {others}"
    assert table.refusals()[0] == line
    assert line in str(table)
    assert line in write_report(table).read_text()
    assert not table.failures


@cotan.dataset("two-sizes")
def two_sizes():
    shapes = [solid(i % 2, i) for i in range(8)]
    for i, shape in enumerate(shapes):
        shape.y = torch.tensor([[i / 8, 1.0, 2.0]])
    shapes[7].pos = shapes[7].pos / 1000
    return Splits(shapes[:5], [], shapes[5:7], stress={"small": shapes[6:]}, task="regress")


def test_a_page_of_errors_of_several_numbers(tmp_path):
    models = ["linear", {"name": "linear", "label": "careful", "features": "fails_on_small"}]
    suite = {"recipe": {"epochs": 1, "device": "cpu"}, "datasets": ["two-sizes"], "models": models}
    table = bench(suite, out=tmp_path, progress="none")
    assert table.refusals() == ["careful on two-sizes, small: 1 shape refused, left out"]
    table.rows = [{k: v for k, v in row.items() if row["model"] == "linear" or "small" not in k} for row in table.rows]
    page = write_report(table).read_text()
    lines = re.findall(r"<tr><td>(.*?)</td>(.*?)</tr>", page)
    assert sum('class="best"' in cells.split("</td>")[1] for _, cells in lines[:2]) == 1  # of the one that has the cell


def test_a_page_of_shapes_whose_classes_have_no_names(tmp_path, monkeypatch):
    data = two_solids()
    data.classes = ()
    monkeypatch.setattr("cotan.benchmark.load_dataset", lambda *args, **kwargs: data)
    suite = {"recipe": {"epochs": 1, "device": "cpu"}, "datasets": ["two-solids"], "models": ["linear"]}
    assert write_report(bench(suite, out=tmp_path, progress="none")).exists()


def test_features_may_have_options(tmp_path):
    signature = {"name": "heat_kernel_signature", "size": 5, "spectrum": {"name": "spectrum", "k": 8}}
    model = {"name": "linear", "features": ["normalized_pos", signature], "options": {"width": 4, "depth": 1}}
    suite = {"recipe": {"epochs": 1, "device": "cpu"}, "datasets": ["two-solids"], "models": [model]}
    table = bench(suite, out=tmp_path, progress="none")
    assert Run.load(tmp_path / table.rows[0]["run"]).model.made["in_dim"] == 8
    other = suite | {"models": [model | {"features": ["normalized_pos", signature | {"size": 6}]}]}
    assert bench(other, out=tmp_path, progress="none").rows[0]["key"] != table.rows[0]["key"]


@pytest.mark.parametrize("name", shipped())
def test_the_suites_that_ship_can_be_read_and_their_models_made(name):
    suite = Suite.read(name)
    for entry in suite.models:
        cotan.create_model(entry.name, 8, 3, task=suite.task or "classify", **entry.options)


def test_a_folder_of_a_suites_name_is_no_suite(tmp_path, monkeypatch):
    (tmp_path / "demo").mkdir()
    monkeypatch.chdir(tmp_path)
    assert Suite.read("demo").name == "demo"


def test_a_suite_by_a_name_that_there_is_none_of():
    with pytest.raises(
        cotan.CotanError, match=r"unknown suite 'dem'\. Did you mean 'demo'\? There is: cora, demo, human_seg"
    ):
        Suite.read("dem")
    with pytest.raises(cotan.CotanError, match=r"suite dem\.toml cannot be read: No such file or directory$"):
        Suite.read("dem.toml")


def test_ctrl_c_keeps_what_is_finished_and_a_second_call_goes_on(suite, tmp_path, monkeypatch):
    import cotan.training.loop as loop

    whole = bench(suite, out=tmp_path / "whole", progress="none")
    real, seen = loop.Fit._one_epoch, []

    def stop(self):
        seen.append(0)
        if len(seen) == 4:  # in the second epoch of the second model
            raise KeyboardInterrupt
        real(self)

    monkeypatch.setattr(loop.Fit, "_one_epoch", stop)
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert table.stopped
    assert len(table.rows) == 1
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert not table.stopped
    assert [r["test_loss"] for r in table.rows] == [r["test_loss"] for r in whole.rows]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("linear", "linaer"), r"unknown model 'linaer'\. Did you mean 'linear'"),
        (("two-solids", "two-solid"), r"unknown dataset 'two-solid'\. Did you mean 'two-solids'"),
        (("epochs = 2", "epoch = 2"), r"unknown key of a recipe 'epoch'\. Did you mean 'epochs'"),
        (("seeds", "seed"), r"unknown key of .*small.toml 'seed'\. Did you mean 'seeds'"),
        (("width = 8", "widht = 8"), r"'widht'\. Did you mean 'width'"),
        (('label = "wide"', ""), r"two models on two-solids have the label 'linear'"),
        (("width = 8", "seed = 8"), r"seed=8 among the options of model .*: it is given apart"),
        (("[0, 1]", "[0.5]"), r"expected different whole numbers"),
        (("[0, 1]", "[1, 1]"), r"seeds=\[1, 1\], expected different whole numbers"),
        (('label = "wide"', "label = 2"), r"label=2 in \[\[models\]\], expected text"),
        (("options = { width = 8, depth = 1 }", "options = [8]"), r"options=\[8\] in \[\[models\]\], expected a table"),
        (('label = "wide"', 'label = "wide"\ndatasets = "two-solids"'), r"expected a list of labels"),
        (("[recipe]", "[recipe"), r"is not TOML"),
        (("epochs = 2", "epochs = 2\nseed = 3"), r"the recipe has a seed of its own, where a suite has seeds ="),
        (("epochs = 3", "val_share = 0.5"), r"val_share is one for all models, in \[recipe\]; 'wide' has its own"),
        (("[0, 1]", "3"), r"seeds=3, expected a list of whole numbers, such as \[0, 1, 2\]"),
        (("[[datasets]]", "[datasets]"), r"datasets is a list of names or of tables \[\[datasets\]\]$"),
        (('label = "wide"', 'lable = "wide"'), r"unknown key of \[\[models\]\] in .* 'lable'\. Did you mean 'label'"),
        (('name = "linear"\nlabel', "label"), r"an entry of models has no name"),
    ],
)
def test_a_wrong_suite_is_refused_before_anything_is_done(suite, tmp_path, monkeypatch, change, message):
    assert change[0] in SUITE
    suite.write_text(SUITE.replace(*change))
    monkeypatch.setattr("cotan.benchmark.load_dataset", None)
    with pytest.raises(cotan.CotanError, match=message):
        bench(suite, out=tmp_path / "out", progress="none")
    assert not (tmp_path / "out/results.jsonl").exists()


def test_a_suite_without_models():
    with pytest.raises(cotan.CotanError, match="has no models"):
        Suite.of({"datasets": ["two-solids"]})
    with pytest.raises(cotan.CotanError, match=r"models is a list of names .*; one is 3"):
        Suite.of({"models": ["mlp", 3], "datasets": ["blobs"]})
    with pytest.raises(
        cotan.CotanError, match=r"Suite: expected entries of its own kind; Suite.of, as bench, takes a mapping"
    ):
        Suite(models=[{"name": "linear"}], datasets=[])
    assert Suite.of({"datasets": ["two-solids"], "models": ["linear"]}).models[0].label == "linear"


def test_bars_are_as_tall_as_their_values():
    svg = bars(["test", "a&b"], {"one": [(0.5, None), (1, None)], "<two>": [(0.25, 0.1), (0, None)]}, percent=True)
    assert heights(svg) == [110, 55, 220, 0]
    assert [float(y) for y in re.findall(r'class="spread" x1=".*?" x2=".*?" y1="(.*?)" y2="(.*?)"', svg)[0]] == [
        197,
        153,
    ]
    assert ">100%</text>" in svg
    assert "a&amp;b" in svg
    assert "&lt;two&gt;" in svg


def heights(svg):
    return [float(h) for h in re.findall(r'<rect x="[\d.]+" y="[\d.]+" width="\d+" height="([\d.]+)" rx="1.5"', svg)]


@pytest.mark.parametrize(("top", "end"), [(0.0123, 0.02), (0.02, 0.02), (1, 1), (7, 8), (35, 40), (81, 100), (0, 1)])
def test_bars_of_errors_reach_up_to_a_round_number(top, end):
    svg = bars(["test"], {"one": [(top, None)], "other": [(top / 2, None)]})
    assert f">{end:g}</text>" in svg
    assert heights(svg) == pytest.approx([220 * top / end, 110 * top / end], abs=0.06)


def test_names_of_groups_do_not_overlap():
    svg = bars(["rotated", "new triangles", "x"], {"one": [(0.5, None)] * 3}, percent=True)
    first, second, third = map(float, re.findall(r'<text x="([\d.]+)" y="248"', svg))
    assert second - first > 6 * (7 + 13) / 2
    assert third - second > 6 * (13 + 1) / 2


def test_a_number_that_is_not_there_is_no_bar_of_zero():
    svg = bars(["test"], {"there": [(0.0, None)], "not": [None]}, percent=True)
    assert heights(svg) == [0]
    assert svg.count(">–</text>") == 1


def test_no_two_of_many_series_look_alike_and_their_names_do_not_overlap():
    names = [f"a model of a rather long name, number {i}" for i in range(20)]
    svg = bars(["test"], {name: [(0.5, None)] for name in names}, percent=True)
    entries = re.findall(r'rx="2" (fill=.*?)/><text x="([\d.]+)" y="(\d+)">(.*?)</text>', svg)
    assert len({look for look, *_ in entries}) == len(entries) == 20
    width = float(re.search(r'viewBox="0 0 (\d+)', svg)[1])
    for one, x, y, name in entries:
        end = min(
            [float(other) for _, other, line, _ in entries if line == y and float(other) > float(x)], default=width
        )
        assert float(x) + 6 * len(name) < end, one


def test_a_suite_without_a_val_reports_test_and_finds_its_data_by_variable(tmp_path, monkeypatch):
    import trimesh

    for kind, mesh in {"ball": trimesh.creation.icosphere(subdivisions=1), "box": trimesh.creation.box()}.items():
        for split in ("train", "test"):
            (tmp_path / "data" / kind / split).mkdir(parents=True)
            mesh.export(tmp_path / "data" / kind / split / "a.off")
    suite = {
        "recipe": {"epochs": 1, "device": "cpu", "val_share": 0},
        "datasets": [{"name": "folder", "options": {"root": "$SHAPES/data"}}],
        "models": ["linear"],
    }
    monkeypatch.delenv("SHAPES", raising=False)
    with pytest.raises(cotan.CotanError, match=r"SHAPES/data.* names an environment variable that is not set"):
        bench(suite, out=tmp_path / "out", progress="none")
    monkeypatch.setenv("SHAPES", str(tmp_path))
    table = bench(suite, out=tmp_path / "out", progress="none")
    assert table.axes("folder") == ["test"]
    assert table.metric("folder") == "accuracy"
    assert table.rows[0]["dataset_options"] == {"root": "$SHAPES/data"}


def test_a_model_runs_on_the_datasets_it_names(tmp_path):
    two = [{"name": "two-solids", "label": label, "options": {"first": ord(label)}} for label in "ab"]
    small = {"name": "linear", "options": {"width": 8, "depth": 1}}
    models = [small | {"label": "both"}, small | {"label": "one", "datasets": ["b"]}]
    suite = {"recipe": {"epochs": 1, "device": "cpu"}, "datasets": two, "models": models}
    table = bench(suite, out=tmp_path, progress="none")
    assert [(row["dataset"], row["model"]) for row in table.rows] == [("a", "both"), ("b", "both"), ("b", "one")]
    assert [dataset.label for dataset in Suite.of(suite).only(["one"]).datasets] == ["b"]  # others are not even made
    digests = json.loads((tmp_path / "digests.json").read_text())
    more = [*models, {"name": "mlp", "options": small["options"], "datasets": ["b"]}]
    bench(suite | {"models": more}, out=tmp_path, progress="none")
    assert digests.items() <= json.loads((tmp_path / "digests.json").read_text()).items()  # of a too
    with pytest.raises(cotan.CotanError, match="unknown dataset of 'both' in suite 'c'"):
        bench(suite | {"models": [small | {"label": "both", "datasets": ["c"]}]}, out=tmp_path, progress="none")
    twice = [small | {"datasets": ["a"]}, small | {"datasets": ["b"]}]
    Suite.of(suite | {"models": twice})
    with pytest.raises(cotan.CotanError, match="two models on a have the label 'linear'"):
        Suite.of(suite | {"models": [*twice, small]})


def test_folds_are_one_row(tmp_path):
    data = {"name": "folded-solids", "label": "solids", "folds": 3}
    model = {"name": "linear", "datasets": ["solids"], "options": {"width": 8, "depth": 1}}
    suite = {"seeds": [0, 1], "recipe": {"epochs": 1, "device": "cpu"}, "datasets": [data], "models": [model]}
    table = bench(suite, out=tmp_path, progress="none")
    places = [(row["dataset"], row["dataset_options"]["fold"], row["seed"]) for row in table.rows]
    assert places == [("solids", fold, seed) for fold in range(3) for seed in (0, 1)]
    assert len({row["split_digest"] for row in table.rows}) == 3
    (row,) = table.summary("solids")[1]
    found = torch.tensor([r["test_accuracy"] for r in table.rows], dtype=torch.float64)
    assert row[1].startswith(f"{float(found.mean()):.1%}")
    assert str(table).count("accuracy on") == 1
    assert "accuracy on solids, 3 folds, 2 seeds" in str(table)
    assert write_report(table).read_text().count("<h2>solids") == 1
    assert bench(suite, out=tmp_path, progress="none").rows == table.rows
    for folds in (1, 10**9):
        with pytest.raises(
            cotan.CotanError, match=f"folds={folds} of 'folded-solids', expected a whole number from 2 to"
        ):
            Suite.of(suite | {"datasets": [data | {"folds": folds}]})
    assert len(Suite.of(suite | {"datasets": [data | {"folds": 2}]}).datasets) == 2
    with pytest.raises(cotan.CotanError, match="unknown option"):
        Suite.of(suite | {"datasets": [data | {"name": "two-solids"}]})


def test_a_page_that_cannot_be_drawn_leaves_the_numbers(suite, tmp_path, monkeypatch):
    table = bench(suite, out=tmp_path, models=["linear"], seeds=[0], progress="none")
    monkeypatch.setattr("cotan.report.shapes_png", None)
    with pytest.raises(TypeError):
        write_report(table)
    assert {file.name for file in (tmp_path / "report").iterdir()} == {"table.csv", "table.tex"}


def test_a_line_is_all_that_is_needed_to_run_it_again(tmp_path):
    signature = {"name": "heat_kernel_signature", "size": 5}
    model = {"name": "linear", "label": "m", "features": signature, "options": {"width": 4, "depth": 1}}
    data = {"name": "two-solids", "label": "d", "options": {"first": 5}}
    suite = {"recipe": {"epochs": 2, "lr": 0.02, "device": "cpu"}, "seeds": [3], "datasets": [data], "models": [model]}
    row = json.loads(json.dumps(bench(suite, out=tmp_path, progress="none").rows[0]))
    splits = cotan.load_dataset(row["dataset_name"], **row["dataset_options"])
    features = [node_of(feature) for feature in row["features"]]
    options = {"task": row["task"], "features": features, "seed": row["seed"], **row["model_options"]}
    again = cotan.fit(cotan.model_for(row["model_name"], splits, **options), splits, row["recipe"], progress="none")
    assert again.metrics == {key: row[key] for key in again.metrics}
    assert (row["device"], row["threads"]) == ("cpu", torch.get_num_threads())


def test_the_page_has_every_entrys_options_and_all_versions(suite, tmp_path):
    suite.write_text(SUITE.replace('name = "two-solids"', 'name = "two-solids"\noptions = { first = 0 }'))
    table = bench(suite, out=tmp_path, progress="none")
    table.rows[1] = table.rows[1] | {"versions": {**table.rows[1]["versions"], "torch": "1.0"}, "threads": 64}
    for key in ("device", "threads", "chosen_on"):  # a line of before
        del table.rows[2][key]
    lines = re.findall("<li>(.*?)</li>", html.unescape(write_report(table).read_text()).split("To run it again")[1])
    assert "Dataset two-solids: two-solids, first 0." in lines
    assert "Model linear: linear, width 8, depth 1." in lines
    assert "Model wide: linear, width 16, depth 1; recipe: epochs 3." in lines
    (versions,) = [line for line in lines if line.startswith("Computed with")]
    assert f"torch {table.rows[0]['versions']['torch']} and 1.0," in versions
    assert versions.endswith(f"device cpu, threads {torch.get_num_threads()} and 64.")


def test_folds_that_are_missing_are_said(tmp_path):
    data = {"name": "folded-solids", "label": "solids", "folds": 3}
    models = [{"name": "linear", "label": label, "options": {"width": 8, "depth": 1}} for label in "ab"]
    suite = Suite.of({"recipe": {"epochs": 1, "device": "cpu"}, "datasets": [data], "models": models, "seeds": [0, 1]})
    rows = [
        {
            "dataset": "solids",
            "dataset_options": {"fold": fold},
            "model": model.label,
            "seed": seed,
            "test_accuracy": 0.5,
        }
        for data, model, seed in suite.each()
        for fold in [data.options["fold"]]
    ]

    def averaged(*left):
        return Table(suite, tmp_path, [rows[i] for i in left]).averaged("solids")

    assert averaged(*range(12)) == ["3 folds", "2 seeds"]
    assert averaged(0, 2, 4, 6) == ["2 of 3 folds"]
    assert averaged(0) == ["1 of 3 folds"]
    assert averaged(0, 1, 2, 4, 8) == ["1 to 3 of 3 folds", "1 to 2 seeds", "1 to 4 runs"]
    assert averaged(0, 1, 2, 3, 4, 5) == ["1 to 2 of 3 folds", "2 seeds"]
    assert averaged(*range(11)) == ["3 folds", "2 seeds", "5 to 6 runs"]
    part = Table(suite, tmp_path, rows[:4])
    assert "4 of 12 results are there" in str(part)
    assert "<p>4 of 12 results are there</p>" in write_report(part).read_text()
    part.stopped = True
    assert "stopped: 4 of 12 results are kept" in write_report(part).read_text()
    assert "results are there" not in write_report(Table(suite, tmp_path, rows)).read_text()


def test_one_run_has_no_deviation_and_several_say_which(suite, tmp_path):
    rows = [{"dataset": "two-solids", "model": "linear", "seed": seed, "test_accuracy": 0.5} for seed in (0, 1)]
    one, two = (Table(Suite.read(suite), tmp_path, rows[:count]) for count in (1, 2))
    assert [table.cell("two-solids", "linear", "test_accuracy") for table in (one, two)] == [(0.5, None), (0.5, 0.0)]
    assert [table.summary("two-solids")[1][0][1] for table in (one, two)] == ["50.0%", "50.0% ± 0.0%"]
    for table, said in ((one, False), (two, True)):
        page = write_report(table).read_text()
        with (tmp_path / "report/table.csv").open() as file:
            (line,) = csv.DictReader(file)
        assert line["test_accuracy_std"] == ("0.0" if said else "")
        for text in (page, str(table), (tmp_path / "report/table.tex").read_text()):
            assert ("population standard deviation" in text) == said


NO_VAL = "Without a val, the last epoch was kept; test was looked at once"
ON_TEST = "Val is test: the epoch was chosen on the very numbers shown, which promise too much for other shapes"
ON_VAL = "The best epoch was chosen on val; test was looked at once"


@pytest.mark.parametrize(
    ("val", "share", "said"),
    [(True, 0.2, ON_TEST), (False, 0.5, ON_VAL), (False, 0, NO_VAL)],
    ids=["test", "val", "none"],
)
def test_the_page_says_how_the_epoch_was_chosen(tmp_path, val, share, said):
    recipe = {"epochs": 2, "device": "cpu", "val_share": share}
    data = [{"name": "val-is-test", "label": "solids", "options": {"val": val}}, "two-solids"]
    table = bench({"recipe": recipe, "datasets": data, "models": ["linear"]}, out=tmp_path, progress="none")
    assert table.protocol("solids") == said
    assert table.protocol("two-solids") == ON_VAL.replace("test was", "test and the stress variants were")
    page = write_report(table).read_text()
    assert said in page
    assert sum(text in page for text in (NO_VAL, ON_TEST, ON_VAL)) == 1
    assert (f"solids: {said}" in str(table)) == (said != ON_VAL)
    for row in table.rows:
        del row["chosen_on"]  # as in lines of before
    assert table.protocol("solids") == said


def test_a_page_of_a_dataset_without_test(suite):
    rows = [{"dataset": "d", "model": "m", "seed": 0, "val_loss": 0.5}]
    text = "The best epoch was chosen on val, whose numbers these are: there is no test"
    assert Table(Suite.read(suite), suite.parent, rows).protocol("d") == text
    rows = [rows[0] | {"chosen_on": on, "test_loss": 0.5} for on in ("val", "test")]
    assert Table(Suite.read(suite), suite.parent, rows).protocol("d") == ON_TEST  # as of one fold of many
    row = {"dataset": "d", "model": "m", "seed": 0, "val_loss": 0.5, "stress_thin_loss": 0.5}
    text = "The best epoch was chosen on val; the stress variants were looked at once"
    assert Table(Suite.read(suite), suite.parent, [row]).protocol("d") == text


def test_parts_of_folds_at_once_have_no_failures_in_the_end(tmp_path, monkeypatch):
    """What failed here and another process has trained since is done by the end, in every fold."""
    import cotan.benchmark as benchmark

    data = {"name": "folded-solids", "label": "solids", "folds": 2}
    models = [{"name": "linear", "options": {"width": 8, "depth": 1}}]
    suite = Suite.of({"recipe": {"epochs": 1, "device": "cpu"}, "datasets": [data], "models": models})
    real, out = benchmark.results, tmp_path / "out"
    where = out / f"runs/solids-fold-1-linear-0-{suite.key(*suite.each()[1])[:6]}"
    elsewhere = bench(suite, out=tmp_path / "other", progress="none").rows
    train = benchmark.fit

    def fit(*args, out, **options):
        if out == where:
            raise cotan.CotanError("no memory here")
        return train(*args, out=out, **options)

    monkeypatch.setattr(benchmark, "fit", fit)
    table = bench(suite, out=out, progress="none")
    assert [failure[:3] for failure in table.failures] == [("solids fold 1", "linear", 0)]
    # The same again; but now the other comes to its end before this one does.
    monkeypatch.setattr(benchmark._Bench, "run", lambda self: table)
    monkeypatch.setattr(benchmark, "results", lambda *_: [*real(suite, out), elsewhere[1]])
    assert not bench(suite, out=out, progress="none").failures


def test_the_table_for_other_programs(suite, tmp_path, capsys):
    table = bench(suite, out=tmp_path / "runs", progress="lines")
    assert "2 of 4: wide on two-solids, seed 0" in capsys.readouterr().err
    write_report(table)
    with (tmp_path / "runs/report/table.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert [(line["dataset"], line["model"], line["runs"]) for line in lines] == [
        ("two-solids", "linear", "2"),
        ("two-solids", "wide", "2"),
    ]
    found = torch.tensor([row["test_accuracy"] for row in table.rows if row["model"] == "wide"], dtype=torch.float64)
    assert float(lines[1]["test_accuracy"]) == pytest.approx(float(found.mean()))
    assert float(lines[1]["test_accuracy_std"]) == pytest.approx(float(found.std(correction=0)))
    text = (tmp_path / "runs/report/table.tex").read_text()
    assert text.count(r" \\") == 3
    assert {line.count("&") for line in text.splitlines() if "&" in line} == {2}
    assert "%" not in text.replace(r"\%", "").removeprefix("% accuracy")
    assert r"\begin{tabular}{lrr}" in text


def test_each_dataset_has_the_metric_of_its_task(tmp_path):
    suite = {"recipe": {"epochs": 1, "device": "cpu"}, "datasets": ["two-solids", "two-sizes"], "models": ["linear"]}
    table = bench(suite, out=tmp_path, progress="none")
    assert "accuracy on two-solids" in str(table)
    assert "mean_absolute_error on two-sizes" in str(table)
    assert table.summary("two-sizes")[0][1:3] == ["test", "small"]
    page = write_report(table).read_text()
    assert "Numbers are accuracy." in page
    assert "Numbers are mean_absolute_error." in page


@pytest.mark.parametrize(("encoding", "shown"), [("cp1252", "linéär ?"), ("ascii", "lin??r ?")])
def test_a_table_is_shown_where_letters_are_lacking(encoding, shown, tmp_path, monkeypatch):
    """As in a file on Windows: nobody should lose a table to a label."""
    suite = Suite.of({"models": [{"name": "linear", "label": "linéär λ"}], "datasets": ["poses"]})
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    monkeypatch.setattr(sys, "stdout", out)
    Table(suite, tmp_path, [{"dataset": "poses", "model": "linéär λ", "seed": 0, "test_accuracy": 1.0}]).show()
    assert out.errors == "strict"
    out.seek(0)
    assert shown in out.read()


def test_a_table_in_a_file_is_not_cut_to_a_terminals_width(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    suite = Suite.of({"datasets": ["two-solids"], "models": ["linear"]})
    row = {"dataset": "two-solids", "model": "linear", "seed": 0, "val_accuracy": 1.0, "test_accuracy": 1.0}
    row |= {f"stress_variant_number_{i}_{of}": 1.0 for i in range(7) for of in ("loss", "accuracy")}
    Table(suite, tmp_path, [row]).show()
    lines = capsys.readouterr().out.splitlines()
    assert any("variant_number_0" in line and "variant_number_6" in line for line in lines)
