"""What a person at a prompt or in a notebook does: cells that are edited and run again, and values that are looked at."""

import ast
import sys
import time

import pytest
import torch

import cotan
from cotan import nodes
from cotan.processes import Processes
from cotan.training.progress import Progress

LAYER = """
@cotan.layer("noted")
class {name}(torch.nn.Module):
    def __init__(self, in_dim, out_dim{options}):
        super().__init__()
        self.linear = torch.nn.Linear(in_dim, out_dim)

    def forward(self, x, {node}):
        return self.linear(x)
"""


@pytest.fixture
def cell(monkeypatch, scratch, fresh_store):
    """Runs a cell, and gives the value of its last line, as a notebook does."""
    monkeypatch.setattr(sys, "ps1", "", raising=False)
    monkeypatch.setattr(nodes, "SOURCES", nodes.SOURCES.copy())
    space = {"__name__": "__main__", "cotan": cotan, "torch": torch}

    def run(text):
        *before, last = ast.parse(text).body
        exec(compile(ast.Module(before, []), "cell", "exec"), space)
        if not isinstance(last, ast.Expr):
            return exec(compile(ast.Module([last], []), "cell", "exec"), space)
        return eval(compile(ast.Expression(last.value), "cell", "eval"), space)

    return run


def test_a_cell_may_be_edited_and_run_again(cell, sphere):
    cell(f"shape = None\n{LAYER.format(name='Noted', options='', node='mass')}")
    old = cotan.create_layer("noted", 3, 2)
    cell(LAYER.format(name="Renamed", options=", *, gain=1.0", node="laplacian"))
    assert set(cotan.needs(cotan.create_layer("noted", 3, 2, gain=2.0))) == {"laplacian"}
    assert cotan.apply(old, sphere).shape == (sphere.num_nodes, 2)  # what was made before goes on

    for name, given in (("up", '"up"'), ("upwards", '"up"'), ("upwards", '"up", kind="first"'), ("up", '"up"')):
        cell(f"@cotan.operator({given}, per='vertex')\ndef {name}(pos): return pos[:, 2]")
        assert cotan.compute(sphere, "up").equal(sphere.pos[:, 2])
    cell("cotan.source('heat', per='vertex')\ncotan.source('heat', per='face')")
    assert nodes.SOURCES["heat"].per == "face"


@pytest.mark.parametrize(
    "text",
    [
        "@cotan.operator('mass')\ndef mass(pos): return pos",
        "@cotan.operator('mass', kind='barycentric')\ndef mass(pos): return pos",
        LAYER.replace("noted", "gcn").format(name="GCN", options="", node="mass"),
    ],
)
def test_a_cell_does_not_take_the_name_of_what_a_plugin_defines(cell, text):
    with pytest.raises(cotan.CotanError, match=r"is defined twice: by .* and by __main__\."):
        cell(text)


def test_nor_does_it_declare_a_source_of_a_plugin_anew(cell):
    cell("cotan.source('pos', per='vertex')")  # as it is: which does not make it the notebook's
    with pytest.raises(cotan.CotanError, match="'pos' is declared already"):
        cell("cotan.source('pos', per='face')")


def test_a_script_does_not_take_a_name_twice(cell, monkeypatch):
    monkeypatch.delattr(sys, "ps1")
    cell(LAYER.format(name="Noted", options="", node="mass"))
    with pytest.raises(cotan.CotanError, match=r"twice: by __main__\.Noted and by __main__\.Renamed"):
        cell(LAYER.format(name="Renamed", options="", node="mass"))


def test_values_follow_what_another_cell_changes(cell, sphere):
    cell("@cotan.operator(per='vertex')\ndef up(pos): return FACTOR * shifted(pos[:, 2])")
    cell("FACTOR = 2.0\ndef shifted(x): return x + 1")
    up = sphere.pos[:, 2]
    torch.testing.assert_close(cotan.compute(sphere, "up"), 2 * (up + 1))
    cell("FACTOR = 3.0")
    torch.testing.assert_close(cotan.compute(sphere, "up"), 3 * (up + 1))
    cell("def shifted(x): return x + 5")
    torch.testing.assert_close(cotan.compute(sphere, "up"), 3 * (up + 5))
    cell("FACTOR = 2.0\ndef shifted(x): return x + 1")
    torch.testing.assert_close(cotan.compute(sphere, "up"), 2 * (up + 1))
    assert cotan.counts()["up"].hits == 1  # the first of these, from the store


