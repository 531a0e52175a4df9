"""What may cross an edge of the graph, and what is done to all of it alike: cast, move, digest, collate, take apart.

A value is a Tensor, `Sparse`, `Spectrum`, a NamedTuple of values, a `Data`, or a record that JSON can say.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CotanError
from .pattern import pointer
from .sparse import Pattern, Sparse
from .spectrum import BlockDiagonal, Spectrum


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The value with `function` applied to each tensor in it; itself where that changes none of a matrix's tensors."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Sparse | Spectrum | BlockDiagonal):
        before, form = torch.utils._pytree.tree_flatten(value)
        after = [function(tensor) for tensor in before]
        same = all(a is b for a, b in zip(after, before, strict=True))
        return value if same else torch.utils._pytree.tree_unflatten(after, form)
    if _is_named_tuple(value):
        return type(value)(*(map_tensors(function, part) for part in value))
    if _is_data(value):
        copy = type(value)()
        for name in sorted(value.keys()):
            copy[name] = map_tensors(function, value[name])
        return copy
    return value


def move(value: Any, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Any:
    """The value on a device, its floating-point tensors in a dtype. Matrices that share tensors share them there too."""
    there: dict[int, tuple[Tensor, Tensor]] = {}

    def moved(t: Tensor) -> Tensor:
        if id(t) not in there:
            there[id(t)] = t, t.to(device=device, dtype=dtype if t.is_floating_point() else None)
        return there[id(t)][1]

    return map_tensors(moved, value)


def is_live(value: Any) -> bool:
    """Whether derivatives are being taken with respect to the value: then what depends on it is not stored."""
    if _is_data(value):
        return any(is_live(value[name]) for name in value.keys())
    if not isinstance(value, Tensor):
        return False
    if value.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(value):
        return True
    return torch.autograd.forward_ad.unpack_dual(value).tangent is not None


def numbers(what: str, given: Any) -> Tensor:
    """A tensor of what holds numbers."""
    try:
        return torch.as_tensor(given)
    except (TypeError, ValueError, RuntimeError):
        raise CotanError(f"{what} is a {type(given).__name__}, expected numbers") from None


def digest(value: Any) -> str:
    """A digest of the content: dtype, shape and bytes."""
    state = hashlib.blake2b(digest_size=16)
    _feed(state, value)
    return state.hexdigest()


def _feed(state: Any, value: Any) -> None:
    if isinstance(value, Tensor) and value.layout != torch.strided:
        coo = value.detach().to_sparse_coo().coalesce()
        _feed(state, [coo.indices(), coo.values(), list(coo.shape)])
    elif isinstance(value, Tensor):
        array = value.detach().cpu().contiguous()
        state.update(f"{array.dtype}{tuple(array.shape)}".encode())
        state.update(array.reshape(-1).view(torch.uint8).numpy() if array.numel() else b"")
    elif hasattr(value, "__array_interface__"):
        given = np.asarray(value)
        _feed(state, torch.as_tensor(given) if given.dtype.kind in "biufc" else given.tolist())  # else text
    elif _is_data(value):
        for name in sorted(value.keys()):
            state.update(name.encode())
            _feed(state, value[name])
    elif isinstance(value, list | tuple):
        state.update(f"[{len(value)}".encode())
        for item in value:
            _feed(state, item)
    else:
        try:
            state.update(json.dumps(value, sort_keys=True).encode())
        except TypeError as reason:
            raise CotanError(
                f"a source of type {type(value).__name__}: expected a tensor, an array, a Data, numbers or text ({reason})"
            ) from None


# --- batches ----------------------------------------------------------------------------------------------------------


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
    if _is_named_tuple(first):
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
    if _is_data(first):  # which of its numbers count vertices, it does not say
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
    if _is_named_tuple(value):
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
        block = Pattern(
            pattern.rowptr[r : r + height + 1] - low,
            pattern.col[entries] - c,
            (pattern.t_rowptr[c : c + width + 1] - low, pattern.t_col[entries] - r, pattern.t_perm[entries] - low),
            pattern.row[entries] - r,
        )
        for matrix, blocks in zip(matrices, out, strict=True):
            blocks.append(Sparse(block, matrix.values[entries].clone()))
        r, c = r + height, c + width
    return out


# --- to and from flat tensors (the store) -----------------------------------------------------------------------------


def size_of(value: Any) -> int:
    """The bytes of a value's tensors."""
    tensors: list[Tensor] = []
    take_apart(value, tensors)
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def take_apart(value: Any, tensors: list[Tensor]) -> Any:
    """A description that JSON can say; the tensors go to the list, in order."""
    if isinstance(value, Tensor):
        flat = value.detach().cpu().contiguous()
        for i, known in enumerate(tensors):  # matrices on one pattern share its tensors
            if (known.data_ptr(), known.shape, known.dtype) == (
                flat.data_ptr(),
                flat.shape,
                flat.dtype,
            ) and flat.numel():
                return {"tensor": i}
        tensors.append(flat)
        return {"tensor": len(tensors) - 1}
    if isinstance(value, Sparse):
        p = value.pattern
        return {
            "sparse": [take_apart(part, tensors) for part in (p.rowptr, p.col, p.t_perm, value.values)],
            "shape": list(p.shape),
        }
    if isinstance(value, Spectrum):
        return {"spectrum": [take_apart(part, tensors) for part in (value.values, value.vectors)]}
    if _is_named_tuple(value):
        where = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"tuple": where, "parts": [take_apart(part, tensors) for part in value]}
    if _is_data(value):
        return {"data": {name: take_apart(value[name], tensors) for name in value.keys()}}
    check_storable(value)
    return {"record": value}


