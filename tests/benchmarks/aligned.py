"""What a functional map is worth to free spectral multipliers: those fitted on one shape of `edges`, carried to it in another
pose and on other triangles, in that shape's own eigenbasis and in bases aligned with the basis of the fitted shape.

    python tests/benchmarks/aligned.py        # k of the demo, 64: about two minutes
    python tests/benchmarks/aligned.py 20
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import torch
from scipy.spatial import cKDTree
from torch import Tensor

import cotan
from cotan.operators import align_spectra, farthest_points, from_point_map, functional_map
from cotan_datasets.edges import CARRIED
from cotan_datasets.poses import creature

SEEDS, LANDMARKS = range(10, 15), 8


def main(k: int) -> None:
    found: dict[str, list[float]] = defaultdict(list)
    for seed in SEEDS:
        data = cotan.load_dataset("edges", seed=seed)
        (model, free), (_, smooth) = (fitted(name, data, seed, k) for name in ("spectral", "smooth-spectral"))
        found["the shape itself, spectral"].append(free["test_accuracy"])
        found["the shape itself, smooth-spectral"].append(smooth["test_accuracy"])
        here, body = data.train[0], rest(seed, pose=0, mesh=0)
        for change, motion in CARRIED.items():
            found[f"{change}, smooth-spectral"].append(smooth[f"stress_{change}_accuracy"])
            shapes, bodies = data.stress[change], (body, rest(seed, **motion))
            for name, C in maps(here, shapes[0], bodies, k).items():
                found[f"{change}, {name}"].append(accuracy(model, shapes, aligned(C, here, shapes[0], k)))
    for name, values in found.items():
        some = 100 * torch.tensor(values)
        print(f"{name:42} {some.mean():.1f} ± {some.std(correction=0):.1f}: {some.numpy().round(1)}")


def fitted(name: str, data: Any, seed: int, k: int) -> tuple[torch.nn.Module, dict[str, float]]:
    model = cotan.model_for(name, data, seed=seed, k=k, width=32, depth=2, residual=False)
    recipe = {"epochs": 60, "batch_size": 4, "lr": 0.005, "schedule": "cosine"}  # the demo's
    return model, cotan.fit(model, data, recipe, seed=seed, progress="none").metrics


def rest(seed: int, **motion: int) -> Tensor:
    """Where the vertices of the creature of `edges` lie in its rest pose."""
    return creature("dog", seed, vertices=500, bend=(0.0, 0.3), **motion).body


def at_area_one(data: Any, k: int) -> tuple[cotan.Spectrum, Tensor, Tensor]:
    """Spectrum, mass and signatures."""
    spectrum, mass = cotan.compute(data, [cotan.node("spectrum", k=k), "mass"], dtype=torch.float64).values()
    area = mass.sum()
    names = "heat_kernel_signature", "wave_kernel_signature"
    seen = [
        cotan.compute(data, cotan.node(n, spectrum=cotan.node("spectrum", k=k)), dtype=torch.float64) for n in names
    ]
    return (
        cotan.Spectrum(spectrum.values * area, spectrum.vectors * area.sqrt()),
        mass / area,
        torch.cat(seen, 1) * area,
    )


def maps(here: Any, there: Any, bodies: tuple[Tensor, Tensor], k: int) -> dict[str, Tensor | None]:
    """By name a functional map (k, k) to another shape; None for its own basis, as it is."""
    (a, a_mass, a_seen), (b, b_mass, b_seen) = at_area_one(here, k), at_area_one(there, k)
    points = farthest_points(here.pos, size=LANDMARKS)
    landmarks = points, nearest(bodies[1], bodies[0][points])
    start = min(20, k)
    return {
        "its own basis": None,
        "signatures": functional_map(a, b, a_mass, b_mass, a_seen, b_seen),
        "signatures, commute=1": functional_map(a, b, a_mass, b_mass, a_seen, b_seen, commute=1.0),
        "cotan.match": cotan.match(here, there, k=k, start=start).functional,
        f"cotan.match, {LANDMARKS} landmarks": cotan.match(
            here, there, k=k, start=start, landmarks=torch.stack(landmarks)
        ).functional,
        "the true map": from_point_map(nearest(*bodies), a, b, b_mass),
    }


def nearest(points: Tensor, queries: Tensor) -> Tensor:
    return torch.from_numpy(cKDTree(points).query(queries)[1])


def aligned(C: Tensor | None, here: Any, there: Any, k: int) -> cotan.Spectrum:
    source, target = (cotan.compute(data, cotan.node("spectrum", k=k), dtype=torch.float64) for data in (here, there))
    spectrum = target if C is None else align_spectra(C, source, target)
    return cotan.Spectrum(source.values, spectrum.vectors).to(
        dtype=torch.float32
    )  # values: simple, as the source's are


def accuracy(model: torch.nn.Module, shapes: list[Any], spectrum: cotan.Spectrum) -> float:
    nodes = {n: spectrum if n.startswith("spectrum") else v for n, v in cotan.inputs(model, shapes[0]).items()}
    with torch.no_grad():
        right = [(model(shape.x, **nodes).argmax(1) == shape.y).double().mean() for shape in shapes]
    return float(torch.stack(right).mean())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:] or ["64"]))
