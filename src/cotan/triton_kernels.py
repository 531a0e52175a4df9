"""The kernels under `cotan.kernels` in Triton, for CUDA: an entry's row is gathered once, multiplied and added in registers.

One program sums one row, some entries at once; a long row is cut into parts, of which another adds the sums. All in one
order, so the numbers are the same at each run. Sums are in float32, in float64 for float64; the first part of a row that is
cut is rounded to the type of the result before the others are added. Names as in `kernels`: R rows, E entries, J weight
sets, C channels.
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
PART, MANY = 256, 2**14  # entries of a part of a row; those of a matrix from which its rows are cut
LONG = tl.constexpr(256)  # entries of a row from which a program of `softmax` takes so many at once


@triton.jit
def _span(pointer, R, P, STEPS, PART: tl.constexpr):
    """The row and the range of entries of a program: of P a part after a row's first, of the R others a row.

    Entry p PART finds the row of part p, so that nothing of the rows need be known before: a row has a part for each
    multiple of PART after its first entry, and needs no more. Where P is 0 no row is cut.
    """
    p = tl.program_id(0).to(tl.int64)
    row = p - P
    if p < P:
        row, above = p * 0, p * 0 + R
        for _ in range(STEPS):  # the last row that does not begin after the entry
            middle = (row + above) // 2
            before = tl.load(pointer + middle) <= p * PART
            row, above = tl.where(before, middle, row), tl.where(before, above, middle)
    first, end = tl.load(pointer + row).to(tl.int64), tl.load(pointer + row + 1).to(tl.int64)
    start = first
    if p < P:
        start += (p - first // PART) * PART
        if start == first:  # the row's own
            end = start
    if P > 0:
        end = tl.minimum(end, start + PART)
    return row, start, end


@triton.jit(do_not_specialize=["R", "P", "STEPS"])
def _sum_kernel(
    pointer, index, v, x, out, parts, R, P, STEPS, J, C, W, WEIGHTED: tl.constexpr, EACH: tl.constexpr,
    LESS: tl.constexpr, PART: tl.constexpr, ACC: tl.constexpr, ENTRIES: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out_r = sum over entries e of row r and j of v_ej x_{index e, j}, less out_r or not: x (N, J, C), out (R, C).

    With EACH, v_e is of C / W weights, each of W channels, and J is 1.
    """
    row, start, end = _span(pointer, R, P, STEPS, PART)
    c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there, p = c < C, tl.program_id(0).to(tl.int64)
    y = tl.zeros((BLOCK,), ACC)
    if LESS:  # first: the parts of a row that is cut are added to what is left
        if p >= P:
            y -= tl.load(out + row * C + c, mask=there, other=0.0).to(ACC)
    for first in range(start, end, PART):  # a sum for each part, also where no row is cut: it is then the same
        total, stop = tl.zeros((BLOCK,), ACC), tl.minimum(end, first + PART)
        for several in range(first, stop, ENTRIES):
            for e in tl.static_range(ENTRIES):  # their numbers are read at once, and added one after the other
                e += several
                here = there & (e + c * 0 < stop)  # of vectors: the interpreter takes no scalar beside one
                source = tl.load(index + e, mask=e < stop, other=0).to(tl.int64) * J
                for j in range(J):
                    value = tl.load(x + (source + j) * C + c, mask=here, other=0.0).to(ACC)
                    if EACH:
                        value *= tl.load(v + e * (C // W) + c // W, mask=here, other=0.0).to(ACC)
                    elif WEIGHTED:
                        value *= tl.load(v + e * J + j, mask=e < stop, other=0.0).to(ACC)
                    total += value
        y += total
    if p < P:
        tl.store(parts + p * C + c, y, mask=there)
    else:
        tl.store(out + row * C + c, y.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["R", "P", "STEPS"])
def _each_kernel(
    pointer, index, v, x, out, parts, R, P, STEPS, J, C,
    PART: tl.constexpr, ACC: tl.constexpr, SETS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """out_rj = sum over entries e of row r of v_ej x_{index e}: x (N, C), out (R, J, C)."""
    row, start, end = _span(pointer, R, P, STEPS, PART)
    c, j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, SETS)
    y = tl.zeros((SETS, BLOCK), ACC)
    for first in range(start, end, PART):
        total, stop = tl.zeros((SETS, BLOCK), ACC), tl.minimum(end, first + PART)
        for e in range(first, stop):
            source = tl.load(index + e).to(tl.int64)
            value = tl.load(x + source * C + c, mask=c < C, other=0.0).to(ACC)
            weight = tl.load(v + e * J + j, mask=j < J, other=0.0).to(ACC)
            total += weight[:, None] * value[None, :]
        y += total
    place = j[:, None] * C + c[None, :]
    there = (j[:, None] < J) & (c[None, :] < C)
    p = tl.program_id(0).to(tl.int64)
    if p < P:
        tl.store(parts + p * J * C + place, y, mask=there)
    else:
        tl.store(out + row * J * C + place, y.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["R", "P", "STEPS"])
def _join_kernel(pointer, parts, out, R, P, STEPS, N, PART: tl.constexpr, ACC: tl.constexpr, BLOCK: tl.constexpr):
    """out_r += the sums of the parts of row r, in their order: out (R, N), parts (P, N)."""
    row, start, end = _span(pointer, R, P, STEPS, PART)
    first, last = tl.load(pointer + row).to(tl.int64), tl.load(pointer + row + 1).to(tl.int64)
    if (start == first + PART) & (start < end):
        c = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
        there = c < N
        y = tl.load(out + row * N + c, mask=there, other=0.0).to(ACC)
        place = parts + tl.program_id(0).to(tl.int64) * N + c
        for _ in range(start, last, PART):
            y += tl.load(place, mask=there, other=0.0)
            place += N
        tl.store(out + row * N + c, y.to(out.dtype.element_ty), mask=there)


@triton.jit(do_not_specialize=["E"])
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
    if end - first < LONG:
        _softmax_row(first, end, s + h, out + h, H, ACC, ENTRIES)
    else:
        _softmax_row(first, end, s + h, out + h, H, ACC, LONG)


@triton.jit
def _softmax_row(first, end, s, out, H, ACC: tl.constexpr, ENTRIES: tl.constexpr):
    top = tl.full((ENTRIES,), float("-inf"), ACC)
    for start in range(first, end, ENTRIES):
        e = start + tl.arange(0, ENTRIES)
        top = tl.maximum(top, tl.load(s + e * H, mask=e < end, other=float("-inf")).to(ACC))
    largest = tl.max(top, 0)
    total = tl.zeros((ENTRIES,), ACC)
    for start in range(first, end, ENTRIES):
        e = start + tl.arange(0, ENTRIES)
        total += tl.exp(tl.load(s + e * H, mask=e < end, other=float("-inf")).to(ACC) - largest)
    whole = tl.sum(total, 0)
    for start in range(first, end, ENTRIES):
        e = start + tl.arange(0, ENTRIES)
        p = tl.exp(tl.load(s + e * H, mask=e < end, other=float("-inf")).to(ACC) - largest) / whole
        tl.store(out + e * H, p.to(out.dtype.element_ty), mask=e < end)


def _launch(kernel: Any, grid: tuple[int, int], out: Tensor, *args: Any, **constants: Any) -> Tensor:
    acc = tl.float64 if out.dtype == torch.float64 else tl.float32
    with torch.cuda.device_of(out):  # Triton launches on the current device
        kernel[grid](*args, ACC=acc, **constants)
    return out


def _block(channels: int, most: int = CHANNELS) -> int:
    return min(most, int(triton.next_power_of_2(channels)))


def _sum_rows(
    kernel: Any,
    pointer: Tensor,
    index: Tensor,
    v: Tensor,
    x: Tensor,
    out: Tensor,
    *sizes: int,
    BLOCK: int,
    **constants: Any,
) -> Tensor:
    """A kernel's sums of rows into out (R, ..., C). Whether a row is long is not asked for, which a GPU would be waited for."""
    rows, numbers = len(out), out[0].numel()
    count = triton.cdiv(len(index), PART) if len(index) >= MANY else 0
    parts = out.new_empty(count, numbers, dtype=torch.promote_types(out.dtype, torch.float32))
    span = (rows, count, rows.bit_length())
    grid = (count + rows, triton.cdiv(out.shape[-1], BLOCK))
    _launch(kernel, grid, out, pointer, index, v, x, out, parts, *span, *sizes, PART=PART, BLOCK=BLOCK, **constants)
    if count:
        grid = (count, triton.cdiv(numbers, CHANNELS))
        _launch(_join_kernel, grid, out, pointer, parts, out, *span, numbers, PART=PART, BLOCK=CHANNELS, num_warps=1)
    return out


def total(
    pointer: Tensor,
    index: Tensor,
    v: Tensor | None,
    x: Tensor,
    *,
    each: bool = False,
    out: Tensor | None = None,
    less: bool = False,
) -> Tensor:
    """(R, C): sum over e in pointer[r]:pointer[r + 1] of v_e x_{index e}; v (E,) or None and x (N, C), or (E, J), (N, J, C).

    With `each` (R, J, C) of the latter. In the place of out (R, C), where that is given, less what was there or not.
    """
    sets, channels = x.shape[1] if x.ndim == 3 else 1, x.shape[-1]
    shape = (len(pointer) - 1, *x.shape[1 if each else x.ndim - 1 :])
    out = x.new_empty(shape) if out is None else out
    if not out.numel() or not sets:
        return out.zero_()
    width = sets * channels if each else channels
    block = _block(width)
    constants = {"WEIGHTED": v is not None, "EACH": each, "LESS": less, "BLOCK": block}
    v, x, sizes = x if v is None else v.contiguous(), x.contiguous(), (1 if each else sets, width, channels)
    _sum_rows(_sum_kernel, pointer, index, v, x, out.view(len(out), width), *sizes, ENTRIES=8, num_warps=1, **constants)
    return out


def each(pointer: Tensor, index: Tensor, v: Tensor, x: Tensor) -> Tensor:
    """(R, J, C): sum over e in pointer[r]:pointer[r + 1] of v_ej x_{index e}; v (E, J), x (N, C)."""
    sets, channels = v.shape[1], x.shape[1]
    out = x.new_empty(len(pointer) - 1, sets, channels)
    if not out.numel():
        return out
    padded = int(triton.next_power_of_2(sets))
    block = _block(channels, max(1, 1024 // padded))  # 1024 sums are what a warp or two hold in registers
    v, x = v.contiguous(), x.contiguous()
    return _sum_rows(_each_kernel, pointer, index, v, x, out, sets, channels, SETS=padded, BLOCK=block, num_warps=2)


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
