"""The kernels under `cotan.kernels` in Triton, for CUDA: an entry's row is gathered once, multiplied and added in registers.

One program sums one row in the order of its entries, so the numbers are the same at each run. Sums are in float32, in
float64 for float64. Names as in `kernels`: R rows, E entries, J weight sets, C channels.
"""

# mypy: disable-error-code="untyped-decorator, no-untyped-def"
# Triton reads the signatures of its kernels: they are not typed.

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

CHANNELS = 128  # at most, in one program
ENTRIES = 32  # that one program of `sampled` and `softmax` takes at once


@triton.jit
def _sum_kernel(pointer, index, v, x, out, J, C, WEIGHTED: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out_r = sum over entries e of row r and j of v_ej x_{index e, j}: x (N, J, C), out (R, C)."""
    row = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = c < C
    total = tl.zeros((BLOCK,), ACC)
    first, end = tl.load(pointer + row).to(tl.int64), tl.load(pointer + row + 1).to(tl.int64)
    for e in range(first, end):
        at = tl.load(index + e).to(tl.int64) * J
        for j in range(J):
            value = tl.load(x + (at + j) * C + c, mask=there, other=0.0).to(ACC)
            if WEIGHTED:
                value *= tl.load(v + e * J + j).to(ACC)
            total += value
    tl.store(out + row * C + c, total.to(out.dtype.element_ty), mask=there)


@triton.jit
def _each_kernel(pointer, index, v, x, out, J, C, ACC: tl.constexpr, SETS: tl.constexpr, BLOCK: tl.constexpr):
    """out_rj = sum over entries e of row r of v_ej x_{index e}: x (N, C), out (R, J, C)."""
    row = tl.program_id(0).to(tl.int64)
    c, j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, SETS)
    total = tl.zeros((SETS, BLOCK), ACC)
    first, end = tl.load(pointer + row).to(tl.int64), tl.load(pointer + row + 1).to(tl.int64)
    for e in range(first, end):
        at = tl.load(index + e).to(tl.int64)
        value = tl.load(x + at * C + c, mask=c < C, other=0.0).to(ACC)
        weight = tl.load(v + e * J + j, mask=j < J, other=0.0).to(ACC)
        total += weight[:, None] * value[None, :]
    place = (row * J + j[:, None]) * C + c[None, :]
    tl.store(out + place, total.to(out.dtype.element_ty), mask=(j[:, None] < J) & (c[None, :] < C))


@triton.jit
def _sampled_kernel(
    row, col, a, b, out, E, J, C, A_SETS: tl.constexpr, B_SETS: tl.constexpr, ACC: tl.constexpr,
    ENTRIES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out_ej = <a_{row e, j}, b_{col e, j}>, where one of a (R, J, C) and b (N, J, C) may be without j."""
    e, j = tl.program_id(0).to(tl.int64) * ENTRIES + tl.arange(0, ENTRIES), tl.program_id(1)
    left = tl.load(row + e, mask=e < E, other=0).to(tl.int64)
    right = tl.load(col + e, mask=e < E, other=0).to(tl.int64)
    if A_SETS:
        left = left * J + j
    if B_SETS:
        right = right * J + j
    total = tl.zeros((ENTRIES,), ACC)
    for start in range(0, C, BLOCK):
        c = start + tl.arange(0, BLOCK)
        there = (e < E)[:, None] & (c < C)[None, :]
        from_a = tl.load(a + left[:, None] * C + c[None, :], mask=there, other=0.0).to(ACC)
        from_b = tl.load(b + right[:, None] * C + c[None, :], mask=there, other=0.0).to(ACC)
        total += tl.sum(from_a * from_b, 1)
    tl.store(out + e * J + j, total.to(out.dtype.element_ty), mask=e < E)


@triton.jit
def _softmax_kernel(pointer, s, out, H, ACC: tl.constexpr, ENTRIES: tl.constexpr):
    """out_eh = exp(s_eh) / sum of exp(s_h) over the row of e."""
    row, h = tl.program_id(0).to(tl.int64), tl.program_id(1)
    first, end = tl.load(pointer + row).to(tl.int64), tl.load(pointer + row + 1).to(tl.int64)
    top = tl.full((ENTRIES,), float("-inf"), ACC)
    for start in range(first, end, ENTRIES):
        e = start + tl.arange(0, ENTRIES)
        top = tl.maximum(top, tl.load(s + e * H + h, mask=e < end, other=float("-inf")).to(ACC))
    largest = tl.max(top, 0)
    total = tl.zeros((ENTRIES,), ACC)
    for start in range(first, end, ENTRIES):
        e = start + tl.arange(0, ENTRIES)
        total += tl.exp(tl.load(s + e * H + h, mask=e < end, other=float("-inf")).to(ACC) - largest)
    whole = tl.sum(total, 0)
    for start in range(first, end, ENTRIES):
        e = start + tl.arange(0, ENTRIES)
        p = tl.exp(tl.load(s + e * H + h, mask=e < end, other=float("-inf")).to(ACC) - largest) / whole
        tl.store(out + e * H + h, p.to(out.dtype.element_ty), mask=e < end)


def _launch(kernel: Any, grid: tuple[int, int], out: Tensor, *args: Any, **constants: Any) -> Tensor:
    acc = tl.float64 if out.dtype == torch.float64 else tl.float32
    with torch.cuda.device_of(out):  # Triton launches on the current device
        kernel[grid](*args, ACC=acc, **constants)
    return out


def _block(channels: int, most: int = CHANNELS) -> int:
    return min(most, int(triton.next_power_of_2(channels)))


def total(pointer: Tensor, index: Tensor, v: Tensor | None, x: Tensor) -> Tensor:
    """(R, C): sum over e in pointer[r]:pointer[r + 1] of v_e x_{index e}; v (E,) or None and x (N, C), or (E, J), (N, J, C)."""
    sets, channels = x.shape[1] if x.ndim == 3 else 1, x.shape[-1]
    out = x.new_empty(len(pointer) - 1, channels)
    if not out.numel() or not sets:
        return out.zero_()
    x, block = x.contiguous(), _block(channels)
    weights = x if v is None else v.contiguous()
    grid = (len(out), triton.cdiv(channels, block))
    args = (pointer, index, weights, x, out, sets, channels)
    return _launch(_sum_kernel, grid, out, *args, WEIGHTED=v is not None, BLOCK=block, num_warps=1)


def each(pointer: Tensor, index: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """(R, J, C): sum over e in pointer[r]:pointer[r + 1] of v_ej x_{index e}; v (E, J), x (N, C)."""
    sets, channels = v.shape[1], x.shape[1]
    out = x.new_empty(len(pointer) - 1, sets, channels)
    if not out.numel():
        return out
    padded = int(triton.next_power_of_2(sets))
    block = _block(channels, max(1, 1024 // padded))  # 1024 sums are what a warp or two hold in registers
    grid = (len(out), triton.cdiv(channels, block))
    args = (pointer, index, v.contiguous(), x.contiguous(), out, sets, channels)
    return _launch(_each_kernel, grid, out, *args, SETS=padded, BLOCK=block, num_warps=2)


def sampled(row: Tensor, col: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """(E,): <a_row, b_col>; (E, J) if a or b has J sets in the middle."""
    shape = (len(row), *(a.shape[1:-1] or b.shape[1:-1]))
    out = a.new_empty(shape)
    if not out.numel() or not a.shape[-1]:
        return out.zero_()
    sets = shape[1] if len(shape) == 2 else 1
    args = (row, col, a.contiguous(), b.contiguous(), out, len(row), sets, a.shape[-1])
    constants = {"A_SETS": a.ndim == 3, "B_SETS": b.ndim == 3, "ENTRIES": ENTRIES, "BLOCK": _block(a.shape[-1], 64)}
    return _launch(_sampled_kernel, (triton.cdiv(len(row), ENTRIES), sets), out, *args, **constants)


def softmax(pointer: Tensor, s: Tensor) -> Tensor:
    """(E, H): softmax over the entries pointer[r]:pointer[r + 1] of each row."""
    out = torch.empty_like(s, memory_format=torch.contiguous_format)
    if not out.numel():
        return out
    grid = (len(pointer) - 1, s.shape[1])
    return _launch(_softmax_kernel, grid, out, pointer, s.contiguous(), out, s.shape[1], ENTRIES=ENTRIES, num_warps=1)
