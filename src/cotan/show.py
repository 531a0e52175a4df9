"""Drawing a plan: text for the terminal, SVG for the eye."""

from __future__ import annotations

import html
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import atomic, registry
from .application import is_feature, model_plan
from .data import sources_of
from .errors import CotanError
from .evaluation import Evaluation
from .network import create_model, members, needs
from .nodes import COUNTED
from .sparse import Sparse
from .spectrum import Spectrum
from .values import is_named_tuple

LOOKS = {  # fill, stroke, corner radius
    "source": ("#eceff4", "#7b8494", 16),
    "operator": ("#dbe9ff", "#2f6fd0", 4),
    "layer": ("#ffe6c7", "#c9771a", 4),
    "loss": ("#ffd9dc", "#c2313f", 16),
}


@dataclass
class Box:
    """A node of the drawing."""

    kind: str
    label: str
    detail: str = ""
    inputs: list[str] = field(default_factory=list)
    models: set[str] = field(default_factory=set)


Drawing = dict[str, Box]


def draw(
    models: Sequence[str], data: Any = None, *, task: str = "classify", options: dict[str, Any] | None = None
) -> Drawing:
    """One plan of several models on a shape (a small sphere by default): what they share appears once.

    Operators carry the shape of their value and what computing it took; layers their parameters.
    """
    from .training.make import in_dim_of  # a process forked from one that has loaded what trains may wait for ever

    data = sphere() if data is None else data
    have = sources_of(data)
    evaluation = Evaluation(data)
    drawing: Drawing = {}
    for name in models:
        model = create_model(name, in_dim_of(name, [data], None, options or {}), 8, task=task, **(options or {}))
        plan = model_plan(model, have)
        for step in plan.steps:
            if step.name in COUNTED:
                continue
            box = drawing.get(step.identity)
            if box is None:
                value = evaluation.value(step)
                kind = "source" if step.definition is None else "operator"
                seconds = evaluation.costs.get(step.identity)
                cost = "" if step.definition is None else ", stored" if seconds is None else f", {_seconds(seconds)}"
                parents = [p.identity for p in step.parents if p.name not in COUNTED]
                box = drawing[step.identity] = Box(kind, step.label, shape_of(value) + cost, parents)
            box.models.add(name)
        _draw_model(drawing, name, model, plan, task)
    return drawing


def _draw_model(drawing: Drawing, name: str, model: nn.Module, plan: Any, task: str) -> None:
    before = [step.identity for root, step in plan.roots.items() if is_feature(root)]
    layers = [layer for layer in _leaves(model) if registry.definition_of(layer) is not None] or [model]
    for i, layer in enumerate(layers):
        definition = registry.definition_of(layer)
        label = definition.name if definition else type(layer).__name__
        # A model's own nodes are roots under their parameter's name, its layers' under the request in writing.
        names = [p if layer is model else n.key for p, n in needs(layer).items()]
        roots = [plan.roots[name] for name in names if name in plan.roots]
        asked = [step.identity for step in roots if step.identity in drawing]
        count = sum(p.numel() for p in layer.parameters())
        key = f"{name}/{i}"
        drawing[key] = Box("layer", label, f"{count:,} parameters", [*before, *asked], {name})
        before = [key]
    drawing[f"{name}/loss"] = Box("loss", f"{task} loss", name, before, {name})


def _leaves(module: nn.Module) -> list[nn.Module]:
    out: list[nn.Module] = []
    for child in members(module):
        inner = _leaves(child)
        out.extend(inner or [child])
    return out


def sphere() -> Any:
    """A sphere of 642 vertices."""
    import trimesh
    from torch_geometric.data import Data

    ball = trimesh.creation.icosphere(subdivisions=3)
    return Data(pos=torch.tensor(ball.vertices).float(), face=torch.tensor(ball.faces).T.contiguous())


def shape_of(value: Any) -> str:
    """A value's shape in a few characters."""
    if isinstance(value, torch.Tensor):
        return " x ".join(map(str, value.shape)) or "number"
    if isinstance(value, Sparse):
        return f"{value.shape[0]} x {value.shape[1]} sparse"
    if isinstance(value, Spectrum):
        return f"{len(value.values)} pairs x {value.vectors.shape[0]}"
    if is_named_tuple(value):
        return ", ".join(value._fields)
    if isinstance(value, int | float):
        return str(value)
    return type(value).__name__


