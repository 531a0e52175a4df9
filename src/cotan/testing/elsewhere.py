"""A device that is not there: tensors that say they are on cuda and are computed on the CPU.

Code that mixes devices, forgets `device=` or takes `.numpy()` of what is on a GPU fails here as it does there, on any machine.

What torch sees is a tensor on its device "meta", since autograd has no place for "cuda" in a build without it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

PLACE, BELOW = torch.device("cuda:0"), torch.device("meta")  # what the tensors say, and what torch sees
aten = torch.ops.aten
MOVES = (aten.copy_, aten._to_copy, aten._copy_from)
INDEXED = (aten.index, aten.index_put, aten.index_put_, aten._index_put_impl_)  # torch moves their indices itself
JOINED = (aten.cat, aten.stack)
PRODUCTS = (aten.mm, aten.addmm, aten.bmm, aten.baddbmm, aten.mv, aten.addmv, aten.dot)
LACKING = {aten._embedding_bag_per_sample_weights_backward: torch.bfloat16}  # no kernel (pytorch issue 185808)
MAKERS = (torch.tensor, torch.as_tensor, torch.asarray)  # of what is no tensor; for "meta" they leave it out


@contextmanager
def another_device() -> Iterator[torch.device]:
    """A device other than the CPU: the GPU where there is one, else one that is pretended as long as this lasts.

    >>> with another_device() as device:
    ...     cotan.compute(data.to(device), "laplacian")
    """
    if torch.cuda.is_available():
        yield torch.device("cuda:0")
        return
    derivatives: Any = torch.autograd
    run = derivatives._engine_run_backward

    def backward(*args: Any, **kwargs: Any) -> Any:
        with _Calls():  # torch lets go of it in each of its functions, and this one calls others
            return run(*args, **kwargs)

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # what follows is known to one thread only
    try:
        with _Calls(), _Operations(), patch.object(derivatives, "_engine_run_backward", backward):
            yield PLACE
    finally:
        torch.set_num_threads(threads)


class Elsewhere(Tensor):
    """A tensor `here`, on the CPU, that says it is on cuda."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> Elsewhere:
        out = Tensor._make_wrapper_subclass(cls, here.shape, strides=here.stride(), dtype=here.dtype, device=BELOW)
        out.here = here  # type: ignore[attr-defined]
        return out

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return PLACE if torch._C._len_torch_function_stack() else BELOW  # torch's own functions are given what it sees

    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _run(func, args, kwargs or {})

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.here!r} on {PLACE}"


class _Operations(TorchDispatchMode):
    """Every operation, of tensors that are made and of those that are there."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Calls(TorchFunctionMode):
    """Every call, to say "meta" where it says "cuda", and for what goes past the operations."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if isinstance(first, Elsewhere):
            if func is Tensor.numpy:
                raise TypeError(
                    f"can't convert {PLACE} device type tensor to numpy: .cpu() copies it to the host first"
                )
            if func is Tensor.tolist:
                return first.here.tolist()
            if func is Tensor.new_tensor:
                return torch.tensor(*args[1:], **{"dtype": first.dtype, **kwargs}).to(BELOW)
            if func == Tensor.data.__set__:  # type: ignore[attr-defined]
                first.here = args[1].here
            if func in (Tensor.__getitem__, Tensor.__setitem__):
                where = args[1] if isinstance(args[1], tuple) else (args[1],)
                args = (first, tuple(torch.tensor(i) if isinstance(i, list) else i for i in where), *args[2:])
        if func is Tensor.cuda:
            return first.to(BELOW)  # type: ignore[union-attr]
        device = kwargs.get("device")
        if func in MAKERS and device is not None and not isinstance(first, Tensor) and _below(device) == BELOW:
            return func(*args, **{**kwargs, "device": "cpu"}).to(BELOW)
        args = [_below(a) if isinstance(a, torch.device) or func is Tensor.to else a for a in args]
        return func(*args, **({**kwargs, "device": _below(device)} if device is not None else kwargs))


def _below(device: Any) -> Any:
    if isinstance(device, str) and device.startswith("cuda"):
        return BELOW
    return BELOW if isinstance(device, torch.device) and device.type == "cuda" else device


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """An operation on the CPU, where all its tensors are on one device; what it gives is on theirs, or on that asked for."""
    flat = list(_flat((*args, *kwargs.values())))
    there = [t for t in flat if isinstance(t, Elsewhere)]
    away = bool(there) if kwargs.get("device") is None else kwargs["device"] == BELOW
    _check(func, args, flat, there, away)
    if there:
        args, kwargs = _each(_here, args), {name: _each(_here, value) for name, value in kwargs.items()}
    if kwargs.get("device") == BELOW:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if func.overloadpacket is aten._efficientzerotensor:  # of forward mode: it has no numbers to be kept `here`
        func = aten.zeros.default
    out = func(*args, **kwargs)
    known = {id(t.here): t for t in there}  # what works in place gives what it was given
    return _each(lambda t: known[id(t)] if id(t) in known else Elsewhere(t), out) if away else out


def _flat(values: Iterable[Any]) -> Iterator[Any]:
    """An operation's arguments, which lie in lists and tuples. Torch's walk of any tree takes longer than the operation."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _flat(value)
        else:
            yield value


def _each(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """The same with each of its tensors changed."""
    if isinstance(value, list | tuple):
        return type(value)([_each(change, part) for part in value])
    return change(value) if isinstance(value, Tensor) else value


def _here(tensor: Tensor) -> Tensor:
    return tensor.here if isinstance(tensor, Elsewhere) else tensor


def _check(func: Any, args: Any, flat: list[Any], there: list[Elsewhere], away: bool) -> None:
    """Raise where a GPU would."""
    if away and any(isinstance(a, torch.Generator) for a in flat):
        raise RuntimeError(f"{func}: a generator of the CPU for a tensor on {PLACE}")
    if not there:
        return
    name = func.overloadpacket
    if name in PRODUCTS and not there[0].is_floating_point():
        raise RuntimeError(f"{func}: CUDA multiplies no matrices of {there[0].dtype}")
    if there[0].dtype == LACKING.get(name):
        raise NotImplementedError(f"{func} is not there for {there[0].dtype} on CUDA")
    if func.namespace == "mkldnn":
        raise NotImplementedError(f"{func} is not there for CUDA")
    rest = args[2:] if name in INDEXED and isinstance(args[0], Elsewhere) else flat
    mixed = [t for t in rest if isinstance(t, Tensor) and not isinstance(t, Elsewhere) and (t.ndim or name in JOINED)]
    if mixed and name not in MOVES:  # a number, of no dimension, may come from the CPU
        raise RuntimeError(
            f"{func}: tensors on {PLACE} and cpu, where one device is expected; "
            f"that on the cpu is {tuple(mixed[0].shape)} of {mixed[0].dtype}"
        )
