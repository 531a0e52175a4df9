"""(M + t L)^-1 b, with derivatives: one factorisation on the CPU, or conjugate gradients on all columns at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.compiler import is_compiling

from ..errors import CotanError, expect
from ..sparse import Pattern, Sparse, sampled, symmetric_lu
from ..sums import apply, forward_too, looped
from ..untraced import array

Solver = Callable[[Sparse, Tensor, Tensor, Tensor], Tensor]
ENOUGH = {torch.float32: 1e-6, torch.float64: 1e-10}  # of the largest |b / m| of a column
STEPS = 10_000


def shifted_solve(laplacian: Sparse, mass: Tensor, time: float | Tensor, right: Tensor) -> Tensor:
    """y with (M + t L) y = b for a symmetric L; one step of implicit diffusion where b = M x. (V, C)

    Differentiable in L, M, t and b, in both directions and any number of times: dy = (M + t L)^-1 (db - dM y - d(t L) y),
    so a derivative is a solution too. One t on the CPU is one factorisation; t for each column are conjugate gradients
    with one product L y a step for all columns, until what is left of each, M^-1 (b - (M + t L) y), is below 1e-6
    (float64: 1e-10) of the largest |M^-1 b|: how many steps depends on the data, so compiled code calls them as one op.

    Arguments:
        laplacian: (V, V), block-diagonal for a batch. mass: (V,).
        time: t >= 0, a number or (C,), one for each column. right: b (V, C).
    """
    for what, given, kind in (("laplacian", laplacian, Sparse), ("mass", mass, Tensor), ("right", right, Tensor)):
        expect(f"shifted_solve: {what}", given, kind, f"a {kind.__name__}")
    if not isinstance(time, Tensor) and not 0 <= time < math.inf:  # of a tensor on a GPU it would wait for the device
        raise CotanError(f"shifted_solve: time={time}, expected a number of at least 0")
    if right.dtype in (torch.bfloat16, torch.float16):  # too few digits to tell how far the solution is
        wide = shifted_solve(laplacian.to(dtype=torch.float32), mass.float(), time, right.float())
        return wide.to(right.dtype)
    t = torch.as_tensor(time, dtype=right.dtype, device=right.device)
    alike = right.ndim == 2 and mass.shape == right.shape[:1] and t.shape in ((), right.shape[1:])
    if not alike or not right.is_floating_point():
        raise CotanError(
            f"shifted_solve: time {tuple(t.shape)} and right {tuple(right.shape)}, expected () or (C,) and (V, C) for a mass "
            f"{tuple(mass.shape)} (V,), of a floating-point dtype, got {right.dtype}"
        )
    one = t.ndim == 0 and right.device.type == "cpu" and right.numel() > 0
    solver = Factorised() if one and not is_compiling() else iterated
    return _solve(laplacian.values, mass, t.expand(right.shape[1]), right, laplacian.pattern, solver)


def _solve(values: Tensor, mass: Tensor, time: Tensor, right: Tensor, pattern: Pattern, solver: Solver) -> Tensor:
    return apply(_TracedSolve, _Solve, values, mass, time, right, pattern, solver)


class _TracedSolve(Function):
    """As in `sums`, a class without `jvp` for the compiler and its child for both directions."""

    @staticmethod
    def forward(values: Tensor, mass: Tensor, time: Tensor, right: Tensor, pattern: Pattern, solver: Solver) -> Tensor:
        if not is_compiling():
            return solver(Sparse(pattern, values), mass, time, right)
        return _opaque(pattern.parts, values, mass, time, right)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        values, mass, time, _, ctx.pattern, ctx.solver = inputs
        ctx.save_for_backward(values, mass, time, output)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        values, mass, time, y = ctx.saved_tensors
        back = _solve(values, mass, time, g, ctx.pattern, ctx.solver)
        wanted = ctx.needs_input_grad
        g_values = -sampled(ctx.pattern, back * time, y) if wanted[0] else None
        g_mass = -(back * y).sum(1) if wanted[1] else None
        g_time = -(back * (Sparse(ctx.pattern, values) @ y)).sum(0) if wanted[2] else None
        return g_values, g_mass, g_time, back, None, None


def _tangents(ctx: Any, *tangents: Any) -> Any:
    values, mass, time, y = ctx.saved_tensors
    d_values, d_mass, d_time, d_right = tangents[:4]
    right = torch.zeros_like(y) if d_right is None else d_right
    if d_mass is not None:
        right = right - d_mass[:, None] * y
    if d_time is not None:
        right = right - d_time * (Sparse(ctx.pattern, values) @ y)
    if d_values is not None:
        right = right - time * (Sparse(ctx.pattern, d_values) @ y)
    return _solve(values, mass, time, right, ctx.pattern, ctx.solver)


def _solutions(info: Any, in_dims: Any, *args: Any) -> tuple[Tensor, int]:
    values, mass, time, right, pattern, solver = args
    if in_dims[:3] == (None, None, None):  # one matrix, more columns
        right = right.movedim(in_dims[3], 1)
        found = _solve(values, mass, time.repeat(info.batch_size), right.flatten(1), pattern, solver)
        return found.reshape(right.shape), 1

    def one(*args: Any) -> Any:  # a factorisation is of one matrix
        return _Solve.apply(*args[:5], iterated if solver is iterated else Factorised())

    return looped(one, info.batch_size, in_dims, *args)


_Solve: Any = forward_too(_TracedSolve, _tangents, _solutions)


@torch.library.custom_op("cotan::shifted_solve", mutates_args=())
def _opaque(indices: list[Tensor], values: Tensor, mass: Tensor, time: Tensor, right: Tensor) -> Tensor:
    return iterated(Sparse(Pattern.of(indices), values), mass, time, right)


@_opaque.register_fake
def _(indices: list[Tensor], values: Tensor, mass: Tensor, time: Tensor, right: Tensor) -> Tensor:
    return torch.empty_like(right)


class Factorised:
    """The solver of one t, by a sparse factorisation that is made once and kept for the derivatives."""

    def __init__(self) -> None:
        self.factor: Any = None

    def __call__(self, laplacian: Sparse, mass: Tensor, time: Tensor, b: Tensor) -> Tensor:
        from scipy.sparse import diags_array

        if self.factor is None:
            self.factor = symmetric_lu(((laplacian * time[0]).to_scipy() + diags_array(array(mass))).astype("float64"))
        return torch.from_numpy(self.factor.solve(array(b.double()))).to(b.dtype)


def iterated(laplacian: Sparse, mass: Tensor, time: Tensor, b: Tensor) -> Tensor:
    """Conjugate gradients scaled by the diagonal, for t of each column."""
    m = mass[:, None]
    inverse = 1 / (m + time * laplacian.diagonal()[:, None])
    # The error is at most what is left in the norm of M, where (I + t M^-1 L)^-1 is a contraction.
    enough = ENOUGH[b.dtype] * (b / m).abs().amax(0)
    least = torch.finfo(b.dtype).tiny
    x, r = torch.zeros_like(b), b
    d = inverse * r
    rho = (r * d).sum(0)
    for step in range(STEPS):
        if step % 5 == 0 and not bool(((r / m).abs() > enough).any()):  # NaN is not larger: it ends here
            return x + (b - b)  # NaN where b is
        image = torch.addcmul(m * d, time, laplacian @ d)
        alpha = rho / (d * image).sum(0).clamp_min(least)
        x, r = torch.addcmul(x, alpha, d), torch.addcmul(r, alpha, image, value=-1)
        scaled = inverse * r
        rho, before = (r * scaled).sum(0), rho
        d = torch.addcmul(scaled, rho / before.clamp_min(least), d)
    raise CotanError(
        f"(M + t L) y = b: conjugate gradients did not converge in {STEPS} steps, t up to {float(time.max()):.3g}; "
        "expected shorter times, or triangles that are less thin"
    )