def check_storable(value: Any) -> None:
    """Raise for a value of a kind that a node cannot give."""
    if isinstance(value, Tensor | Sparse | Spectrum) or _is_named_tuple(value) or _is_data(value):
        return
    try:
        if value is None:
            raise TypeError
        json.dumps(value)
    except TypeError:
        raise CotanError(
            f"a {type(value).__name__}, expected a tensor, Sparse, Spectrum, NamedTuple, Data, or numbers and text in a dict"
        ) from None


def put_together(description: Mapping[str, Any], tensors: Sequence[Tensor]) -> Any:
    """The value that `take_apart` described."""
    match description:
        case {"tensor": number}:
            return tensors[number]
        case {"sparse": parts, "shape": shape}:
            rowptr, col, t_perm, values = (put_together(part, tensors) for part in parts)
            t_rowptr = pointer(col, shape[1])
            row = torch.from_numpy(np.repeat(np.arange(shape[0]), rowptr.diff().numpy()))
            t_col = row.index_select(0, t_perm)
            return Sparse(Pattern(rowptr, col, (t_rowptr, t_col, t_perm), row), values)
        case {"spectrum": parts}:
            return Spectrum(*(put_together(part, tensors) for part in parts))
        case {"tuple": where, "parts": parts}:
            return _tuple_class(where)(*(put_together(part, tensors) for part in parts))
        case {"data": content}:
            from torch_geometric.data import Data

            return Data(**{name: put_together(part, tensors) for name, part in content.items()})
        case {"record": record}:
            return record
    raise ValueError(f"unknown description {description!r}")


def _tuple_class(where: str) -> Any:
    """A NamedTuple of a module that is imported already: a file never says what to import."""
    module, _, name = where.partition(":")
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    if not (isinstance(found, type) and issubclass(found, tuple) and hasattr(found, "_fields")):
        raise ValueError(f"{where} is not a NamedTuple of a loaded module")
    return found


def _is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_data(value: Any) -> bool:
    module = sys.modules.get("torch_geometric.data")
    return module is not None and isinstance(value, module.Data)
