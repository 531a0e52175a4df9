"""The table of a benchmark: one row a model and dataset, the mean over seeds and folds."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .datasets import Splits
from .suite import Suite


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

    def order(self) -> None:
        """Rows in the order of the suite."""
        s = self.suite
        keys = [s.key(d, m, seed) for d in s.datasets for m in s.models_on(d) for seed in s.seeds]
        self.rows.sort(key=lambda row: keys.index(row["key"]))

    def averaged(self, dataset: str) -> list[str]:
        """Over what the numbers of a dataset are means: "10 folds", "5 seeds"."""
        folds = sum(entry.whole == dataset for entry in self.suite.datasets)
        counts = {"folds": folds, "seeds": len(self.suite.seeds)}
        return [f"{count} {what}" for what, count in counts.items() if count > 1]

    def metric(self) -> str:
        """The metric that the table is about: accuracy, or an error where there are no classes."""
        found = [key.partition("_")[2] for row in self.rows for key in row if key.startswith(("val_", "test_"))]
        return "accuracy" if "accuracy" in found or not found else next(name for name in found if name != "loss")

    def axes(self, dataset: str) -> list[str]:
        """Where the models of a dataset were measured: test (or val, without one), and the stress variants."""
        rows = [row for row in self.rows if row["dataset"] == dataset]
        ending = f"_{self.metric()}"
        names = dict.fromkeys(key.removesuffix(ending) for row in rows for key in row if key.endswith(ending))
        return [n for n in names if n != "val" or len(names) == 1]

    def cell(self, dataset: str, model: str, key: str) -> tuple[float, float] | None:
        """Mean and standard deviation over seeds and folds of a value."""
        values = [row[key] for row in self.rows if (row["dataset"], row["model"]) == (dataset, model) and key in row]
        if not values:
            return None
        return statistics.fmean(values), statistics.pstdev(values) if len(values) > 1 else 0.0

    def summary(self, dataset: str) -> tuple[list[str], list[list[str]]]:
        """Header and rows, as text: the model, the metric on each axis, parameters and seconds."""
        axes = self.axes(dataset)
        header = ["model", *(axis.removeprefix("stress_") for axis in axes), "parameters", "s/epoch", "prepare s"]
        out = []
        for model in dict.fromkeys(row["model"] for row in self.rows if row["dataset"] == dataset):
            cells = [_text(self.cell(dataset, model, f"{axis}_{self.metric()}"), self.form()) for axis in axes]
            cells.append(_text(self.cell(dataset, model, "parameters"), "{:,.0f}", spread=False))
            cells.append(_text(self.cell(dataset, model, "epoch_seconds"), "{:.3g}", spread=False))
            cells.append(_text(self.cell(dataset, model, "prepare_seconds"), "{:.3g}", spread=False))
            out.append([model, *cells])
        return header, out

    def refusals(self) -> list[str]:
        """What models refused, which counts as wrong, and how they did on the rest."""
        out = []
        for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in self.rows):
            for axis in self.axes(dataset):
                refused = self.cell(dataset, model, f"{axis}_refused")
                if refused is not None:
                    rest = self.cell(dataset, model, f"{axis}_accuracy_answered")
                    where = f"{model} on {dataset}, {axis.removeprefix('stress_')}: {refused[0]:g} shapes refused"
                    counted = f"counted as wrong; {self.metric()} on the others {_text(rest, self.form())}"
                    out.append(f"{where}, {counted if rest else 'left out'}")
        return out

    def form(self) -> str:
        """How the metric is written: accuracy in percent."""
        return "{:.1%}" if self.metric() == "accuracy" else "{:.3g}"

    def show(self) -> None:
        """On the terminal."""
        from rich.console import Console

        console = Console()
        if not console.is_terminal:
            console = Console(width=200)
        self._print(console)

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console

        text = StringIO()
        self._print(Console(file=text, width=200))
        return text.getvalue()

    def _print(self, console: Any) -> None:
        for dataset in dict.fromkeys(row["dataset"] for row in self.rows):
            header, rows = self.summary(dataset)
            title = ", ".join([f"{self.suite.name}: {self.metric()} on {dataset}", *self.averaged(dataset)])
            whole = _grid(title, header, rows)
            if console.measure(whole).minimum <= console.width:
                console.print(whole)
                continue
            costs = len(header) - 3  # a narrow terminal: what it found, then what it cost
            console.print(_grid(title, header[:costs], [row[:costs] for row in rows]))
            console.print(_grid("", ["model", *header[costs:]], [[row[0], *row[costs:]] for row in rows]))
        for line in self.refusals():
            console.print(line, markup=False, highlight=False)
        if self.stopped:
            console.print(
                f"stopped: {len(self.rows)} results are kept in {self.folder}; the same command goes on", markup=False
            )
        for dataset, model, seed, reason in self.failures:
            where = f"{model} on {dataset}" + (f", seed {seed}" if seed is not None else "")
            console.print(f"failed: {where}: {reason}", markup=False, highlight=False)


def _grid(title: str, header: list[str], rows: list[list[str]]) -> Any:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as Grid

    grid = Grid(title=title or None, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for i, name in enumerate(header):
        grid.add_column(name, justify="left" if i == 0 else "right", no_wrap=True)
    for row in rows:
        grid.add_row(*row)
    return grid


def _text(value: tuple[float, float] | None, form: str, *, spread: bool = True) -> str:
    if value is None:
        return "-"
    mean, deviation = value
    return form.format(mean) + (f" ± {form.format(deviation)}" if spread and deviation else "")
