"""Sums over the entries of a sparse pattern, differentiable in both directions and any number of times.

Two pairs close under differentiation, so none needs more than itself for the second derivative:

    product  y_r = sum_e v_e x_{col e}        sampled  s_e = <a_{row e}, b_{col e}>     (e: the entries of row r)
    collect  y_r = sum_e s_e                  spread   s_e = x_{row e}                  (or of a column)

Every function has two classes. In torch 2.13 one with a `jvp` does not compile in one graph, and one without raises in
forward mode: the traced class has none, its child (`forward_too`) adds it. `apply` takes the one that is wanted; in
reverse mode alone neither but a plain Function, and without gradients the kernel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache, wraps
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch._C import _functorch
from torch._functorch.pyfunctorch import retrieve_current_functorch_interpreter
from torch.autograd import Function
from torch.autograd.forward_ad import _set_fwd_grad_enabled
from torch.compiler import is_compiling
from torch.utils._pytree import tree_map_only

from . import kernels
from .errors import CotanError
from .pattern import Pattern


def watched() -> bool:
    """Whether a compiler, torch.func or forward mode may ask more of a Function than its backward."""
    forward_mode = torch.autograd.forward_ad._current_level >= 0
    return is_compiling() or forward_mode or torch._C._are_functorch_transforms_active()


def reverse_mode_only(x: Tensor, weight: Tensor) -> bool:
    """Whether nothing but autograd's reverse mode may watch: no compiler, no torch.func, no forward mode; and no casts.

    Then a Function of x and weight needs neither `jvp` nor `vmap`, and may sum in place.
    """
    return not watched() and x.dtype == weight.dtype and not torch.is_autocast_enabled(x.device.type)


class ReverseMode(Function):
    """A Function whose backward gets one cotangent at a time, also where torch hands it a batch of them.

    `torch.vmap` does so, and `is_grads_batched`, as in `torch.autograd.functional.jacobian` with vectorize=True; neither
    knows sparse products or writing in place.
    """

    def __init_subclass__(cls) -> None:
        cls.backward = staticmethod(_one_by_one(cls.backward))  # type: ignore[method-assign]


def _one_by_one(backward: Callable[..., Any]) -> Callable[..., Any]:
    legacy, batched = _functorch.is_legacy_batchedtensor, _functorch.is_batchedtensor

    @wraps(backward)
    def each(ctx: Any, *g: Any) -> Any:
        many = next((t for t in g if t is not None and (legacy(t) or batched(t))), None)
        if many is None:
            return backward(ctx, *g)
        maps, level = (torch, 1) if legacy(many) else (_functorch, _functorch.maybe_get_level(many))
        size = len(maps._remove_batch_dim(many, level, 0, 0))
        parts = ([None] * size if t is None else maps._remove_batch_dim(t, level, size, 0) for t in g)
        found = [each(ctx, *one) for one in zip(*parts, strict=True)]
        if isinstance(found[0], Tensor):
            return maps._add_batch_dim(torch.stack(found), 0, level)
        return tuple(
            None if f[0] is None else maps._add_batch_dim(torch.stack(f), 0, level) for f in zip(*found, strict=True)
        )

    return each


def composed_gradients(y: Tensor, inputs: Sequence[Tensor], needed: Sequence[bool], g: Tensor) -> list[Tensor | None]:
    """The gradients of y for those inputs that need one, themselves differentiable: for a Function that sums in place."""
    wanted = [x for x, need in zip(inputs, needed, strict=True) if need]
    found = iter(torch.autograd.grad(y, wanted, g, create_graph=True))
    return [next(found) if need else None for need in needed]


def apply(traced: Any, both_ways: Any, *args: Any) -> Tensor:
    if is_compiling():
        function = traced
    elif watched():
        function = both_ways
    elif torch.is_grad_enabled() and any(isinstance(arg, Tensor) and arg.requires_grad for arg in args):
        function = _plain(traced)
    else:
        return traced.forward(*args)
    return function.apply(*args)


def below(jvp: Callable[..., Any]) -> Callable[..., Any]:
    """A `jvp` below its transform, where forward mode of forward mode goes on: torch 2.13 loses the outer tangents above."""

    @wraps(jvp)
    def lowered(ctx: Any, *tangents: Any) -> Any:
        top = _functorch.peek_interpreter_stack()
        if top is None or top.key() != _functorch.TransformType.Jvp:
            return jvp(ctx, *tangents)

        def unwrapped(parts: Any) -> Any:
            return tree_map_only(Tensor, lambda x: _functorch._unwrap_for_grad(x, top.level()), parts)

        kept = SimpleNamespace(**vars(ctx), saved_tensors=unwrapped(ctx.saved_tensors))
        with _set_fwd_grad_enabled(True), retrieve_current_functorch_interpreter().lower():
            out = jvp(kept, *unwrapped(tangents))
        return tree_map_only(Tensor, lambda x: _functorch._wrap_for_grad(x, top.level()), out)

    return lowered


def forward_too(traced: Any, jvp: Callable[..., Any], vmap: Callable[..., Any]) -> Any:
    """The child of a traced class that has forward mode and vmap as well: the tensors it keeps serve both."""

    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        traced.setup_context(ctx, inputs, output)
        ctx.save_for_forward(*(getattr(ctx, "to_save", None) or ()))
        ctx.set_materialize_grads(False)  # a tangent that is not there costs nothing

    def backward(ctx: Any, *g: Any) -> Any:
        return (None,) * len(ctx.needs_input_grad) if g[0] is None else traced.backward(ctx, *g)

    own = {"setup_context": setup_context, "backward": backward, "jvp": below(jvp), "vmap": vmap}
    return type(traced.__name__, (traced,), {name: staticmethod(f) for name, f in own.items()})


@cache
def _plain(traced: Any) -> Any:
    """The class for reverse mode alone, which is quicker: torch inspects a Function with `setup_context` at each call."""

    def forward(ctx: Any, *inputs: Any) -> Tensor:
        output: Tensor = traced.forward(*inputs)
        traced.setup_context(ctx, inputs, output)
        return output

    return type(traced.__name__, (ReverseMode,), {"forward": staticmethod(forward), "backward": traced.backward})


def _sum_of(*terms: Tensor | None) -> Tensor | None:
    there = [term for term in terms if term is not None]
    return sum(there[1:], there[0]) if there else None


def looped(function: Callable[..., Any], size: int, in_dims: Any, *args: Any) -> tuple[Any, Any]:
    """What vmap does where there is no better rule: one call for each."""

    def pick(i: int) -> list[Any]:
        return [arg if dim is None else arg.select(dim, i) for arg, dim in zip(args, in_dims, strict=True)]

    found = [function(*pick(i)) for i in range(size)]
    return torch.stack(found) if isinstance(found[0], Tensor) else tuple(map(torch.stack, zip(*found, strict=True))), 0


class _TracedProduct(Function):
    """`t_values`, if given, are the values in the order of the transpose; derivatives treat both as inputs."""

    @staticmethod
    def forward(pattern: Pattern, each: bool, values: Tensor, t_values: Tensor | None, x: Tensor) -> Tensor:
        return kernels.product(pattern, values, x, each)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern, ctx.each = inputs[:2]
        ctx.save_for_backward(*inputs[2:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        values, t_values, x = ctx.saved_tensors
        pattern, g_values, g_x = ctx.pattern, None, None
        if ctx.needs_input_grad[2]:
            g_values = sampled(pattern, g, x)
        if ctx.needs_input_grad[4]:
            if t_values is None:
                t_values = values.index_select(0, pattern.t_perm)
            g_x = product(pattern.transposed, t_values, g, values, each=ctx.each)
        return None, None, g_values, None, g_x


def _product_tangents(ctx: Any, _: Any, __: Any, d_values: Tensor | None, ___: Any, d_x: Tensor | None) -> Any:
    values, t_values, x = ctx.saved_tensors
    return _sum_of(
        None if d_values is None else product(ctx.pattern, d_values, x, each=ctx.each),
        None if d_x is None else product(ctx.pattern, values, d_x, t_values, each=ctx.each),
    )


def _products(info: Any, in_dims: Any, pattern: Pattern, each: bool, *args: Any) -> Any:
    values, t_values, x = args
    if in_dims[2] is None and in_dims[3] is None and values.ndim == 1:
        x = x.movedim(in_dims[4], 1)
        return product(pattern, values, x.flatten(1), t_values).reshape(-1, *x.shape[1:]), 1
    return looped(_Product.apply, info.batch_size, in_dims, pattern, each, *args)


_Product: Any = forward_too(_TracedProduct, _product_tangents, _products)


def product(
    pattern: Pattern, values: Tensor, x: Tensor, t_values: Tensor | None = None, *, each: bool = False
) -> Tensor:
    """The product of the matrix of these values (E,) with x (C, channels): (R, channels).

    With values (E, J), x (C, channels) gives all A_j x (R, J, channels), and x (C, J, channels) gives sum_j A_j x_j; or
    with `each` all A_j x_j (R, J, channels).
    """
    return apply(_TracedProduct, _Product, pattern, each, values, t_values, x)


class _TracedSampled(Function):
    @staticmethod
    def forward(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
        return kernels.sampled(pattern, a, b)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.pattern = inputs[0]
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        a, b = ctx.saved_tensors
        pattern, g_a, g_b, each = ctx.pattern, None, None, a.ndim == b.ndim
        if ctx.needs_input_grad[1]:
            g_a = product(pattern, g, b, each=each)
        if ctx.needs_input_grad[2]:
            g_b = product(pattern.transposed, g.index_select(0, pattern.t_perm), a, g, each=each)
        return None, g_a, g_b


def _sampled_tangents(ctx: Any, _: Any, d_a: Tensor | None, d_b: Tensor | None) -> Any:
    a, b = ctx.saved_tensors
    return _sum_of(
        None if d_a is None else sampled(ctx.pattern, d_a, b),
        None if d_b is None else sampled(ctx.pattern, a, d_b),
    )


_Sampled: Any = forward_too(
    _TracedSampled, _sampled_tangents, lambda info, dims, *args: looped(_Sampled.apply, info.batch_size, dims, *args)
)


def sampled(pattern: Pattern, a: Tensor, b: Tensor) -> Tensor:
    """(E,) the inner products <a_row, b_col> at the entries: the entries of a b^T that the pattern has.

    a (R, channels), b (C, channels). One or both may be (.., J, channels): then (E, J), the j-th of one with that of the other.
    """
    sets = {t.shape[1] for t in (a, b) if t.ndim == 3}
    ends = (a.shape[0], b.shape[0])
    if ends != pattern.shape or a.shape[-1] != b.shape[-1] or len(sets) > 1:
        raise CotanError(
            f"expected a (R, C), b (S, C) for a {pattern.shape} pattern, got {tuple(a.shape)}, {tuple(b.shape)}"
        )
    if a.dtype != b.dtype or a.device != b.device or a.device != pattern.col.device:
        raise CotanError(
            f"sampled: a is {a.dtype} on {a.device}, b {b.dtype} on {b.device}, the pattern on {pattern.col.device}"
        )
    if is_compiling() and a is b:
        b = b.view_as(b)  # torch 2.13 traces no Function that takes one tensor twice
    return apply(_TracedSampled, _Sampled, pattern, a, b)


class _TracedSum(Function):
    """Of entries into rows or columns (`collect`) or back (`spreads`): each is the other's transpose."""

    @staticmethod
    def forward(pattern: Pattern, spreads: bool, columns: bool, x: Tensor) -> Tensor:
        if not spreads:
            return kernels.collected(pattern, x, columns)
        # Of what is not contiguous, torch takes 16 times as long to take rows.
        return x.contiguous().index_select(0, pattern.index("col" if columns else "row"))

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.rest = inputs[:3]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:
        pattern, spreads, columns = ctx.rest
        return None, None, None, _sum(pattern, not spreads, columns, g)


