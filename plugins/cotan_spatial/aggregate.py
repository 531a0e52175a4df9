"""The general form of a convolution by neighbours: gather, then combine."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn
from torch.compiler import is_compiling

import cotan
from cotan.errors import one_signal, unknown
from cotan.sparse import (
    Pattern,
    neighbour_max,
    neighbour_variance,
    reverse_mode_only,
    segment_max,
    segment_min,
    segment_softmax,
    segment_sum,
    segment_variance,
    spread,
)


def root(variance: Tensor) -> Tensor:
    """The standard deviation: where it is 0, as of one number or none, so is its derivative."""
    varies = variance > 0
    return torch.where(varies, variance.where(varies, 1).sqrt(), 0)


# Aggregates by a sparse product, without a message for each edge; of the messages (E, C); of x where messages are only x_j.
PRODUCTS = ("sum", "mean", "attention")
MESSAGES = {"max": segment_max, "min": segment_min, "std": lambda m, pattern: root(segment_variance(m, pattern))}
NEIGHBOURS = {
    "max": neighbour_max,
    "min": lambda x, pattern: -neighbour_max(-x, pattern),
    "std": lambda x, pattern: root(neighbour_variance(x, pattern)),
}
COMBINE = ("add", "concatenate", "gru", "mlp")
Gather = str | Callable[[Tensor, Pattern], Tensor]


@cotan.layer("aggregate", invariant_to=("isometry", "scale"))
class Aggregate(nn.Module):
    """y_i = COMBINE(a_i, x_i), a_i = AGGREGATE {m_ij : j -> i}, m_ij = w_ij (x_j + e_ij E): message passing.

    w are the edge weights, 1 where there are none, and e (E, edge_dim) the edge features, left out where there are none.

    Arguments:
        aggregate: sum, mean, max, min, std, attention (the softmax over j of leaky_relu(<s, m_ij> + <t, x_i>) weighs
            m_ij), or a function; or a list of these, side by side. A function takes the messages (E, in_dim) and their
            `cotan.sparse.Pattern`, whose rows are the receiving vertices, and gives (V, in_dim):

            >>> cotan.create_layer("aggregate", 3, 8, aggregate=["mean", lambda m, p: segment_max(m.abs(), p)])

        combine: "add", a W + x U + b; "concatenate", [a W, x U] + b, the first half of the channels from a; "gru", a
            gated step from x U on the input a; "mlp", of [a, x], one hidden layer with relu; or a function, or module,
            of a (V, in_dim times the number of aggregates) and x (V, in_dim) that gives (V, out_dim).
            Of a module, here or in `aggregate`, each layer of a model learns a copy of its own; all begin alike.
        edge_dim: channels of the data's `edge_attr` that messages take in; 0 leaves them out.

    Shape: x (V, in_dim) -> (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        aggregate: Gather | list[Gather] | tuple[Gather, ...] = "mean",
        combine: str | Callable[[Tensor, Tensor], Tensor] = "add",
        edge_dim: int = 0,
    ):
        super().__init__()
        self.aggregates = list(map(own, aggregate if isinstance(aggregate, list | tuple) else [aggregate]))
        for kind in (*self.aggregates, combine):
            if isinstance(kind, type):
                raise cotan.CotanError(f"aggregate: {kind.__name__} is a class, expected a function or a module")
        for kind in self.aggregates or ["none"]:
            if not callable(kind) and kind not in (*PRODUCTS, *MESSAGES):
                raise cotan.CotanError(f"{unknown('aggregate', kind, (*PRODUCTS, *MESSAGES))}, or a function")
        if not callable(combine) and combine not in COMBINE:
            raise cotan.CotanError(f"{unknown('combine of aggregate', combine, COMBINE)}, or a function")
        self.needs = {"edge_features": cotan.node("edge_coordinates", pseudo_coordinates="edge_attr")}
        self.out_dim, self.edge_dim = out_dim, edge_dim
        self.modules_given = nn.ModuleList(kind for kind in self.aggregates if isinstance(kind, nn.Module))
        self.edge = cotan.Linear(edge_dim, in_dim, bias=False) if edge_dim else None
        if "attention" in self.aggregates:
            self.score = nn.Parameter(torch.randn(2, in_dim) * in_dim**-0.5)  # s and t
        self.combine = (
            own(combine) if callable(combine) else Combine(len(self.aggregates) * in_dim, in_dim, out_dim, combine)
        )

    def forward(self, x: Tensor, adjacency: cotan.Sparse, edge_features: cotan.Sparse | None = None) -> Tensor:
        one_signal(x)
        e = self.check(edge_features)
        others = [kind for kind in self.aggregates if kind not in PRODUCTS]
        plain = bool(others) and self.edge is None and ones(adjacency, x)
        messages = None
        if any(callable(kind) or not plain for kind in others):
            messages = spread(adjacency.pattern, x, columns=True) + (0 if self.edge is None else self.edge(e))
            messages = adjacency.values[:, None] * messages
        parts = []
        for kind in self.aggregates:
            if callable(kind):
                parts.append(checked("aggregate", kind(messages, adjacency.pattern), x.shape))
            elif kind in PRODUCTS:
                parts.append(self.product(kind, x, adjacency, e))
            else:
                functions, of = (NEIGHBOURS, x) if plain else (MESSAGES, messages)
                parts.append(functions[kind](of, adjacency.pattern))
        return checked("combine", self.combine(torch.cat(parts, 1), x), (len(x), self.out_dim))

    def product(self, kind: str, x: Tensor, adjacency: cotan.Sparse, e: Tensor | None) -> Tensor:
        pattern, weight = adjacency.pattern, adjacency.values
        if kind == "attention":
            s = spread(pattern, x @ self.score[0], columns=True)
            s = s if self.edge is None else s + e @ (self.edge.weight.T @ self.score[0])
            s = nn.functional.leaky_relu(weight * s + spread(pattern, x @ self.score[1]), 0.2)
            weight = weight * segment_softmax(s, pattern)
        y = adjacency.with_values(weight) @ x
        if self.edge is not None:
            y = y + self.edge(segment_sum(weight[:, None] * e, pattern))
        return y / pattern.counts.clamp(min=1).to(y.dtype)[:, None] if kind == "mean" else y

    def check(self, edge_features: cotan.Sparse | None) -> Tensor | None:
        """The edge features (E, edge_dim), None where they are not asked for."""
        if not self.edge_dim:
            return None
        got = 0 if edge_features is None else edge_features.values.shape[1]
        if got != self.edge_dim:
            raise cotan.CotanError(f"aggregate: edge_dim={self.edge_dim}, but the data's edge_attr has {got} channels")
        return edge_features.values


