"""Values that are no tensors in `torch.compile` and `torch.export`."""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree


class Traceable:
    """A matrix that is not a tensor. torch's tracer (2.13) asks A what `A @ x` is: as `Tensor.matmul(x, A)` in `compile`,
    as `operator.matmul(A, x)` in a strict `export`.
    """

    def times(self, x: Tensor) -> Tensor:
        """A x."""
        raise NotImplementedError

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.times(x)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.compiler.is_compiling() and len(args) == 2:
            A, x = args if func in (operator.matmul, operator.mul) else args[::-1]
            if isinstance(A, cls) and func in (operator.matmul, Tensor.matmul):
                return A.times(x)
            if isinstance(A, cls) and func in (operator.mul, Tensor.mul) and hasattr(A, "scaled"):
                return A.scaled(x)
        return NotImplemented


def register(
    cls: type,
    flatten: Callable[[Any], tuple[list[Any], Any]],
    unflatten: Callable[[Any, Any], Any],
    parts: Sequence[type] = (),
) -> None:
    """Let torch take the tensors out of a value and put them back, in `torch.compile` and `torch.export`.

    `parts` are the other classes in its pickle, by which `torch.export.save` keeps the example inputs.
    """

    def with_keys(value: Any) -> tuple[list[Any], Any]:
        tensors, context = flatten(value)
        return [(_pytree.SequenceKey(i), tensor) for i, tensor in enumerate(tensors)], context

    _pytree.register_pytree_node(
        cls,
        flatten,
        unflatten,
        serialized_type_name=f"cotan.{cls.__name__}",
        flatten_with_keys_fn=with_keys,
        to_dumpable_context=lambda context: context,
        from_dumpable_context=_tuples,
    )
    torch.serialization.add_safe_globals([cls, *parts])


def register_tuple(cls: type) -> None:
    """Let `torch.export.save` keep a NamedTuple; to take one apart torch knows by itself."""
    if cls not in _pytree.SUPPORTED_NODES:
        _pytree._register_namedtuple(cls, serialized_type_name=f"{cls.__module__}.{cls.__qualname__}")
        torch.serialization.add_safe_globals([cls])


def _tuples(context: Any) -> Any:
    """JSON knows lists alone."""
    return tuple(map(_tuples, context)) if isinstance(context, list) else context
