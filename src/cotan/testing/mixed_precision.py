"""Autocast as CUDA does it, on the device of `elsewhere` too.

The CPU's casts other operations: a step that runs under it may fail on a GPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import reduce
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map

from .elsewhere import Elsewhere


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# https://docs.pytorch.org/docs/stable/amp.html, by the names under which Python calls them
NARROW = _names(
    """matmul __matmul__ __rmatmul__ mm mv bmm addmm addmv addr addbmm baddbmm einsum linear chain_matmul
    linalg_multi_dot linalg_vecdot conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d prelu
    gru_cell lstm_cell scaled_dot_product_attention"""
)
WIDE = _names(
    """acos asin cosh sinh tan erfinv exp expm1 log log2 log10 log1p pow square __pow__ __rpow__ reciprocal rsqrt
    __rtruediv__ sum prod cumsum cumprod norm linalg_norm linalg_vector_norm linalg_matrix_norm normalize dist pdist
    cdist renorm logsumexp softmax softmin log_softmax softplus layer_norm group_norm cosine_similarity cross_entropy
    nll_loss kl_div l1_loss smooth_l1_loss huber_loss mse_loss binary_cross_entropy_with_logits"""
)
WIDEST = _names("addcmul addcdiv atan2 bilinear cross dot vdot grid_sample index_put tensordot scatter_add")


@contextmanager
def mixed_precision(dtype: torch.dtype = torch.bfloat16) -> Iterator[None]:
    """`torch.autocast("cuda", dtype)`, within `another_device()` also where there is no GPU.

    >>> with another_device() as device, mixed_precision():
    ...     output = model.to(device)(x.to(device))
    """
    if torch.cuda.is_available():
        with torch.autocast("cuda", dtype):
            yield
        return
    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    torch.set_autocast_enabled("cuda", True)
    torch.set_autocast_dtype("cuda", dtype)
    try:
        with _Casts(dtype):
            yield
    finally:
        torch.set_autocast_enabled("cuda", before[0])
        torch.set_autocast_dtype("cuda", before[1])


class _Casts(TorchFunctionMode):
    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, both = getattr(func, "__name__", ""), (args, kwargs or {})
        if name in NARROW:
            both = _cast(both, self.dtype)
        elif name in WIDE:
            both = _cast(both, torch.float32)
        elif name in WIDEST:
            dtypes = {t.dtype for t in tree_leaves(both) if isinstance(t, Elsewhere) and t.is_floating_point()}
            both = _cast(both, reduce(torch.promote_types, dtypes, self.dtype))
        return func(*both[0], **both[1])


def _cast(both: Any, dtype: torch.dtype) -> Any:
    def cast(t: Any) -> Any:
        casts = isinstance(t, Elsewhere) and t.is_floating_point() and t.dtype != torch.float64
        return t.to(dtype) if casts else t

    return tree_map(cast, both)
