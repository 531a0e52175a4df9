"""Numbers apart from what torch.func makes of them: for numpy, scipy and the store."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import temporarily_clear_interpreter_stack

from .errors import CotanError


def outside() -> AbstractContextManager[Any]:
    """Outside all transforms of torch.func, which would wrap whatever is computed, constants too."""
    active = torch._C._are_functorch_transforms_active()
    return temporarily_clear_interpreter_stack() if active else nullcontext()


def constant(x: Tensor) -> Tensor:
    """The numbers of a tensor, without derivatives of any kind."""
    with outside():
        while _functorch.is_functorch_wrapped_tensor(x):
            if _functorch.is_batchedtensor(x):
                raise CotanError("torch.vmap over a shape, expected one shape at a time: make a Batch, or a loop")
            x = _functorch.get_unwrapped(x)
        return x.detach()


def array(x: Tensor) -> Any:
    """The numbers of a tensor as numpy's, on the CPU and without derivatives."""
    x = constant(x)
    with outside():
        return x.cpu().numpy()
