"""Values of several shapes as those of one batch, and back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any

import torch
from torch import Tensor

from .errors import CotanError
from .sparse import Pattern, Sparse
from .spectrum import Spectrum
from .values import is_data, is_named_tuple


def collate(
    values: Sequence[Any],
    *,
    per: str | None,
    index: str | None = None,
    vertices: Sequence[int] = (),
    name: str = "value",
) -> Any:
    """One value for a batch of shapes. A batch of one vertex, edge or face value is the value itself.

    Arguments:
        values: one a shape.
        per: tensors per vertex, edge or face follow each other; per shape they are stacked, (B, ...).
        index: "vertex" for vertex numbers, which are offset by the shapes before; "shape" for shape numbers.
        vertices: V of each shape.
        name: of the node, for messages.
    """
    first = values[0]
    if name == "ptr":
        return torch.cat([first[:1], torch.stack([v[1] for v in values]).cumsum(0)])
    if isinstance(first, Sparse):
        return Sparse.block_diagonal(values)
    if isinstance(first, Spectrum):
        return Spectrum.block_diagonal(values)
    if is_named_tuple(first):
        # Patterns of one shape may be two objects on the same tensors, made where the values were cast.
        if all(isinstance(part, Sparse) and part.col is value[0].col for value in values for part in value):
            one, *others = zip(*values, strict=True)
            whole = Sparse.block_diagonal(one)
            return type(first)(whole, *(Sparse.block_diagonal(part, whole.pattern) for part in others))
        parts = [
            collate(part, per=per, index=index, vertices=vertices, name=name) for part in zip(*values, strict=True)
        ]
        return type(first)(*parts)
    if isinstance(first, Tensor):
        return _collate_tensors(values, per, index, vertices, name)
    if name == "num_nodes":
        return sum(values)
    if isinstance(first, bool | int | float):
        return torch.tensor(values)
    if is_data(first):  # which of its numbers count vertices, it does not say
        raise CotanError(
            f"node {name!r} gives a Data: ask for what you need of it, as cotan.node('edge_index', on=...)"
        )
    return list(values)


def _collate_tensors(
    values: Sequence[Tensor], per: str | None, index: str | None, vertices: Sequence[int], name: str
) -> Tensor:
    if per is None:
        raise CotanError(
            f"node {name!r} gives a tensor, so its operator says per='vertex', 'edge', 'face' or 'shape'; for an attribute "
            f"of your own data, cotan.source({name!r}, per=...) does"
        )
    # As in PyG, vertex numbers per edge or face are laid out (n, E); all else leads with its element.
    dim = -1 if index == "vertex" and per in ("edge", "face") else 0
    sizes = {tuple(v.shape if per == "shape" else v.shape[:-1] if dim else v.shape[1:]) for v in values}
    if len(sizes) > 1:
        raise CotanError(f"node {name!r} has another shape on each shape of the batch: {sorted(sizes)}")
    if per == "shape":
        return torch.stack(list(values))
    if index is not None and len(values) > 1:
        shifts = accumulate(vertices, initial=0) if index == "vertex" else range(len(values))
        values = [v + shift for v, shift in zip(values, shifts)]
    return values[0] if len(values) == 1 else torch.cat(list(values), dim=dim)


def uncollate(
    value: Any,
    vertices: Sequence[int],
    *,
    per: str | None = "vertex",
    index: str | None = None,
    elements: Sequence[int] | None = None,
) -> list[Any]:
    """A batch's value cut back into one a shape, with tensors of its own.

    Arguments:
        per, index: as in `collate`. elements: how many vertices, edges or faces each shape has; by default `vertices`, or
            what vertex numbers say.
    """
    if isinstance(value, Sparse):
        return _cut_sparse([value], vertices)[0]
    if isinstance(value, Spectrum):
        if isinstance(value.vectors, Tensor):
            return [value]
        cut = zip(value.values.split(value.sizes), value.vectors.blocks(), strict=True)
        return [Spectrum(values, vectors) for values, vectors in cut]
    if is_named_tuple(value):
        if all(isinstance(part, Sparse) and part.pattern is value[0].pattern for part in value):
            parts = _cut_sparse(value, vertices)
        else:
            parts = [uncollate(part, vertices, per=per, index=index, elements=elements) for part in value]
        return [type(value)(*shape) for shape in zip(*parts, strict=True)]
    if per == "shape":
        return list(value.unbind(0))
    starts = [0, *accumulate(vertices)]
    if index == "vertex" and elements is None:
        bounds = torch.tensor(starts[1:-1], device=value.device)
        first = value.reshape(len(value), -1)[:, 0] if per == "vertex" else value[0]
        owner = torch.bucketize(first.contiguous(), bounds, right=True)
        elements = torch.bincount(owner, minlength=len(vertices)).tolist()
    if elements is None and per != "vertex":
        raise CotanError(f"values per {per} do not say where a shape begins; cut the values per vertex or per shape")
    pieces = value.split(list(elements or vertices), -1 if index == "vertex" and per != "vertex" else 0)
    return [piece - start if index == "vertex" else piece.clone() for piece, start in zip(pieces, starts)]


def _cut_sparse(matrices: Sequence[Sparse], vertices: Sequence[int]) -> list[list[Sparse]]:
    """The blocks of block-diagonal matrices with one pattern, of the same number of rows, and of columns, for every vertex."""
    pattern = matrices[0].pattern
    rows, cols = ([v * (size // max(sum(vertices), 1)) for v in vertices] for size in pattern.shape)
    out: list[list[Sparse]] = [[] for _ in matrices]
    r = c = 0
    ends = pattern.rowptr[[0, *accumulate(rows)]].tolist()
    for (low, high), height, width in zip(pairwise(ends), rows, cols, strict=True):
        entries = slice(low, high)
        rowptr = pattern.rowptr[r : r + height + 1] - low
        block = Pattern.sketched(rowptr, pattern.col[entries] - c, pattern.t_perm[entries] - low, width)
        for matrix, blocks in zip(matrices, out, strict=True):
            blocks.append(Sparse(block, matrix.values[entries].clone()))
        r, c = r + height, c + width
    return out
