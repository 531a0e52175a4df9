"""Where and how exactly training computes: device, precision, randomness."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from ..errors import CotanError
from .recipe import Recipe


def make_fabric(recipe: Recipe) -> Any:
    """Fabric for a recipe's device and precision."""
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments.lightning import LightningEnvironment

    kind, _, number = recipe.device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and not (kind == "cuda" and number.isdigit())):
        raise CotanError(f"device {recipe.device!r}, expected auto, cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise CotanError("device 'cuda': there is none; expected 'auto' or 'cpu' here")
    if kind == "auto":  # Fabric's own choice on a Mac is mps, which has no float64: metrics and geometry are in it
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    precision: Any = {"32": "32-true", "bf16": "bf16-mixed"}[recipe.precision]
    alone = LightningEnvironment()  # whatever a cluster's scheduler says of other tasks of its job
    return Fabric(accelerator=kind, devices=[int(number)] if number else 1, precision=precision, plugins=[alone])


def keep_pages(device: torch.device) -> None:
    """Keep freed memory of the CPU in the process (with glibc): mapping and clearing pages anew takes up to a tenth of a
    training step, and nearly half of a forward pass without derivatives on large shapes.
    """
    here = sys.platform == "linux" and device.type == "cpu"
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if here else None
    for threshold in (-1, -3):  # M_TRIM_THRESHOLD, M_MMAP_THRESHOLD
        if mallopt is not None:
            mallopt(threshold, 2**30)


@contextmanager
def own_randomness() -> Iterator[None]:
    """Leave the caller's random generators as they were. On CUDA use deterministic algorithms, so that results repeat."""
    before = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    fill = memory.fill_uninitialized_memory
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        try:
            if torch.cuda.is_available():
                # cuBLAS repeats its numbers in a workspace of this size, and is asked once, at its first product.
                os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
                torch.use_deterministic_algorithms(True, warn_only=True)
                memory.fill_uninitialized_memory = False  # it only takes time: nothing here reads such memory
            yield
        finally:
            torch.use_deterministic_algorithms(before, warn_only=warn_only)
            memory.fill_uninitialized_memory = fill