def ones(adjacency: cotan.Sparse, x: Tensor) -> bool:
    """Whether the weights are all one, and nobody asks for their derivatives; known on a CPU alone, which need not wait."""
    weight = adjacency.values
    fixed = weight.device.type == "cpu" and reverse_mode_only(x, weight) and not weight.requires_grad
    return fixed and bool((weight == 1).all())


class Combine(nn.Module):
    """One of the named ways to combine what was gathered, a (V, A), with x (V, C)."""

    def __init__(self, gathered: int, in_dim: int, out_dim: int, kind: str):
        super().__init__()
        self.kind = kind
        half = -(-out_dim // 2) if kind == "concatenate" else out_dim
        own = out_dim - half if kind == "concatenate" else out_dim
        if own < 1:
            raise cotan.CotanError("aggregate: combine='concatenate' needs out_dim of at least 2")
        self.own = cotan.Linear(in_dim, own, bias=kind == "concatenate")
        if kind == "gru":
            self.gathered: nn.Module = nn.GRUCell(gathered, out_dim)
        elif kind == "mlp":
            self.gathered = cotan.Linear(gathered, out_dim)
            self.last = cotan.Linear(out_dim, out_dim)
        else:
            self.gathered = cotan.Linear(gathered, half)

    def forward(self, a: Tensor, x: Tensor) -> Tensor:
        if self.kind == "gru":
            return self.gathered(a, self.own(x))
        if self.kind == "concatenate":
            return torch.cat([self.gathered(a), self.own(x)], 1)
        y = self.gathered(a) + self.own(x)
        return self.last(y.relu()) if self.kind == "mlp" else y


def own(kind: Any) -> Any:
    """A copy of a module; else what was given."""
    return deepcopy(kind) if isinstance(kind, nn.Module) else kind


def checked(what: str, y: Tensor, shape: tuple[int, ...]) -> Tensor:
    if is_compiling():  # comparing sizes here, torch 2.13 cannot compile max beside attention for a second graph
        return y
    if not isinstance(y, Tensor) or y.shape != shape:
        got = tuple(y.shape) if isinstance(y, Tensor) else type(y).__name__
        raise cotan.CotanError(f"aggregate: the {what} function gave {got}, expected {tuple(shape)}")
    return y
