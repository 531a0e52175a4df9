"""Requests: a node's name with its options, and the sources where the graph begins."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import CotanError, expect
from .registry import PER, typed


@dataclass(frozen=True)
class Node:
    """A request for a node. Made by `cotan.node`; two equal requests are one node.

    Attributes:
        settings: options, and requests that stand in for inputs, by name, sorted.
        on: the node whose value, a `Data`, gives the sources.
        key: the request in writing, `spectrum(k=64)`.
        optional: whoever asks can do without, where the data lacks its sources.
    """

    name: str
    settings: tuple[tuple[str, Any], ...] = ()
    on: Node | None = None
    optional: bool = field(default=False, compare=False)
    key: str = field(init=False, compare=False)

    def __post_init__(self) -> None:
        inside = ", ".join(f"{k}={v.key if isinstance(v, Node) else repr(v)}" for k, v in self.settings)
        key = f"{self.name}({inside})" if inside else self.name
        object.__setattr__(self, "key", f"{key}@{self.on.key}" if self.on else key)

    def __repr__(self) -> str:
        return f"<node {self.key}>"


Request = str | Node


def node(name: Request, *, on: Request | None = None, **settings: Any) -> Node:
    """A request for node `name` with options, or with another node in place of an input.

    >>> cotan.node("spectrum", k=64)
    >>> cotan.node("spectrum", laplacian=cotan.node("laplacian", kind="robust"))
    >>> cotan.node("laplacian", on=cotan.node("coarsen", level=1))
    """
    if isinstance(name, Node):
        given = name
        name, settings, on = given.name, {**dict(given.settings), **settings}, on or given.on
    if not isinstance(name, str):
        raise CotanError(f"expected a node's name or cotan.node(...), got {type(name).__name__}")
    frozen = tuple(sorted((key, _freeze(name, key, value)) for key, value in settings.items()))
    return Node(name, frozen, None if on is None else as_node(on))


def as_node(request: Request) -> Node:
    return request if isinstance(request, Node) else node(request)


def as_nodes(requests: Request | Iterable[Request] | None) -> list[Node]:
    """A request, several, or None for none, as a list."""
    several: Any = requests if isinstance(requests, list | tuple) else [] if requests is None else [requests]
    return [as_node(request) for request in several]


def of_one_basis(requests: Mapping[str, Any], parameters: Iterable[str]) -> dict[str, Any]:
    """Requests by parameter: `mass` beside a `spectrum` that is asked for with a mass is that one, unless it is asked for."""
    basis = requests.get("spectrum")
    if not isinstance(basis, Node) or "mass" not in parameters or "mass" not in dict(basis.settings):
        return {**requests}
    mass = as_node(dict(basis.settings)["mass"])
    return {"mass": Node(mass.name, mass.settings, mass.on or basis.on), **requests}


def _freeze(name: str, key: str, value: Any) -> Any:
    """An option as a hashable value that JSON can say."""
    if value is None or isinstance(value, bool | int | float | str | Node):
        return value
    if getattr(value, "requires_grad", False):
        raise CotanError(
            f"option {key!r} of node {name!r}: a tensor that requires grad, expected plain numbers, which pass on none. "
            "Detach it; or call the operator's function, as those in cotan.operators, with the values that it takes"
        )
    if hasattr(value, "tolist"):  # a tensor or an array
        value = value.tolist()
        if not isinstance(value, list):
            return value
    if isinstance(value, list | tuple):
        return tuple(_freeze(name, key, item) for item in value)
    raise CotanError(
        f"option {key!r} of node {name!r}: expected numbers, text, a node, or a list of these, got {type(value).__name__}"
    )


@dataclass(frozen=True)
class Source:
    """An attribute of `Data`: how a batch is made of it, and whether it holds vertex numbers."""

    name: str
    per: str
    index: str | None = None
    module: str = field(default=__name__, repr=False, compare=False)  # that declared it


SOURCES: dict[str, Source] = {
    source.name: source
    for source in (
        Source("pos", "vertex"),
        Source("x", "vertex"),
        Source("normal", "vertex"),
        Source("face", "face", "vertex"),
        Source("edge_index", "edge", "vertex"),
        Source("edge_attr", "edge"),
        Source("edge_weight", "edge"),
        Source("image", "shape"),
        Source("volume", "shape"),
        Source("sequence", "shape"),
        Source("num_nodes", "shape"),
        Source("batch", "vertex", "shape"),  # the shape of each vertex
        Source("ptr", "shape"),  # (B + 1,) where each shape begins
    )
}


# What every Data answers, from the number of its vertices alone.
COUNTED = frozenset({"num_nodes", "batch", "ptr"})
TENSORS = frozenset(SOURCES) - COUNTED


def source(name: str, *, per: str, index: str | None = None) -> None:
    """Declare an attribute of your own data, so that nodes and layers can ask for it by name.

    Arguments:
        per: how a batch is made. "vertex", "edge", "face": the shapes' rows follow each other. "shape": the values are put on a
            new first axis: of u (3,) a batch is (B, 3), of (1, 3) it is (B, 1, 3).
        index: "vertex" where the values are vertex numbers, which a batch offsets; per edge or face these are (n, E), as
            edge_index and face.

    >>> cotan.source("temperature", per="vertex")
    >>> cotan.source("mirror", per="vertex", index="vertex")  # of each vertex its mirror image
    """
    expect("source", name, str, "the name of an attribute")
    if per not in PER:
        raise CotanError(f"source {name!r}: per={per!r}, expected one of {', '.join(PER)}")
    if index not in (None, "vertex"):
        raise CotanError(f"source {name!r}: index={index!r}, expected 'vertex'")
    declared = Source(name, per, index, sys._getframe(1).f_globals.get("__name__", ""))
    old = SOURCES.setdefault(name, declared)
    if old != declared:
        if not (typed(old.module) and typed(declared.module)):
            raise CotanError(f"source {name!r} is declared already: {old}")
        SOURCES[name] = declared
