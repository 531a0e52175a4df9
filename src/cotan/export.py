"""A benchmark's table for other programs: every number as CSV, what a person sees as LaTeX."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from contextlib import suppress
from io import StringIO
from typing import Any

from .table import Table

COSTS = ("parameters", "epoch_seconds", "prepare_seconds")
LATEX = str.maketrans(
    {c: rf"\{c}" for c in "&%$#_{}"} | {"±": r"$\pm$", "\\": r"\textbackslash{}", "~": r"\~{}", "^": r"\^{}"}
)


def as_csv(table: Table) -> str:
    """A line a dataset and model: the number of runs, then mean and population standard deviation (NAME_std) of each."""
    keys = dict.fromkeys(
        k for row in table.rows for k in row if k.startswith(("val_", "test_", "stress_")) or k in COSTS
    )
    lines: list[list[Any]] = [["dataset", "model", "runs", *(name for key in keys for name in (key, f"{key}_std"))]]
    for dataset, model in dict.fromkeys((row["dataset"], row["model"]) for row in table.rows):
        runs = sum(row["model"] == model for row in table.rows_of(dataset))
        cells = [table.cell(dataset, model, key) or ("", "") for key in keys]
        lines.append([dataset, model, runs, *(value for cell in cells for value in cell)])
    return csv_text(lines)


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """Text that a spreadsheet would take for a formula stands after an apostrophe."""
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([_cell(value) for value in line] for line in lines)
    return text.getvalue()


def _cell(value: Any) -> Any:
    with suppress(TypeError, ValueError):
        float(value)
        return value
    return f"'{value}" if str(value).startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_latex(table: Table) -> str:
    """A tabular a dataset, with the rules of booktabs: the metric on test and each stress variant."""
    parts = []
    for dataset in dict.fromkeys(row["dataset"] for row in table.rows):
        header, rows = table.summary(dataset)
        shown = 1 + len(table.axes(dataset))
        head, *body = (" & ".join(text.translate(LATEX) for text in line[:shown]) + r" \\" for line in (header, *rows))
        about = f"% {table.caption(dataset)}"
        begin = rf"\begin{{tabular}}{{l{'r' * (shown - 1)}}}"
        parts += [about, begin, r"\toprule", head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}", ""]
    return "\n".join(parts)
