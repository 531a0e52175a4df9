"""How `A @ x` with A no tensor stays in one graph under `torch.compile`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Traceable:
    """A matrix that is not a tensor. torch's tracer (2.13) turns `A @ x` into `Tensor.matmul(x, A)` and asks A what it is."""

    def times(self, x: Tensor) -> Tensor:
        """A x."""
        raise NotImplementedError

    def __matmul__(self, x: Tensor) -> Tensor:
        return self.times(x)

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if torch.compiler.is_compiling() and len(args) == 2 and isinstance(args[1], cls):
            if func is Tensor.matmul:
                return args[1].times(args[0])
            if func is Tensor.mul and hasattr(args[1], "scaled"):
                return args[1].scaled(args[0])
        return NotImplemented