def test_a_benchmark_trains_an_edited_layer_again(cell, tmp_path):
    suite = {"name": "s", "models": ["noted"], "datasets": ["blocks"], "recipe": {"epochs": 1}}

    def trained():
        cotan.bench(suite, out=tmp_path, progress="none")
        return len((tmp_path / "results.jsonl").read_text().splitlines())

    text = LAYER.format(name="Noted", options="", node="mass")
    cell(text)
    assert trained() == 1
    cell(text)
    assert trained() == 1
    cell(text.replace("self.linear(x)", "2 * self.linear(x)"))
    assert trained() == 2
    cell(text.replace("self.linear(x)", "Twice()(self.linear(x))"))
    cell("class Twice(torch.nn.Module):\n    def forward(self, x): return x + x")
    assert trained() == 3
    cell("class Twice(torch.nn.Module):\n    def forward(self, x): return 2 * x")
    assert trained() == 4


def test_what_a_cell_shows_is_short(sphere):
    plan = cotan.make_plan({"": cotan.node("spectrum", k=7)}, ["pos", "face"])
    assert repr(plan) == "Plan(pos, face, laplacian(kind=cotan), mass(kind=barycentric), spectrum(k=7))"
    assert repr(plan.steps[-1]) == "<step spectrum(k=7)>"
    metrics = {"val_loss": 0.5, "val_accuracy": 1, "test_loss": 0.25, "test_accuracy": 0.5, "stress_up_loss": 2.0}
    run = cotan.Run(torch.nn.Linear(1, 1), cotan.Recipe(), metrics=metrics, status="finished", best_epoch=0)
    assert repr(run).split("\n") == [
        "Run(finished, 0 epochs, best 0: val_loss 0.5, val_accuracy 1",
        "    test_loss 0.25, test_accuracy 0.5",
        "    stress_up_loss 2)",
    ]
    report = cotan.testing.check_operator("face_areas")
    assert repr(report).startswith(f"<operator face_areas: {len(report.passed)} checks passed, ")


def test_a_table_is_text_in_jupyter_too(monkeypatch, capsys):
    """Where rich shows at once what it is to write elsewhere, and FORCE_COLOR is set."""
    suite = cotan.Suite.of({"name": "some", "models": ["gcn"], "datasets": [{"name": "blocks", "label": "a<b"}]})
    row = {"dataset": "a<b", "model": "gcn", "seed": 0, "test_accuracy": 0.5, "val_loss": 0.5}
    table = cotan.Table(suite, None, rows=[row, {**row, "model": "mlp", "test_accuracy": 0.75}])
    plain = str(table)
    assert "50.0%" in plain
    assert "\033" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    assert str(table) == repr(table) == plain
    assert not capsys.readouterr().out
    shown = table._repr_html_()
    assert "accuracy on a&lt;b" in shown
    assert '<td class="best">75.0%</td>' in shown
    assert "<td>50.0%</td>" in shown
    on_test = cotan.Table(suite, None, rows=[{**row, "chosen_on": "test"}])
    warning = "Val is test: the epoch was chosen on the very numbers shown"
    assert f"a<b: {warning}" in str(on_test)
    assert f"<p>a&lt;b: {warning}" in on_test._repr_html_()


def test_completion_offers_what_is_public():
    assert [name for name in dir(cotan) if not name.startswith("__")] == cotan.__all__


def test_a_run_whose_layer_is_not_there_says_where_it_may_be(cell, tmp_path, scratch):
    from cotan import registry

    cell(LAYER.format(name="Noted", options="", node="mass"))
    cotan.fit("noted", "blocks", epochs=1, out=tmp_path, progress="none")
    del registry._state.definitions["layer", "noted"]
    with pytest.raises(cotan.CotanError, match=r"unknown layer 'noted'[^\n]*\n.*notebook .* known once that has run"):
        cotan.Run.load(tmp_path)


def test_processes_do_not_run_functions_of_a_notebook(cell):
    own = cell("def own(x): return x\nown")
    with Processes(1) as pool, pytest.raises(cotan.CotanError, match="'own' stands in a script or a notebook"):
        pool.submit(own, 1)


def test_lines_come_every_minute(monkeypatch, capsys):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Progress("lines") as show:
        show.start("gcn", 100)
        for done in range(1, 13):
            now[0] += 25
            show.step(done, "loss 1")
    printed = [line.split()[1] for line in capsys.readouterr().err.splitlines()]
    assert printed == ["3/100", "6/100", "9/100", "10/100"]