def _sum_tangents(ctx: Any, *d: Any) -> Tensor:
    pattern, spreads, columns = ctx.rest
    return _sum(pattern, spreads, columns, d[3])


def _mapped_sum(info: Any, in_dims: Any, pattern: Pattern, spreads: bool, columns: bool, x: Tensor) -> Any:
    return _sum(pattern, spreads, columns, x.movedim(in_dims[3], 1)), 1


_Sum: Any = forward_too(_TracedSum, _sum_tangents, _mapped_sum)


def _sum(pattern: Pattern, spreads: bool, columns: bool, x: Tensor) -> Tensor:
    out = apply(_TracedSum, _Sum, pattern, spreads, columns, flat(x))
    return out.reshape(len(pattern.col) if spreads else pattern.shape[columns], *x.shape[1:])


def collect(pattern: Pattern, s: Tensor, *, columns: bool = False) -> Tensor:
    """The sum of the entries' s (E, ...) in each row, (R, ...), or in each column, (C, ...)."""
    return _sum(pattern, False, columns, s)


def spread(pattern: Pattern, x: Tensor, *, columns: bool = False) -> Tensor:
    """What each entry finds in x at its row, (R, ...) -> (E, ...), or at its column, (C, ...) -> (E, ...).

    `x[pattern.col]` with a backward that sums in sorted order instead of scattering.
    """
    if len(x) != pattern.shape[columns] or x.device != pattern.col.device:
        where = "columns" if columns else "rows"
        raise CotanError(
            f"expected {pattern.shape[columns]} {where} on {pattern.col.device}, got {len(x)} on {x.device}"
        )
    return _sum(pattern, True, columns, x)


def flat(s: Tensor) -> Tensor:
    return s[:, None] if s.ndim == 1 else s.flatten(1)
