"""What may cross an edge of the graph, and what is done to all of it alike: cast, move, digest, take apart.

A value is a Tensor, `Sparse`, `Spectrum`, a NamedTuple of values, a `Data`, or a record that JSON can say.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .errors import CotanError
from .sparse import Pattern, Sparse
from .spectrum import BlockDiagonal, Spectrum


def map_tensors(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The value with `function` applied to each tensor in it; itself where that changes none of a matrix's tensors."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, Sparse):
        pattern, values = value.pattern.map(function), function(value.values)
        return value if pattern is value.pattern and values is value.values else Sparse(pattern, values)
    if isinstance(value, Spectrum | BlockDiagonal):
        before, form = torch.utils._pytree.tree_flatten(value)
        after = [function(tensor) for tensor in before]
        same = all(a is b for a, b in zip(after, before, strict=True))
        return value if same else torch.utils._pytree.tree_unflatten(after, form)
    if is_named_tuple(value):
        return type(value)(*(map_tensors(function, part) for part in value))
    if is_data(value):
        copy = type(value)()
        for name in sorted(value.keys()):
            copy[name] = map_tensors(function, value[name])
        return copy
    return value


def move(value: Any, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Any:
    """The value on a device, its floating-point tensors in a dtype. Matrices that share tensors share them there too."""
    if isinstance(value, Sparse) and device == value.device and dtype in (None, value.dtype):
        return value  # at once: most are there
    there: dict[int, tuple[Tensor, Tensor]] = {}
    # On the way to a GPU its work is not waited for; but pinned memory may be written over before it is read.
    to_gpu = str(device).startswith("cuda")

    def moved(t: Tensor) -> Tensor:
        if id(t) not in there:
            to = dtype if t.is_floating_point() else None
            there[id(t)] = t, t.to(device=device, dtype=to, non_blocking=to_gpu and not t.is_pinned())
        return there[id(t)][1]

    return map_tensors(moved, value)


def whole(value: Any) -> Any:
    """The value, its matrices with all their tensors: torch.compile and torch.func are to meet no others."""
    if isinstance(value, Sparse):
        value.pattern.whole()
    elif is_named_tuple(value):
        for part in value:
            whole(part)
    return value


def is_live(value: Any) -> bool:
    """Whether derivatives are being taken with respect to the value: then what depends on it is not stored."""
    if not isinstance(value, Tensor):
        return is_data(value) and any(is_live(value[name]) for name in value.keys())
    recorded = value.requires_grad and torch.is_grad_enabled()
    if recorded or torch._C._functorch.is_functorch_wrapped_tensor(value):
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
    elif is_data(value):
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
            node = "; an operator of yours can give a Sparse" if isinstance(value, Sparse) else ""
            raise CotanError(
                f"a source of type {type(value).__name__}: expected a tensor, an array, a Data, numbers or text{node} ({reason})"
            ) from None


# --- to and from flat tensors (the store) -----------------------------------------------------------------------------


def size_of(value: Any) -> int:
    """The bytes of a value's tensors."""
    if isinstance(value, Sparse):  # the most common of small values, whose number tells
        p = value.pattern
        return sum(part.nbytes for part in (p.rowptr, p.col, p.t_perm, value.values))
    tensors: list[Tensor] = []
    take_apart(value, tensors)
    return sum(tensor.nbytes for tensor in tensors)


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
            "shape": [len(p.rowptr) - 1, p.columns],
        }
    if isinstance(value, Spectrum):
        return {"spectrum": [take_apart(part, tensors) for part in (value.values, value.vectors)]}
    if is_named_tuple(value):
        where = f"{type(value).__module__}:{type(value).__qualname__}"
        return {"tuple": where, "parts": [take_apart(part, tensors) for part in value]}
    if is_data(value):
        return {"data": {name: take_apart(value[name], tensors) for name in value.keys()}}
    check_storable(value)
    return {"record": value}


def check_storable(value: Any) -> None:
    """Raise for a value of a kind that a node cannot give."""
    if is_named_tuple(value) or is_data(value):
        for part in value if is_named_tuple(value) else (value[name] for name in value.keys()):
            check_storable(part)
        return
    held = value.values if isinstance(value, Sparse) else value
    if isinstance(held, Tensor) and held.dtype == torch.complex128:  # which safetensors does not know
        raise CotanError("torch.complex128, expected torch.complex64, or real numbers: torch.view_as_real(...)")
    if isinstance(value, Tensor | Sparse | Spectrum):
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
            return Sparse(Pattern.sketched(rowptr, col, t_perm, shape[1]), values)
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


def is_named_tuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def is_data(value: Any) -> bool:
    module = sys.modules.get("torch_geometric.data")
    return module is not None and isinstance(value, module.Data)
