"""An OFF file to vertices, faces and colours. By itself, as trimesh leaves out colours and takes what is left of a cut file."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from .errors import CotanError, MeshWarning

# Some of ModelNet have no line break after OFF; the word may be left out.
# What is once matched is kept (++): to try it anew takes hours in a file that is made for that.
HEAD = re.compile(r"\s*+((?:ST)?C?N?OFF)?\s*+(\d++)\s++(\d++)(?!\S)")


def load_off(path: Path) -> tuple[Tensor, Tensor, Tensor | None]:
    """Vertices (V, 3) in float64, faces (3, F), polygons as fans of triangles, and colours (V, 3) if there are any."""
    from trimesh.geometry import triangulate_quads

    text = re.sub("#.*", "", path.read_text("utf-8-sig", errors="replace"))
    if re.match(r"\s*(ST)?C?N?(4n?|n)OFF", text):
        raise CotanError(f"{path} holds points of four or more dimensions, expected three")
    head = HEAD.match(text)
    unreadable = f"{path} cannot be read as a mesh; is it a whole .off file?"
    if head is None:
        raise CotanError(f"{unreadable} (it does not begin with OFF and the numbers of vertices and faces)")
    if not int(head[2]):
        raise CotanError(f"{path} has no vertices")
    word, vertices, faces, rest = head[1] or "OFF", int(head[2]), int(head[3]), text[head.end() :]
    if word == "OFF" and (plain := _triangles(rest, vertices, faces)) is not None:
        return *plain, None
    lines = [line.split() for line in rest.partition("\n")[2].splitlines() if line.strip()]
    rows, polygons = lines[:vertices], lines[vertices : vertices + faces]
    if len(polygons) < faces:
        raise CotanError(f"{path} ends after {len(polygons)} of its {faces} faces")
    try:
        pos = np.array([row[:3] for row in rows], dtype=np.float64).reshape(vertices, 3)
        corners = [[int(i) for i in line[1 : 1 + int(line[0])]] for line in polygons]
    except ValueError as reason:
        raise CotanError(f"{unreadable} ({reason})") from reason
    whole = [each for each, line in zip(corners, polygons, strict=True) if len(each) == int(line[0])]
    if len(whole) < faces:
        raise CotanError(
            f"{path} states {faces} faces and has {len(whole)} with all their corners; is it a whole file?"
        )
    of_three = [each for each in whole if len(each) > 2]
    warn_of_small(path, faces - len(of_three), stacklevel=6)
    face = torch.tensor(np.asarray(triangulate_quads(of_three)), dtype=torch.long).reshape(-1, 3).T.contiguous()
    first = 6 if "N" in word else 3
    return torch.from_numpy(pos), face, _colors([row[first : first + 4] for row in rows]) if "C" in word else None


def warn_of_small(path: Path, count: int, stacklevel: int) -> None:
    """A warning where some faces have fewer than three corners, which trimesh leaves out without a word."""
    if count > 0:
        text = f"{path}: {count} faces of fewer than three corners are left out"
        warnings.warn(text, MeshWarning, stacklevel=stacklevel)


def _triangles(text: str, vertices: int, faces: int) -> tuple[Tensor, Tensor] | None:
    """Vertices and faces where the file has triangles and no more, its numbers read in one step; else None.

    The number of edges comes first. Lines mean nothing: each number may be on one of its own, or all on one.
    """
    try:
        numbers = np.fromstring(text, sep=" ")
        # An older numpy ends at what is no number, with a warning, if any: 1O would be face corner 1.
        if len(numbers) != 1 + 3 * vertices + 4 * faces or numbers[-1] != float(text.rsplit(None, 1)[-1]):
            return None
    except (DeprecationWarning, ValueError):  # of what is no number
        return None
    numbers = numbers[1:]
    corners = torch.from_numpy(numbers[3 * vertices :]).view(-1, 4)
    if bool((corners[:, 0] != 3).any() or (corners % 1 != 0).any()):
        return None
    return torch.from_numpy(numbers[: 3 * vertices]).view(-1, 3), corners[:, 1:].long().T.contiguous()


def _colors(words: Sequence[Sequence[str]]) -> Tensor | None:
    """Geomview's from 0 to 1, others' from 0 to 255, with opacity or without."""
    try:
        shades = torch.tensor([[float(word) for word in row] for row in words])
    except ValueError:
        return None
    if shades.ndim != 2 or shades.shape[1] < 3:
        return None
    return (shades[:, :3] / (255 if shades.max() > 1 else 1)).clamp(0, 1)
