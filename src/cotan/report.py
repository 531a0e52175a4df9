"""The page of a benchmark: report/index.html, one file with its pictures inside, in the reader's light or dark."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping, Sequence
from html import escape
from itertools import zip_longest
from pathlib import Path
from typing import Any

from . import atomic, registry
from .drawing import bars, shapes_png
from .export import as_csv, as_latex
from .table import Table
from .values import digest

STYLE = """
:root { --ink: #1d1d1f; --soft: #6a6a70; --line: #d9d9de; --page: #fcfcfa; --best: #1b7f4b; color-scheme: light dark }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececef; --soft: #9b9ba3; --line: #3a3a40; --page: #17171a; --best: #63d297 }
}
body { font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 70rem;
  margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.7rem } h2 { font-size: 1.2rem; margin-top: 2.5rem }
p, figcaption { color: var(--soft); max-width: 46rem } figure { margin: 1.5rem 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } .wide { overflow-x: auto }
th, td { padding: .3rem .45rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap }
th { font-weight: 600 }
th:first-child, td:first-child { text-align: left; white-space: normal; min-width: 8.5rem; position: sticky; left: 0;
  background: var(--page) }
td.best { color: var(--best); font-weight: 600 }
svg text { fill: var(--ink); font: 12px system-ui, sans-serif } svg .soft { fill: var(--soft) }
svg line { stroke: var(--line) } svg .spread { stroke: var(--ink) }
svg, img { max-width: max(100%, 640px); height: auto }
code { font-size: .9em }
@media print {
  .wide { overflow: visible } table { font-size: .7em } th, td { white-space: normal; position: static !important }
  svg, img { max-width: 100% }
  tr, figure { break-inside: avoid } h2 { break-after: avoid }
}
""".strip()


def write_report(table: Table) -> Path:
    """Writes report/index.html in the table's folder, and table.csv and table.tex beside it; gives the page's path."""
    path = table.folder / "report"
    atomic.save(path / "table.csv", as_csv(table).encode())
    atomic.save(path / "table.tex", as_latex(table).encode())
    seeds = sorted({row["seed"] for row in table.rows})
    seeded = f"{'Seed' if len(seeds) == 1 else 'Seeds'}: {', '.join(map(str, seeds))}."
    same = "Every model was given the same shapes in the same splits, and trained by the same recipe unless said below."
    lines = [f"{same} {seeded}" if table.rows else "", table.state()]
    parts = [f"<h1>{escape(table.suite.name)}</h1>", *(f"<p>{escape(line)}</p>" for line in lines if line)]
    for dataset in dict.fromkeys(entry.group for entry in table.suite.datasets):
        if table.rows_of(dataset):
            parts += _results(table, dataset)
        parts.append(_shapes(table, dataset))
    if table.failures:
        parts.append("<h2>What failed</h2><ul>")
        parts += [f"<li>{escape(line)}</li>" for line in table.failed()]
        parts.append("</ul>")
    parts += _nodes(table) + _again(table)
    page = "\n".join(
        [
            '<!doctype html><html lang="en"><head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{escape(table.suite.name)}</title><style>{STYLE}</style></head><body>",
            *parts,
            "</body></html>\n",
        ]
    )
    atomic.save(path / "index.html", page.encode())
    return path / "index.html"


def _results(table: Table, dataset: str) -> list[str]:
    axes, metric = table.axes(dataset), table.metric(dataset)
    title = ", ".join([dataset, *table.averaged(dataset)])
    spread = ", mean ± population standard deviation" if table.averaged(dataset) else ""
    about = [_about(table, dataset), f"Numbers are {metric}{spread}. {table.protocol(dataset)}."]
    out = [f"<h2>{escape(title)}</h2>", *(f"<p>{escape(text)}</p>" for text in about if text)]
    out.append(f'<div class="wide">{table.html(dataset)}</div>')
    out += [f"<p>{escape(line)}</p>" for line in table.refusals() if f" on {dataset}, " in line]
    names = [axis.removeprefix("stress_") for axis in axes]
    caption = escape(f"{metric} on {', '.join(names)}")
    drawn = bars(names, table.cells(dataset), percent=metric == "accuracy")
    out.append(f'<figure><div class="wide">{drawn}</div><figcaption>{caption}</figcaption></figure>')
    return out


def _about(table: Table, dataset: str) -> str:
    """What the dataset says of itself, without its arguments."""
    entry = next(d for d in table.suite.datasets if d.group == dataset)
    text = inspect.getdoc(registry.lookup("dataset", entry.name).target) or ""
    return text.partition("\nArguments:")[0].strip()


def _shapes(table: Table, dataset: str) -> str:
    """Pictures of a dataset and what was skipped in it: of one that was not made this time, as all is there, those of before."""
    file = table.folder / "report" / "shapes" / f"{digest(dataset)[:16]}.html"
    splits = table.datasets.get(dataset)
    if splits is None:
        return file.read_bytes().decode() if file.exists() else ""
    parts = _pictures(splits)
    if splits.skipped:
        parts.append(f"<h3>Skipped in {escape(dataset)}: {len(splits.skipped)} files</h3><ul>")
        parts += [f"<li><code>{escape(path)}</code>: {escape(reason)}</li>" for path, reason in splits.skipped]
        parts.append("</ul>")
    text = "\n".join(parts)
    atomic.save(file, text.encode())
    return text


def _pictures(splits: Any) -> list[str]:
    """Examples of every class, and one test shape with its stress variants."""
    drawable = [shape for shape in splits.train if shape.get("pos") is not None and shape.get("face") is not None]
    if not drawable:
        return []
    out = []
    if splits.task == "classify" and splits.classes:
        found = [(name, [s for s in drawable if int(s.y) == i][:2]) for i, name in enumerate(splits.classes)]
        shown = [(name, pair) for name, pair in found if pair][:12]
        names, rows = [name for name, _ in shown], [list(row) for row in zip_longest(*(pair for _, pair in shown))]
    else:
        rows, names = [drawable[:8]], []
    by = {"classify": ", coloured by class", "label": ", coloured by label", "match": ", coloured by label"}
    of_shape = {"color": ", as they are coloured", "part": ", coloured by part"}
    seen = next((text for name, text in of_shape.items() if drawable[0].get(name) is not None), by.get(splits.task, ""))
    out.append(_figure(shapes_png(rows, names), f"Training shapes{seen}", names))
    variants = {"test": splits.test, **splits.stress}
    firsts = [(name, shapes[0]) for name, shapes in variants.items() if shapes and shapes[0].get("face") is not None]
    if len(firsts) > 1:
        png = shapes_png([[shape for _, shape in firsts]], [name for name, _ in firsts], one_scale=True)
        out.append(_figure(png, "A test shape and its stress variants, in one scale", [name for name, _ in firsts]))
    return out


def _nodes(table: Table) -> list[str]:
    """What preparation cost by node, and how many models share it."""
    if not any(table.nodes.values()):
        return []
    out = ["<h2>Preparation</h2>", "<p>Seconds on all shapes, once a node however many models need it.</p>"]
    out.append('<div class="wide"><table><tr><th>node</th><th>dataset</th><th>seconds</th><th>models</th></tr>')
    seconds: dict[tuple[str, str], list[float]] = {}
    for (dataset, _), nodes in table.nodes.items():
        for label, value in nodes.items():
            seconds.setdefault((label, dataset), []).append(value)
    for (label, dataset), values in sorted(seconds.items(), key=lambda item: -max(item[1])):
        out.append(
            f"<tr><td>{escape(label)}</td><td>{escape(dataset)}</td><td>{max(values):.2f}</td><td>{len(values)}</td></tr>"
        )
    return [*out, "</table></div>"]


def _again(table: Table) -> list[str]:
    """What is needed to run it again."""
    if not table.rows:
        return []
    suite = table.suite
    datasets = {entry.group: {k: v for k, v in entry.options.items() if k != "fold"} for entry in suite.datasets}
    names = {entry.group: entry.name for entry in suite.datasets}
    digests = dict.fromkeys((r["dataset"], r.get("split_digest", "?")[:12]) for r in table.rows)
    found = [
        {**row.get("versions", {}), **{k: row[k] for k in ("device", "threads") if k in row}} for row in table.rows
    ]
    computed = {
        name: dict.fromkeys(str(some[name]) for some in found if name in some) for some in found for name in some
    }
    lines = [f"Recipe: {_listed({k: v for k, v in suite.recipe.record().items() if k != 'seed'})}."]
    lines += [f"Dataset {label}: {_listed(options, names[label])}." for label, options in datasets.items()]
    for m in suite.models:
        features = {} if m.features is None else {"features": m.features}
        recipe = f"; recipe: {_listed(m.recipe)}" if m.recipe else ""
        on = f"; on {', '.join(m.datasets)} only" if m.datasets else ""
        lines.append(f"Model {m.label}: {_listed({**m.options, **features}, m.name)}{recipe}{on}.")
    lines += [
        "Splits: " + ", ".join(f"{name} {digest}" for name, digest in digests) + ".",
        "Computed with " + ", ".join(f"{name} {' and '.join(values)}" for name, values in computed.items()) + ".",
        f"Every number is a line of results.jsonl; the weights are in {table.folder / 'runs'}.",
    ]
    return ["<h2>To run it again</h2><ul>", *(f"<li>{escape(line)}</li>" for line in lines), "</ul>"]


def _listed(options: Mapping[str, Any], *first: str) -> str:
    pairs = (f"{k} {v if isinstance(v, str) else json.dumps(v, default=str)}" for k, v in options.items())
    return ", ".join([*first, *pairs])


def _figure(png: bytes, caption: str, names: Sequence[str]) -> str:
    from base64 import b64encode

    image = f'<img alt="{escape(", ".join(names) or caption)}" src="data:image/png;base64,{b64encode(png).decode()}">'
    return f'<figure><div class="wide">{image}</div><figcaption>{caption}</figcaption></figure>'
