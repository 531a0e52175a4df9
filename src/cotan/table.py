"""The table of a benchmark: one row a model and dataset, the mean over seeds and folds."""

from __future__ import annotations

import io
import os
import statistics
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import Any

from .datasets import Splits
from .suite import Suite
from .tasks import less_is_better

WIDE = 1000  # of a table that goes to no terminal: a line a model, whatever is read with


@dataclass
class Table:
    """Results of a suite.

    Attributes:
        rows: one dict a result, as in results.jsonl.
        failures: (dataset, model, seed or None, reason). stopped: by Ctrl-C, before all was done.
        datasets: by label.
    """

    suite: Suite
    folder: Path
    rows: list[dict[str, Any]] = field(default_factory=list)
    failures: list[tuple[str, str, int | None, str]] = field(default_factory=list)
    stopped: bool = False
    datasets: dict[str, Splits] = field(default_factory=dict)

    @property
    def nodes(self) -> dict[tuple[str, str], dict[str, float]]:
        """Seconds of each node that a (dataset, model) needed."""
        return {(row["dataset"], row["model"]): row.get("node_seconds", {}) for row in self.rows}

    def done(self) -> set[tuple[str, str, int]]:
        """(dataset, model, seed) of the results, each fold a dataset of its own."""
        keys = {row.get("key") for row in self.rows}
        return {(d.label, m.label, seed) for d, m, seed in self.suite.each() if self.suite.key(d, m, seed) in keys}

    def state(self) -> str:
        """How much there is, where it is not all."""
        count = f"{len(self.rows)} of {len(self.suite.each())} results"
        if self.stopped:
            return f"stopped: {count} are kept in {self.folder}; the same command goes on"
        return f"{count} are there" if len(self.rows) < len(self.suite.each()) else ""

    def rows_of(self, dataset: str) -> list[dict[str, Any]]:
        """The rows of a dataset."""
        return [row for row in self.rows if row["dataset"] == dataset]

    def averaged(self, dataset: str) -> list[str]:
        """Over what the numbers of a dataset are means: "10 folds" or "2 of 10 folds", "5 seeds"."""
        runs: dict[str, set[tuple[Any, int]]] = {}  # (fold, seed) of each model
        for row in self.rows_of(dataset):
            fold = row.get("dataset_options", {}).get("fold")
            runs.setdefault(row["model"], set()).add((fold, row["seed"]))
        of = sum(entry.group == dataset for entry in self.suite.datasets)
        folds, seeds = ([len({run[i] for run in some}) for some in runs.values()] for i in (0, 1))
        out = [f"{_span(folds)} of {of} folds" if min(folds, default=0) < of else f"{of} folds"] if of > 1 else []
        out += [f"{_span(seeds)} seeds"] if max(seeds, default=0) > 1 else []
        if len(out) > 1 and any(len(some) < f * s for some, f, s in zip(runs.values(), folds, seeds)):
            out.append(f"{_span([len(some) for some in runs.values()])} runs")
        return out

    def caption(self, dataset: str) -> str:
        averaged = self.averaged(dataset)
        spread = ["mean ± population standard deviation"] if averaged else []
        return ", ".join([f"{self.metric(dataset)} on {dataset}", *averaged, *spread])

    def protocol(self, dataset: str) -> str:
        """How the epoch was chosen whose numbers these are."""
        rows = self.rows_of(dataset)
        chosen = {_chosen_on(row) for row in rows}
        if "test" in chosen:
            return (
                "Val is test: the epoch was chosen on the very numbers shown, which promise too much for other shapes"
            )
        text = "The best epoch was chosen on val" if "val" in chosen else "Without a val, the last epoch was kept"
        kinds = {"test": "test", "stress": "the stress variants"}
        once = [
            words for kind, words in kinds.items() if any(key.startswith(f"{kind}_") for row in rows for key in row)
        ]
        if not once:
            return f"{text}, whose numbers these are: there is no test"
        several = len(once) > 1 or once == ["the stress variants"]
        return f"{text}; {' and '.join(once)} {'were' if several else 'was'} looked at once"

    def metric(self, dataset: str) -> str:
        """What a dataset is measured by: what its task says, else accuracy, or an error where there are no classes."""
        found = [
            key.partition("_")[2] for row in self.rows_of(dataset) for key in row if key.startswith(("val_", "test_"))
        ]
        for name in (self._chosen_by(dataset), "accuracy"):
            if name in found:
                return name
        return next((name for name in found if name != "loss"), "loss" if found else "accuracy")

    def _chosen_by(self, dataset: str) -> str:
        """The metric that the task says; empty where it says none, as in older lines."""
        return next((row["chosen_by"] for row in self.rows_of(dataset) if row.get("chosen_by")), "")

    def direction(self, dataset: str) -> int:
        """1 where more of a dataset's metric is better, -1 where less is, 0 where nobody says."""
        metric = self.metric(dataset)
        return -1 if less_is_better(metric) else int(metric in ("accuracy", self._chosen_by(dataset)))

    def axes(self, dataset: str) -> list[str]:
        """Where the models of a dataset were measured: test (or val, without one), and the stress variants."""
        ending = f"_{self.metric(dataset)}"
        found = ((row, key.removesuffix("_answered")) for row in self.rows_of(dataset) for key in row)
        axes = ((row, key.removesuffix(ending)) for row, key in found if key.endswith(ending))
        # test_macro_f1 is no f1 on a test_macro, which has no loss.
        names = dict.fromkeys(axis for row, axis in axes if axis in ("val", "test") or f"{axis}_loss" in row)
        return [n for n in names if n != "val" or len(names) == 1]

    def cell(self, dataset: str, model: str, key: str) -> tuple[float, float | None] | None:
        """Mean and population standard deviation over seeds and folds of a value; one run has no deviation."""
        values = [row[key] for row in self.rows_of(dataset) if row["model"] == model and key in row]
        if not values:
            return None
        return statistics.fmean(values), statistics.pstdev(values) if len(values) > 1 else None

    def cells(self, dataset: str) -> dict[str, list[tuple[float, float | None] | None]]:
        """Of each model the metric on each axis."""
        keys = [f"{axis}_{self.metric(dataset)}" for axis in self.axes(dataset)]
        models = dict.fromkeys(row["model"] for row in self.rows_of(dataset))
        return {model: [self.cell(dataset, model, key) for key in keys] for model in models}

    def summary(self, dataset: str) -> tuple[list[str], list[list[str]]]:
        """Header and rows, as text: the model, the metric on each axis, parameters and seconds."""
        axes, form = self.axes(dataset), _form(self.metric(dataset))
        header = ["model", *(axis.removeprefix("stress_") for axis in axes), "parameters", "s/epoch", "prepare s"]
        out = []
        for model, numbers in self.cells(dataset).items():
            cells = [_text(number, form) for number in numbers]
            cells.append(_text(self.cell(dataset, model, "parameters"), "{:,.0f}", spread=False))
            cells.append(_text(self.cell(dataset, model, "epoch_seconds"), "{:.3g}", spread=False))
            cells.append(_text(self.cell(dataset, model, "prepare_seconds"), "{:.3g}", spread=False))
            out.append([model, *cells])
        return header, out

    def refusals(self) -> list[str]:
        """What models refused, which counts as wrong in accuracy, and how they did on the rest; means over some runs only."""
        out = []
        for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in self.rows):
            metric = self.metric(dataset)
            runs = [row for row in self.rows_of(dataset) if row["model"] == model]
            for axis in self.axes(dataset):
                where = f"{model} on {dataset}, {axis.removeprefix('stress_')}"
                having = sum(f"{axis}_{metric}" in row for row in runs)
                if 0 < having < len(runs):
                    out.append(f"{where}: only {having} of {len(runs)} runs have {metric}")
                refused = self.cell(dataset, model, f"{axis}_refused")
                if refused is not None:
                    rest = self.cell(dataset, model, f"{axis}_{metric}_answered")
                    count = "1 shape" if refused[0] == 1 else f"{refused[0]:g} shapes"
                    counted = "counted as wrong" if metric == "accuracy" and rest else "left out"
                    others = f"; {metric} on the others {_text(rest, _form(metric))}" if rest else ""
                    out.append(f"{where}: {count} refused, {counted}{others}")
        return out

    def failed(self) -> list[str]:
        """What failed, and why."""
        return [
            f"{model} on {dataset}{'' if seed is None else f', seed {seed}'}: {reason}"
            for dataset, model, seed, reason in self.failures
        ]

    def show(self) -> None:
        """On the terminal."""
        from rich.console import Console

        console = Console(markup=False)
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console = Console(width=WIDE, markup=False)
        with ExitStack() as afterwards:
            if isinstance(sys.stdout, io.TextIOWrapper):
                # Letters that it has not, as of Windows' cp1252, cost no table.
                afterwards.callback(sys.stdout.reconfigure, errors=sys.stdout.errors)
                sys.stdout.reconfigure(errors="replace")
            self._print(console)

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        # As Jupyter, and a FORCE_COLOR, would have it otherwise: shown at once, or with colours in the text.
        plain: Any = {"force_jupyter": False, "force_terminal": False, "color_system": None}
        self._print(Console(file=text, width=WIDE, markup=False, **plain))
        return text.getvalue()

    __repr__ = __str__  # of a notebook's cell

    def _repr_html_(self) -> str:
        out = []
        for dataset in dict.fromkeys(row["dataset"] for row in self.rows):
            out += [f"<p>{escape(self.caption(dataset))}</p>", self.html(dataset)]
            out += [f"<p>{escape(line)}</p>" for line in self._warnings(dataset)]
        return "\n".join([*out, *(f"<p>{escape(line)}</p>" for line in self._remarks())])

    def html(self, dataset: str) -> str:
        """The summary of a dataset as a table of HTML, the best of each column marked."""
        header, rows = self.summary(dataset)
        cells = self.cells(dataset)
        choose: Any = {1: max, -1: min}.get(self.direction(dataset))
        columns = zip(*cells.values()) if choose and len(rows) > 1 else ()
        best = [choose(cell[0] for cell in column if cell) for column in columns]
        out = ["<table><tr>", *(f"<th>{escape(name)}</th>" for name in header), "</tr>"]
        for label, *texts in aligned(rows):
            kinds = [' class="best"' if cell and cell[0] == top else "" for cell, top in zip(cells[label], best)]
            kinds += [""] * (len(texts) - len(kinds))
            # Blanks as wide as a digit.
            wide = (" ±\u00a0".join(part.replace(" ", "\u2007") for part in text.split(" ± ")) for text in texts)
            row = "".join(f"<td{kind}>{escape(text)}</td>" for kind, text in zip(kinds, wide, strict=True))
            out.append(f"<tr><td>{escape(label)}</td>{row}</tr>")
        return "\n".join([*out, "</table>"])

    def _print(self, console: Any) -> None:
        for dataset in dict.fromkeys(row["dataset"] for row in self.rows):
            header, rows = self.summary(dataset)
            title = f"{self.suite.name}: {self.caption(dataset)}"
            models, *columns = zip(header, *aligned(rows))
            while columns:  # a narrow terminal: as many at once as it has room for
                some = (columns[: count + 1] for count in range(len(columns)))
                fitting = [_grid(title, [models, *each], console.width // 3) for each in some]
                free = console.options.update(max_width=10**6)
                wide = [g for g in fitting if console.measure(g, options=free).maximum <= console.width] or fitting[:1]
                console.print(wide[-1])
                title, columns = "", columns[len(wide) :]
            for line in self._warnings(dataset):
                console.print(line, highlight=False)
        for line in self._remarks():
            console.print(line, highlight=False)

    def _warnings(self, dataset: str) -> list[str]:
        """The protocol, where its numbers promise too much."""
        careful = all(_chosen_on(row) not in ("test", "") for row in self.rows_of(dataset))
        return [] if careful else [f"{dataset}: {self.protocol(dataset)}"]

    def _remarks(self) -> list[str]:
        """What stands below all numbers: what was refused, what is missing, what failed."""
        return [*self.refusals(), *filter(None, [self.state()]), *(f"failed: {line}" for line in self.failed())]


def _grid(title: str, columns: Sequence[Sequence[str]], most: int) -> Any:
    """Names of models longer than `most` are broken, numbers never."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    grid = Grid(title=title or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name, *texts in columns:
        if grid.columns:
            grid.add_column(name.rjust(len(texts[0])), no_wrap=True)
        else:
            grid.add_column(name, max_width=most, overflow="fold")
    for label, *texts in list(zip(*columns))[1:]:  # on the right by hand: rich takes away blanks behind a number
        grid.add_row(label, *(text.rjust(len(name)) for text, (name, *_) in zip(texts, columns[1:])))
    return grid


def aligned(rows: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    """The rows of a summary, blanks put to their numbers: below each other stand decimal points, and ±."""
    models, *columns = zip(*rows)
    parts = (zip(*(text.partition(" ± ") for text in column)) for column in columns)
    return list(zip(models, *(map("".join, zip(*map(_points, each))) for each in parts)))


def _points(numbers: Sequence[str]) -> list[str]:
    behind = [len("".join(number.partition(".")[1:])) for number in numbers]
    padded = [number + " " * (max(behind) - count) for number, count in zip(numbers, behind)]
    return [number.rjust(max(map(len, padded))) for number in padded]


def _form(metric: str) -> str:
    """How a metric is written: accuracy in percent."""
    return "{:.1%}" if metric == "accuracy" else "{:.3g}"


def _chosen_on(row: dict[str, Any]) -> str:
    """On what a result's epoch was chosen: val, test, or nothing. Older lines do not say it: one loss is of one set."""
    there = "val_loss" in row
    old = "test" if there and row["val_loss"] == row.get("test_loss") else "val" if there else ""
    return str(row.get("chosen_on", old))


def _span(counts: Sequence[int]) -> str:
    few, many = min(counts, default=0), max(counts, default=0)
    return f"{many}" if few == many else f"{few} to {many}"


def _text(value: tuple[float, float | None] | None, form: str, *, spread: bool = True) -> str:
    if value is None:
        return "-"
    mean, deviation = value
    return form.format(mean) + (f" ± {form.format(deviation)}" if spread and deviation is not None else "")
