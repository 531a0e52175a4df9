"""Rows of edges, u v or u v weight, to names of nodes and a matrix. By itself, as networkx passes over rows it does not take."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from .errors import CotanError

COMMAS = re.compile(r"[^\s,]+\s*,\s*[^\s,]+(\s*,\s*[^\s,]+)?")


def load_edgelist(path: Path, directed: bool) -> tuple[list[str], Any]:
    """The nodes, those that are numbers in their order, else as the edges have them, and the matrix (V, V) of their weights.

    Words are parted by spaces or by commas; what follows # and a line with % before it are comments.
    """
    bare = [line.partition("#")[0].strip() for line in path.read_text("utf-8-sig").splitlines()]
    lines = [line for line in bare if line and not line.startswith("%")]
    if any("{" in line for line in lines):
        return _with_attributes(lines, directed)
    if all(map(COMMAS.fullmatch, lines)):
        lines = [line.replace(",", " ") for line in lines]
    rows = [line.split() for line in lines]
    wide = 3 if rows and len(rows[0]) == 3 else 2
    if odd := next((row for row in rows if len(row) != wide), None):
        raise CotanError(f"{path} has the row {' '.join(odd)!r:.80}, expected u v in all rows, or u v weight")
    found = dict.fromkeys(name for row in rows for name in row[:2])
    ends, others = [*found][:2], [*found][2:]
    if others and not any(map(str.isdecimal, ends)) and all(map(str.isdecimal, others)):
        raise CotanError(f"{path} has {' '.join(rows[0])!r} above rows of numbers; # before it makes a comment of it")
    names = _in_order([*found])
    number = {name: i for i, name in enumerate(names)}
    u, v = (np.array([number[row[end]] for row in rows], dtype=np.int64) for end in (0, 1))
    if not directed:
        u, v = np.minimum(u, v), np.maximum(u, v)
    weights = np.array([float(row[2]) for row in rows] if wide == 3 else np.ones(len(rows)))
    edge, place = np.unique(u * len(names) + v, return_inverse=True)
    last = np.empty(len(edge))
    last[place] = weights
    of_edge = last[place]
    # NaN is refused in words of its own.
    unlike = ~(np.isclose(of_edge, weights, rtol=1e-6, atol=0) | np.isnan(of_edge))
    if unlike.any():
        i = int(unlike.argmax())
        ways = "" if directed else "; directed=True takes u v and v u for two edges"
        text = f"{path} has weights {weights[i]:.9g} and {of_edge[i]:.9g} of one edge, {' '.join(rows[i][:2])}, expected one"
        raise CotanError(text + ways)
    u, v = np.divmod(edge, max(len(names), 1))
    if not directed:
        apart = u != v
        u, v = np.concatenate([u, v[apart]]), np.concatenate([v, u[apart]])
        last = np.concatenate([last, last[apart]])
    return names, scipy.sparse.coo_array((last, (u, v)), shape=(len(names), len(names))).tocsr()  # sorted


def _with_attributes(lines: list[str], directed: bool) -> tuple[list[str], Any]:
    """Rows u v {'weight': 2.0}, as networkx writes them."""
    import networkx

    graph = networkx.parse_edgelist(lines, create_using=networkx.DiGraph if directed else networkx.Graph)
    names = _in_order(list(graph))
    return names, networkx.to_scipy_sparse_array(graph, names, dtype=float)


def _in_order(names: list[str]) -> list[str]:
    return sorted(names, key=int) if all(map(str.isdecimal, names)) else names
