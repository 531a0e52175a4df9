"""A filter learned on one shape and carried to another (the notes' running horse, figures 9.18 to 9.20)."""

from typing import Any

import torch
from torch import Tensor

import cotan


def horse(
    first: Any,
    second: Any,
    *,
    place: str = "pos",
    edges: str = "magnitude",
    k: int = 64,
    rank: int = 8,
    kernels: str = "gaussian",
    signals: int = 1,
    seed: int = 0,
) -> dict[str, dict[str, float]]:
    """Relative errors of edge detection by free and by smooth multipliers, fitted on one shape and used on two.

    Patterns of light and dark are put on both shapes; the filter that best turns them into their edges on the first is
    found by least squares. Errors are |f - y| / |y| in the mass norm, y the edges as far as k pairs can show them:
    "fitted" on the first shape, "new signals" there, and "carried" to the second shape with the patterns of the fit.

    Arguments:
        first, second: two poses, or two triangulations, of one thing.
        place: the attribute (V, 3) that says which vertices correspond; patterns are functions of it.
        edges: "magnitude", |grad x|, which is not linear in x, so that a filter can only fit the signals that it sees;
            or "laplacian", Phi lambda e^(-t lambda) Phi^T M x, the linear detector of Marr and Hildreth (1980).
        k, rank, kernels: of the layers. signals: patterns in the fit.

    Returns {"free": {"fitted", "new signals", "carried"}, "smooth": the same}.
    """
    if edges not in ("magnitude", "laplacian"):
        raise cotan.CotanError(f"unknown edges {edges!r}. There is: magnitude, laplacian")
    free = cotan.create_layer("spectral", 1, 1, k=k).double()
    smooth = cotan.create_layer("smooth-spectral", 1, 1, k=k, rank=rank, kernels=kernels).double()
    size = first[place].double().std(0).norm()  # one scale for both, so that a pattern is the same on both
    shapes = {"fitted": (first, seed), "new signals": (first, seed + 1), "carried": (second, seed)}
    sets = {name: _examples(shape, place, size, edges, k, signals, s) for name, (shape, s) in shapes.items()}
    spectrum, mass, x, y = sets["fitted"]
    a, b = spectrum.vectors.T @ (mass[:, None] * x), spectrum.vectors.T @ (mass[:, None] * y)  # (K, signals)
    with torch.no_grad():
        free.weight[: len(a), 0, 0] = (a * b).sum(1) / (a * a).sum(1).clamp(min=1e-12)
        u = spectrum.values / spectrum.values[-1]
        design = (smooth.kernels(u)[:, None, :] * a[:, :, None]).flatten(0, 1)  # (K signals, rank)
        smooth.weight[:, 0, 0] = torch.linalg.lstsq(design, b.flatten()[:, None], driver="gelsd").solution[:, 0]
    return {
        name: {case: _error(layer, *example) for case, example in sets.items()}
        for name, layer in (("free", free), ("smooth", smooth))
    }


def patterns(place: Tensor, size: Tensor, count: int, seed: int) -> Tensor:
    """(V, count) stripes that cross each other, light (1) and dark (-1) with steep edges."""
    generator = torch.Generator().manual_seed(seed)
    frequency = torch.randn(2, place.shape[1], count, generator=generator, dtype=torch.float64) * 2
    phase = torch.rand(2, 1, count, generator=generator, dtype=torch.float64) * 2 * torch.pi
    waves = torch.sin(place.double() / size @ frequency + phase)  # (2, V, count)
    return torch.tanh(4 * waves.sum(0))


def gradient_magnitude(laplacian: cotan.Sparse, mass: Tensor, x: Tensor) -> Tensor:
    """|grad x| (V, C) from the Laplacian alone: |grad x|^2 = x M^-1 L x - M^-1 L x^2 / 2 (the carre du champ)."""
    square = (x * (laplacian @ x) - (laplacian @ (x * x)) / 2) / mass[:, None]
    return square.clamp(min=0).sqrt()


def _examples(
    data: Any, place: str, size: Tensor, edges: str, k: int, count: int, seed: int
) -> tuple[cotan.Spectrum, Tensor, Tensor, Tensor]:
    """Spectrum, mass, patterns x (V, count) and their edges y (V, count), both within the span of the k pairs."""
    spectrum, mass, laplacian = (
        cotan.compute(data, node, dtype=torch.float64) for node in (cotan.node("spectrum", k=k), "mass", "laplacian")
    )
    x = patterns(data[place], size, count, seed)
    coefficients = spectrum.vectors.T @ (mass[:, None] * x)
    if edges == "magnitude":
        y = gradient_magnitude(laplacian, mass, x)
        y = spectrum.vectors @ (spectrum.vectors.T @ (mass[:, None] * y))
    else:
        values = spectrum.values[:, None] * mass.sum()  # without unit
        y = spectrum.vectors @ (values * torch.exp(-values / values[len(values) // 4]) * coefficients)
    return spectrum, mass, x, y


def _error(layer: torch.nn.Module, spectrum: cotan.Spectrum, mass: Tensor, x: Tensor, y: Tensor) -> float:
    with torch.no_grad():
        found = torch.cat([layer(one[:, None], spectrum, mass) for one in x.T], 1)
    return float(((mass[:, None] * (found - y) ** 2).sum() / (mass[:, None] * y**2).sum()).sqrt())
