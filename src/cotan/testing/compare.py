"""What was checked, and whether two values are the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from ..values import map_tensors, whole

TOLERANCE = {torch.bfloat16: 0.1, torch.float32: 2e-4, torch.float64: 1e-8}


@dataclass
class Report:
    """What was checked; `skipped` says what was not, and why."""

    name: str
    passed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.name}: {len(self.passed)} checks passed", *(f"  {name}" for name in self.passed)]
        return "\n".join(lines + [f"  not checked: {name} ({reason})" for name, reason in self.skipped.items()])

    def check_tried(self, tried: bool) -> None:
        if not tried:
            why = "".join(f"\n  {name}: {reason}" for name, reason in self.skipped.items())
            raise AssertionError(f"{self.name} runs on none of the test shapes (data= takes some of your own):{why}")

    def __repr__(self) -> str:
        return f"<{self.name}: {len(self.passed)} checks passed, {len(self.skipped)} not made; print() names them>"


def leaves(value: Any) -> list[Tensor]:
    """All tensors of a value, those that parts of it share for each."""
    found: list[Tensor] = []
    map_tensors(lambda t: found.append(t) or t, whole(value))  # type: ignore[func-returns-value]
    return found


def check_finite(value: Any, what: str, report: Report) -> None:
    for tensor in leaves(value):
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise AssertionError(f"{report.name}: {what}: NaN or infinite values")
    report.passed.append(f"finite {what}")


def off(got: Tensor, expected: Tensor) -> float:
    """The largest difference, as a share of the largest number expected where that is above one."""
    return float((got - expected).abs().max()) / max(1.0, float(expected.abs().max()))


_MEANING = {  # of what failed, by its first word, for the author
    "determinism": "two runs differ: random numbers, or something kept from call to call",
    "batch": "a shape's output depends on what else is in its batch; `batch` says which vertex is whose",
    "permutation": "it depends on the order of vertices, edges, faces or corners (a value of each says per=) or the last call",
    "state_dict": "the output depends on something that is neither parameter nor stored buffer",
    "gradient": "the derivative is cut (detach, .data, .item(), numpy) or wrong",
}


def same(got: list[Tensor], expected: list[Tensor], tolerance: float, what: str, report: Report) -> None:
    if len(got) != len(expected):
        raise AssertionError(f"{report.name}: {what}: {len(got)} tensors, expected {len(expected)}")
    for a, b in zip(got, expected):
        a, b = a.detach().cpu(), b.detach().cpu()
        if a.shape != b.shape:
            raise AssertionError(f"{report.name}: {what}: shape {tuple(a.shape)}, expected {tuple(b.shape)}")
        if not a.numel():
            continue
        if not a.is_floating_point():
            if not bool((a == b).all()):
                raise AssertionError(f"{report.name}: {what}: integer values differ")
            continue
        if not (error := off(a.double(), b.double())) <= tolerance:
            scale, meaning = max(1.0, float(b.abs().max())), _MEANING.get(what.split()[0])
            raise AssertionError(
                f"{report.name}: {what}: off by {error:.3g} of {scale:.3g}, allowed {tolerance:.3g}"
                + (f": {meaning}" if meaning else "")
            )
    report.passed.append(what)


def central(along: Callable[[float], Tensor], h: float) -> Tensor:
    return (along(h) - along(-h)) / (2 * h)


def one_line(reason: Exception) -> str:
    return " ".join(str(reason).split())


def check_places(found: list[Tensor], device: torch.device, what: str) -> None:
    if places := {t.device.type for t in found} - {device.type}:
        raise AssertionError(f"{what} {', '.join(places)}")


@contextmanager
def failing(what: str) -> Iterator[None]:
    """What is raised inside is what the check found."""
    try:
        yield
    except Exception as reason:
        raise AssertionError(f"{what}: {type(reason).__name__}: {reason}") from reason


def copies(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: map_tensors(lambda t: t.detach().clone(), value) for name, value in values.items()}


def check_unchanged(before: Mapping[str, Any], after: Mapping[str, Any], who: str) -> None:
    """Inputs are shared between nodes and models: one that is changed in place is wrong for all others."""
    for name, value in before.items():
        if not all(torch.equal(a, b) for a, b in zip(leaves(value), leaves(after[name]), strict=True)):
            raise AssertionError(f"{who} changes its input {name} in place; it is shared: work on a copy")


def check_generator(state: Tensor, who: str) -> None:
    """Torch's global generator is where it was: it makes the order of batches and what dropout drops."""
    if not torch.equal(state, torch.get_rng_state()):
        raise AssertionError(f"{who} seeds or moves torch's global generator: take a torch.Generator of its own")
