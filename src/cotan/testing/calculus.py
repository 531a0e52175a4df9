"""The derivatives of a module."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from .. import autodiff
from ..values import move
from .cases import Case, is_signal, run
from .compare import Report, central, failing, off, same
from .elsewhere import another_device
from .shapes import normal

SLOPE = 1e-4  # what a derivative may be off


def check_calculus(make: Callable[[], nn.Module], case: Case, report: Report) -> None:
    """Reverse mode against central differences, for the signal and for each parameter; forward against reverse."""
    module = make()
    values = case.values()
    name = next((n for n in ("x", *sorted(values)) if n in values and is_signal(n, values[n])), None)
    g = torch.Generator().manual_seed(4)
    parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
    with torch.no_grad():
        u = normal(run(module, values).shape, g)

    def scalar(at: Tensor | None = None) -> Tensor:
        return (run(module, values if at is None else {**values, name: at}) * u).sum()  # type: ignore[dict-item]

    if name is not None:
        x = values[name]
        v = normal(x.shape, g)
        _, gradient = autodiff.reverse(scalar, x)
        _slope((gradient * v).sum(), lambda h: scalar(x + h * v).detach(), "gradient of the signal", report)
        _, change = autodiff.forward(scalar, x, v)
        same([change], [(gradient * v).sum()], 1e-8, "jvp against vjp", report)
        with another_device() as device, failing(f"{report.name}: jvp, another device"):
            there, moved = copy.deepcopy(module).to(device), {n: move(value, device) for n, value in values.items()}
            _, away = autodiff.forward(
                lambda at: (run(there, {**moved, name: at}) * u.to(device)).sum(), moved[name], v.to(device)
            )
            away = away.cpu()
        same([away], [change], 1e-6, "jvp, another device", report)
    if parameters:
        gradients = torch.autograd.grad(scalar(), list(parameters.values()), allow_unused=True)
        for (label, parameter), gradient in zip(parameters.items(), gradients):
            v = normal(parameter.shape, g)
            got = torch.zeros((), dtype=torch.float64) if gradient is None else (gradient * v).sum()
            _slope(got, partial(_moved, scalar, parameter, v), f"gradient of {label}", report)


def _moved(function: Callable[[], Tensor], parameter: Tensor, v: Tensor, h: float) -> Tensor:
    """The function with its parameter moved by h v for the while."""
    before = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(before + h * v)
        out = function()
        parameter.copy_(before)
    return out


def _slope(got: Tensor, along: Callable[[float], Tensor], what: str, report: Report) -> None:
    """A derivative against central differences; a wrong one is off at each step, a kink crossed only at some."""
    differences: list[Tensor] = []
    for h in (1e-6, 1e-7, 1e-8, 1e-9):
        differences.append(central(along, h))
        if off(got, differences[-1]) <= SLOPE:
            break
    same([got], [min(differences, key=lambda d: off(got, d))], SLOPE, what, report)
