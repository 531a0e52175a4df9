"""The shapes that a plugin is tried on, and the same in another order, another place, another size."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any

import torch
from torch import Tensor

from ..data import check_data
from ..evaluation import Evaluation
from ..nodes import SOURCES
from ..plan import Plan
from ..shapes import listed
from .compare import Report

DOMAINS = (("mesh", "other-mesh"), ("graph", "other-graph"), ("edgeless", "graph"))


def pairs(data: Any = None) -> list[tuple[str, Any, str, Any]]:
    """Names and shapes, each beside another of its kind for a batch: those of the kit, or the given ones."""
    if data is None:
        return [(first, example(first), second, example(second)) for first, second in DOMAINS]
    shapes = listed(data)
    shapes = [data] if shapes is None else shapes
    for shape in shapes:
        check_data(shape)
    given = [(f"given shape {i}", shape) for i, shape in enumerate(shapes)]
    found = []
    for i, (name, shape) in enumerate(given):
        beside = (other for other in given[i + 1 :] + given[: i + 1] if set(other[1].keys()) == set(shape.keys()))
        found.append((name, shape, *next(beside)))
    return found


@lru_cache
def example(name: str) -> Any:
    from torch_geometric.data import Data

    g = torch.Generator().manual_seed(7)
    if name in ("mesh", "other-mesh"):  # closed, without symmetry
        import trimesh

        ball = trimesh.creation.icosphere(subdivisions=1 if name == "other-mesh" else 2)
        pos = torch.tensor(ball.vertices) * torch.tensor([1.0, 1.3, 0.7 if name == "mesh" else 0.8])
        for _ in range(4):
            a, b = (normal(3, g) for _ in "ab")
            pos = pos + 0.12 * torch.sin(2 * pos @ a + a[0])[:, None] * b
        return Data(pos=pos, face=torch.tensor(ball.faces).T.contiguous())
    if name in ("sheet", "bent-sheet"):  # folded only along its columns, so that each triangle stays rigid
        columns, rows = 9, 7
        rand, linspace = (partial(f, dtype=torch.float64) for f in (torch.rand, torch.linspace))
        u = linspace(0, 2, columns) + 0.03 * rand(columns, generator=g)
        v = linspace(0, 1, rows)[None] + 0.05 * rand(columns, rows, generator=g)
        turn = linspace(0, 1, columns - 1) * (2.5 if name == "bent-sheet" else 0)
        step = (u[1:] - u[:-1])[:, None] * torch.stack([turn.cos(), turn.sin()], 1)
        xz = torch.cat([step.new_zeros(1, 2), step.cumsum(0)])
        pos = torch.stack([xz[:, :1].expand(columns, rows), v, xz[:, 1:].expand(columns, rows)], -1).reshape(-1, 3)
        i = (torch.arange(columns - 1)[:, None] * rows + torch.arange(rows - 1)).reshape(-1)
        face = torch.cat([torch.stack([i, i + rows, i + 1]), torch.stack([i + 1, i + rows, i + rows + 1])], 1)
        return Data(pos=pos, face=face)
    if name in ("graph", "other-graph"):  # an isolated vertex, no symmetry
        size = 24 if name == "graph" else 17
        pairs = torch.triu_indices(size - 1, size - 1, 1)
        pairs = pairs[:, torch.rand(pairs.shape[1], generator=g) < 0.25]
        weight = torch.rand(pairs.shape[1], generator=g) + 0.5
        attr = torch.randn(2 * len(weight), 2, generator=g)
        edges = torch.cat([pairs, pairs.flip(0)], 1)
        return Data(edge_index=edges, edge_weight=weight.repeat(2), edge_attr=attr, num_nodes=size)
    none = torch.zeros(2, 0, dtype=torch.long)  # "edgeless"
    return Data(edge_index=none, edge_weight=torch.zeros(0), edge_attr=torch.zeros(0, 2), num_nodes=5)


def normal(shape: int | Sequence[int], g: int | torch.Generator) -> Tensor:
    g = torch.Generator().manual_seed(g) if isinstance(g, int) else g
    return torch.randn(shape, generator=g, dtype=torch.float64)  # type: ignore[call-overload]


def renumbered(data: Any) -> tuple[Any, dict[str, Tensor]]:
    """The same shape in another order: vertex i of it is vertex orders["vertex"][i] of the given one; so edges and faces.

    Faces begin at another of their corners, too.
    """
    g = torch.Generator().manual_seed(3)
    given = {SOURCES[name].per: data[name].shape[-1] for name in ("edge_index", "face") if name in data}
    orders = {per: torch.randperm(n, generator=g) for per, n in {"vertex": data.num_nodes, **given}.items()}
    out = data.clone()
    for name, source in SOURCES.items():
        if name in data and source.per in orders:
            value = orders["vertex"].argsort()[data[name]] if source.index else data[name]
            out[name] = value.index_select(value.ndim - 1 if source.index else 0, orders[source.per])
    if "face" in data:
        first = torch.randint(3, (1, data.face.shape[1]), generator=g)
        out.face = out.face.gather(0, (first + torch.arange(3)[:, None]) % 3)
    return out, orders


def with_signal(data: Any) -> Any:
    """With an x, for operators on signals: of three channels, if it has none."""
    out = data.clone()
    if "x" not in data:
        out.x = normal((data.num_nodes, 3), 13)
    return out


def _turned(data: Any) -> Any:
    q, _ = torch.linalg.qr(normal((3, 3), 5))
    q = q * torch.sign(torch.det(q))
    out = data.clone()
    out.pos = data.pos @ q.T.to(data.pos) + torch.tensor([0.3, -2.0, 1.1]).to(data.pos)
    return out


def motions(invariant_to: tuple[str, ...]) -> list[tuple[str, Any, Any]]:
    """Of each motion that leaves a value as it is, a shape before and after."""
    mesh = example("mesh")
    larger = mesh.clone()
    larger.pos = 1.7 * mesh.pos
    bent = "isometry", example("sheet"), _turned(example("bent-sheet"))
    pairs = [("rigid", mesh, _turned(mesh)), ("scale", mesh, larger), bent]
    return [pair for pair in pairs if pair[0] in invariant_to]


def any_basis(shape: str, plan: Plan, report: Report) -> bool:
    """Whether values depend on a choice of eigenvectors that no order of the vertices repeats."""
    found = shape == "edgeless" and any(step.name == "spectrum" for step in plan.steps)
    if found:
        report.skipped["permutation of an edgeless"] = "every basis is an eigenbasis there"
    return found


class Nothing:
    """A store that keeps nothing, so that each check computes anew."""

    def get(self, *_: Any) -> None:
        return None

    def put(self, *_: Any) -> None:
        return None

    def family(self, *_: Any) -> list[Any]:
        return []


def evaluation_of(data: Any) -> Evaluation:
    return Evaluation(data, keep=Nothing())  # type: ignore[arg-type]
