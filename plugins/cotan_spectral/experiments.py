"""A network trained on one shape and carried to another (the notes' running horse, figures 9.18 to 9.20)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import cotan


class Horse(NamedTuple):
    """What came out, by layer: errors by case, and the edges (V,) found of the first pattern on both shapes."""

    errors: dict[str, dict[str, float]]
    edges: dict[str, tuple[Tensor, Tensor]]


def horse(
    first: Any,
    second: Any,
    *,
    place: str = "pos",
    layers: Sequence[str] = ("spectral", "smooth-spectral"),
    k: int = 64,
    width: int = 32,
    signals: int = 16,
    steps: int = 300,
    seed: int = 0,
) -> Horse:
    """Stacks of two layers learn to detect the edges of patterns on one shape, |grad x|; then they look at another.

    Errors are |f - y| / |y| in the mass norm, f the network's edges and y the true ones: "fitted", of the patterns
    trained with; "new patterns", others on the same shape; "carried", the trained patterns on the second shape.
    Free multipliers fit best and are useless elsewhere; smooth ones are as good elsewhere as where they learned.

    Arguments:
        first, second: two poses, or two triangulations, of one thing.
        place: the attribute (V, 3) that says which vertices correspond; patterns are functions of it.
        layers, k, width: the networks; k eigenpairs for those that take `k`.
        signals, steps, seed: patterns, and steps of training.
    """
    size = first[place].double().std(0).norm()  # one for both, so that a pattern is the same on both
    cases = {"fitted": (first, seed), "new patterns": (first, seed + 1), "carried": (second, seed)}
    shapes = {case: examples(data, place, size, signals, s) for case, (data, s) in cases.items()}
    errors, edges = {}, {}
    for name in layers:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            options = {"k": k} if "spectral" in name else {}
            model = cotan.create_model(name, 1, 1, task="label", width=width, depth=2, **options)
        ready = {case: (cotan.inputs(model, some), *stacked(some)) for case, some in shapes.items()}
        optimizer = torch.optim.Adam(model.parameters(), 5e-3)
        for _ in range(steps):
            optimizer.zero_grad()
            error(model, *ready["fitted"])[0].backward()
            optimizer.step()
        with torch.no_grad():
            found = {case: error(model, *values) for case, values in ready.items()}
        errors[name] = {case: float(square.sqrt()) for case, (square, _) in found.items()}
        edges[name] = (found["fitted"][1][: len(first[place])], found["carried"][1][: len(second[place])])
    return Horse(errors, edges)


def patterns(place: Tensor, size: Tensor, count: int, seed: int) -> Tensor:
    """(V, count) waves that cross each other, light (1) and dark (-1) with steep edges between."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.randn(2, place.shape[1], count, generator=generator, dtype=torch.float64) * 2
    phase = torch.rand(2, 1, count, generator=generator, dtype=torch.float64) * 2 * torch.pi
    waves = torch.sin(place.double() / size @ frequency + phase)  # (2, V, count)
    return torch.tanh(4 * waves.sum(0))


def gradient_magnitude(laplacian: cotan.Sparse, mass: Tensor, x: Tensor) -> Tensor:
    """|grad x| (V, C) from the Laplacian alone: |grad x|^2 = x M^-1 L x - M^-1 L x^2 / 2."""
    square = (x * (laplacian @ x) - (laplacian @ (x * x)) / 2) / mass[:, None]
    return square.clamp(min=0).sqrt()


def examples(data: Any, place: str, size: Tensor, count: int, seed: int) -> list[Any]:
    """The shape once for each pattern: x (V, 1), the edges y (V,) and the mass as `weight` (V,)."""
    laplacian, mass = cotan.compute(data, ["laplacian", "mass"], dtype=torch.float64).values()
    x = patterns(data[place], size, count, seed)
    y = gradient_magnitude(laplacian, mass, x) * mass.sum().sqrt() / 10  # without unit, about 1
    out = []
    for one, edge in zip(x.T.float(), y.T.float(), strict=True):
        shape = data.clone()
        shape.x, shape.y, shape.weight = one[:, None], edge, mass.float()
        out.append(shape)
    return out


def stacked(shapes: Sequence[Any]) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(torch.cat([shape[name] for shape in shapes]) for name in ("x", "y", "weight"))  # type: ignore[return-value]


def error(model: nn.Module, nodes: dict[str, Any], x: Tensor, y: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """|f - y|^2 / |y|^2, and f (V,)."""
    found = model(x, **nodes)[:, 0]
    return (weight * (found - y) ** 2).sum() / (weight * y**2).sum(), found