def _seconds(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def to_text(drawing: Drawing) -> str:
    """A line a node, inputs before what needs them; shared nodes say how many models share them."""
    ids = {key: f"[{i}]" for i, key in enumerate(drawing, 1)}
    every = {m for box in drawing.values() for m in box.models}
    rows = []
    for key, box in drawing.items():
        inputs = " ".join(ids[k] for k in box.inputs)
        shared = f"shared by {', '.join(sorted(box.models))}" if len(box.models) > 1 and len(every) > 1 else ""
        rows.append((ids[key], box.kind, box.label, box.detail, f"<- {inputs}" if inputs else "", shared))
    widths = [max(len(row[i]) for row in rows) for i in range(6)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)


def _layout(drawing: Drawing) -> tuple[dict[str, int], dict[str, float], list[tuple[str, str]]]:
    """The column of each box, sources in the first; its place in the column, about zero; and the lines between columns.

    A long line passes through a place of its own in each column between, so that it runs behind no box.
    """
    rank: dict[str, int] = {}
    for key, box in drawing.items():  # inputs come first
        rank[key] = 1 + max((rank[k] for k in box.inputs), default=-1)
    for key in reversed(list(drawing)):  # sources stand just before the first that needs them
        users = [rank[k] for k, box in drawing.items() if key in box.inputs]
        if users and drawing[key].kind in ("source", "operator") and not drawing[key].inputs:
            rank[key] = min(users) - 1
    chains = {
        (key, other): [other, *(f"{other}@{column}" for column in range(rank[other] + 1, rank[key])), key]
        for key, box in drawing.items()
        for other in box.inputs
    }
    columns: dict[int, list[str]] = {}
    for key in drawing:
        columns.setdefault(rank[key], []).append(key)
    neighbours: dict[str, list[str]] = {key: [] for key in drawing}
    for chain in chains.values():
        for i, key in enumerate(chain[1:-1], rank[chain[0]] + 1):
            if key not in rank:
                rank[key] = i
                columns.setdefault(i, []).append(key)
        for one, two in pairwise(chain):
            neighbours.setdefault(one, []).append(two)
            neighbours.setdefault(two, []).append(one)
    place = {key: i - (len(keys) - 1) / 2 for keys in columns.values() for i, key in enumerate(keys)}
    for sweep in range(12):  # order each column by the middle of its neighbours
        for column in sorted(columns, reverse=bool(sweep % 2)):
            keys = columns[column]
            middle = {
                k: sum(place[n] for n in neighbours[k]) / len(neighbours[k]) if neighbours[k] else place[k]
                for k in keys
            }
            keys.sort(key=lambda k: middle[k])
            for i, key in enumerate(keys):
                place[key] = i - (len(keys) - 1) / 2
    return rank, place, list(dict.fromkeys(line for chain in chains.values() for line in pairwise(chain)))


def to_svg(drawing: Drawing) -> str:
    """Sources on the left, losses on the right."""
    rank, place, lines = _layout(drawing)
    wide, high, step_x, step_y, pad = 224, 46, 280, 70, 30
    rows = max(Counter(rank.values()).values())
    width, height = pad * 2 + step_x * max(rank.values()) + wide, pad * 2 + step_y * (rows - 1) + high + 34
    x = {key: pad + step_x * rank[key] for key in rank}
    y = {key: pad + step_y * (place[key] + (rows - 1) / 2) for key in rank}
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        '<g fill="none" stroke="#9aa3b2" stroke-width="1.3">',
    ]
    for other, key in lines:
        x0, y0, x1, y1 = x[other] + wide, y[other] + high / 2, x[key], y[key] + high / 2
        bend = (x1 - x0) / 2
        through = f"M{x[other]} {y0} L{x0} {y0}" if other not in drawing else f"M{x0} {y0}"
        out.append(f'<path d="{through} C{x0 + bend} {y0} {x1 - bend} {y1} {x1} {y1}"/>')
    out.append("</g>")
    every = {m for box in drawing.values() for m in box.models}
    for key, box in drawing.items():
        fill, stroke, radius = LOOKS[box.kind]
        shared = len(box.models) > 1 and box.kind != "source" and len(every) > 1
        out.append(
            f'<rect x="{x[key]}" y="{y[key]}" width="{wide}" height="{high}" rx="{radius}" fill="{fill}" stroke="{stroke}"'
            f' stroke-width="{2.6 if shared else 1.2}"><title>{html.escape(box.label)}: {html.escape(box.detail)}</title></rect>'
        )
        centre = x[key] + wide / 2
        out.append(_text(centre, y[key] + 19, box.label, 13, "#1d2430", 30))
        out.append(_text(centre, y[key] + 36, box.detail, 11, "#566070", 36))
    legend = [*LOOKS, "shared by several models (thick)"] if len(every) > 1 else [*LOOKS]
    left = pad
    for kind in legend:
        fill, stroke, radius = LOOKS.get(kind, ("#ffffff", "#1d2430", 4))
        out.append(
            f'<rect x="{left}" y="{height - 26}" width="22" height="14" rx="{min(radius, 7)}" fill="{fill}" stroke="{stroke}"/>'
        )
        out.append(f'<text x="{left + 28}" y="{height - 15}" font-size="12" fill="#1d2430">{kind}</text>')
        left += 52 + 7 * len(kind)
    return "\n".join([*out, "</svg>"])


def _text(x: float, y: float, text: str, size: int, colour: str, most: int) -> str:
    short = text if len(text) <= most else text[: most - 1] + "…"
    return f'<text x="{x}" y="{y}" text-anchor="middle" font-size="{size}" fill="{colour}">{html.escape(short)}</text>'


def show(models: Sequence[str], path: str | None = None, data: Any = None, **options: Any) -> str:
    """The text of the drawing; the SVG goes to `path` if given."""
    if not models:
        raise CotanError("no model named; there is: " + ", ".join(registry.names("model")))
    drawing = draw(models, data, **options)
    if path:
        atomic.save(Path(path), to_svg(drawing).encode())
    return to_text(drawing)
