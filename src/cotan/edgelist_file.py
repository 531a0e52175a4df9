"""Rows of edges to names of nodes and a matrix. By itself, as networkx passes over rows that it does not take."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse

from .errors import CotanError

COMMAS = re.compile(r"[^\s,;]+\s*,\s*[^\s,;]+(\s*,\s*([^\s,;]+|{.*}))?")


def load_edgelist(path: Path, directed: bool) -> tuple[list[str], Any]:
    """The nodes, those that are numbers in their order, else as the edges have them, and the matrix (V, V) of their weights.

    A row is u v, u v weight or, as networkx writes it, u v {'weight': 2.0}, with spaces or commas between. What follows #
    and a line that begins with % are comments.
    """
    bare = [line.partition("#")[0].strip() for line in path.read_text("utf-8-sig").splitlines()]
    lines = [line for line in bare if line and not line.startswith("%")]
    if all(map(COMMAS.fullmatch, lines)):
        lines = [line.replace(",", " ", 2) for line in lines]
    rows = [line.split(maxsplit=2) for line in lines]
    below = (name for row in rows[1:] for name in row[:2])
    if len(rows) > 1 and len(rows[0]) > 1 and not any(map(_is_number, rows[0][:2])) and all(map(_is_number, below)):
        raise CotanError(f"{path} has {lines[0]!r:.80} above rows of numbers; # before it makes a comment of it")
    names = [*dict.fromkeys(name for row in rows for name in row[:2])]
    if all(map(str.isdecimal, names)):
        names.sort(key=int)
    number = {name: i for i, name in enumerate(names)}
    weighted = bool(rows) and len(rows[0]) == 3 and not rows[0][2].startswith("{")
    weights: dict[tuple[int, int], float] = {}
    for line, row in zip(lines, rows):
        try:
            weight = _weight(row, weighted)
        except (AttributeError, SyntaxError, TypeError, ValueError):
            raise CotanError(f"{path} has the row {line!r:.80}, expected u v in all rows, or u v weight") from None
        u, v = number[row[0]], number[row[1]]
        for edge in ((u, v),) if directed else ((u, v), (v, u)):
            known = weights.get(edge, weight)
            if known is not weight and not math.isclose(known, weight, rel_tol=1e-6):
                ways = "" if directed else "; directed=True takes u v and v u for two edges"
                raise CotanError(
                    f"{path} has weights {known:.9g} and {weight:.9g} of one edge, {row[0]} {row[1]}, expected one{ways}"
                )
            weights[edge] = weight
    edges = np.array([*weights], dtype=np.int64).reshape(-1, 2)
    matrix = scipy.sparse.coo_array(([*weights.values()], edges.T), shape=(len(names), len(names)))
    return names, matrix.tocsr()  # sorted


def _is_number(name: str) -> bool:
    return name.removeprefix("-").isdecimal()


def _weight(row: list[str], weighted: bool) -> float:
    if weighted:
        _, _, weight = row
        return float(weight)
    _, _, *attributes = row
    return float(ast.literal_eval(*attributes).get("weight", 1)) if attributes else 1.0
