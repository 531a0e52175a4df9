"""Points in rows of numbers, x y z first: .xyz .pts .txt, separated by spaces or commas, and .npy."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import CotanError, MeshWarning

POINTS = (".xyz", ".pts", ".txt", ".npy")
COLUMNS = 9  # that points may well have: places, colours and normals
ATOM = re.compile(r"\s*[A-Z][a-z]?\s+[-+.\d]")
OF_MATRIX = (
    "Of a matrix A of weights, edge_index, weight = torch_geometric.utils.dense_to_sparse(torch.from_numpy(A)) makes "
    "Data(edge_index=edge_index, edge_weight=weight, num_nodes=len(A))"
)


def load_points(path: Path) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Positions (V, 3) in float64, and colours and normals (V, 3) where columns 4 to 6 are such.

    Normals are of length one in every row, to the two digits that a file has at least; colours are whole, 0 to 255.
    A scanner's .pts has seven columns, and the intensity before the colours (paulbourke.net/dataformats/pts).
    """
    try:
        rows = np.load(path, allow_pickle=False) if path.suffix.lower() == ".npy" else _rows(path)
        rows = np.asarray(rows, dtype=np.float64)
    except CotanError:
        raise
    except Exception as reason:  # numpy's reader of a broken header raises anything
        raise CotanError(f"{path} cannot be read as points, rows of x y z and more numbers: {reason}") from reason
    if rows.ndim != 2 or rows.shape[1] < 3:
        edges = "; rows of edges, u v, are an .edgelist" * (rows.shape[1:] == (2,))
        raise CotanError(f"{path} holds numbers of shape {rows.shape}, expected rows of x y z, (V, 3) or more{edges}")
    if not len(rows):
        raise CotanError(f"{path} has no points")
    square, anything = rows.shape[0] == rows.shape[1] > 3, path.suffix.lower() in (".txt", ".npy")
    like_weights = anything and (np.array_equal(rows, rows.T) or not rows.diagonal().any())
    if square and (len(rows) > COLUMNS or like_weights):
        raise CotanError(f"{path} holds a square matrix, {rows.shape}, and no points. {OF_MATRIX}")
    columns = torch.from_numpy(rows)
    before = 4 if path.suffix.lower() == ".pts" and columns.shape[1] == 7 else 3
    pos, more, color, normal = columns[:, :3], columns[:, before : before + 3], None, None
    if more.shape[1] == 3 and bool(((torch.linalg.vector_norm(more, dim=1) - 1).abs() < 0.01).all()):
        normal = more
    elif more.shape[1] == 3 and bool(((more >= 0) & (more <= 255) & (more % 1 == 0)).all()):
        color = (more / 255).float()
    known = normal is not None or color is not None
    left_out = [n + 1 for n in range(3, columns.shape[1]) if not known or not before <= n < before + 3]
    if left_out:
        which = f"column {left_out[0]}" if len(left_out) == 1 else f"columns {left_out[0]} to {left_out[-1]}"
        these = f"columns {before + 1} to {before + 3}"
        expected = "" if known else f": {these} are read as colours, whole from 0 to 255, or as unit normals"
        warnings.warn(f"{path}: {which} left out{expected}", MeshWarning, stacklevel=4)
    return pos, color, normal


def _rows(path: Path) -> np.ndarray:
    """The numbers of a text; how many points there are may stand before them."""
    lines = [
        line for line in re.sub("#.*", "", path.read_text("utf-8-sig", errors="replace")).splitlines() if line.strip()
    ]
    stated = int(lines.pop(0)) if lines and re.fullmatch(r"\s*\d+\s*", lines[0]) else len(lines)
    if any(map(ATOM.match, lines[:2])):  # a molecule, whose second line says anything
        places = "numpy.loadtxt(path, skiprows=2, max_rows=N, usecols=(1, 2, 3)) reads their places"
        raise ValueError(f"its rows begin with names, as of atoms; {places}")
    if stated != len(lines):
        raise CotanError(f"{path} states {stated} points and has {len(lines)}; is it a whole file?")
    return np.loadtxt(lines, delimiter="," if "," in lines[0] else None, ndmin=2) if lines else np.empty((0, 3))
