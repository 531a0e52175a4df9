"""128 eigenpairs of large meshes, and 64 of many small ones: cotan and scipy's eigsh, in turn; medians and peak memory.

python tests/benchmarks/bench_spectrum.py [--quick]
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
import trimesh

from cotan.operators.eigen import eigenpairs
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.mass import barycentric_mass

K = 128
SIZES = {10_242: (5, 5), 40_962: (6, 3), 163_842: (7, 1)}  # vertices: level of the icosphere, repeats


def bumpy_sphere(level: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere with smooth bumps, which leave no symmetry, and vertices that are shaken a little."""
    mesh = trimesh.creation.icosphere(level)
    random = np.random.default_rng(seed)
    waves, phases = random.standard_normal((12, 3)) * 3, random.uniform(0, 2 * np.pi, 12)
    pos = mesh.vertices * (1 + 0.08 * np.sin(mesh.vertices @ waves.T + phases).sum(1))[:, None]
    pos = pos + 0.03 * mesh.edges_unique_length.mean() * random.standard_normal(pos.shape)
    return torch.from_numpy(np.array(pos)), torch.from_numpy(np.array(mesh.faces).T.copy()).long()


def matrices(level: int) -> tuple[Any, torch.Tensor]:
    pos, face = bumpy_sphere(level)
    return cotan_laplacian(pos, face), barycentric_mass(pos, face)


def peer(L: Any, mass: torch.Tensor, k: int) -> tuple[np.ndarray, np.ndarray]:
    from scipy.sparse import csc_array, diags_array
    from scipy.sparse.linalg import eigsh

    return eigsh(csc_array(L.to_scipy()), k, csc_array(diags_array(mass.numpy())), sigma=1e-8)  # type: ignore[no-any-return]


def residual(L: Any, mass: torch.Tensor, values: Any, vectors: Any) -> float:
    """The largest ||M^-1/2 (L phi - lambda M phi)|| / max(lambda, lambda_1)."""
    values, phi = torch.as_tensor(values), torch.as_tensor(vectors)
    order = values.argsort()
    values, phi = values[order], phi[:, order]
    error = ((L @ phi - mass[:, None] * phi * values) / mass.sqrt()[:, None]).norm(dim=0)
    return float((error / values.clamp(min=float(values[1]))).max())


def in_turn(repeats: int, *functions: Callable[[], Any]) -> list[float]:
    """The median seconds of each."""
    seconds: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats):
        for taken, function in zip(seconds, functions, strict=True):
            start = time.perf_counter()
            function()
            taken.append(time.perf_counter() - start)
    return [median(taken) for taken in seconds]


def peak(who: str, level: int) -> float:
    """MiB that a process takes at most while it computes the pairs, beyond what it had before."""
    run = subprocess.run(
        [sys.executable, __file__, "--peak", who, str(level)], capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def _peak(who: str, level: int) -> None:
    L, mass = matrices(level)
    eigenpairs(*matrices(3), 8)
    peer(*matrices(3), 8)
    before = _resident()
    (eigenpairs if who == "cotan" else peer)(L, mass, K)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before)


def _resident() -> float:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="without the largest mesh")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peak:
        _peak(args.peak[0], int(args.peak[1]))
        return
    print(f"{K} eigenpairs in float64; peer: scipy.sparse.linalg.eigsh(L, k, M, sigma=1e-8)")
    print("vertices   cotan      peer       ratio   residual cotan / peer   peak MiB cotan / peer")
    for size, (level, repeats) in list(SIZES.items())[: 2 if args.quick else 3]:
        L, mass = matrices(level)
        kept: dict[str, Any] = {}
        ours, theirs = in_turn(
            repeats,
            lambda: kept.update(cotan=eigenpairs(L, mass, K)),  # noqa: B023
            lambda: kept.update(peer=peer(L, mass, K)),  # noqa: B023
        )
        left = [residual(L, mass, *kept[who]) for who in ("cotan", "peer")]
        memory = [peak(who, level) for who in ("cotan", "peer")]
        print(
            f"{size:8}   {ours:6.2f} s   {theirs:6.2f} s   {theirs / ours:4.1f}x   {left[0]:.0e} / {left[1]:.0e}"
            f"           {memory[0]:.0f} / {memory[1]:.0f} = {memory[0] / memory[1]:.2f}",
            flush=True,
        )
    small = [(cotan_laplacian(p, f), barycentric_mass(p, f)) for p, f in (bumpy_sphere(2, seed) for seed in range(40))]
    ours, theirs = in_turn(
        3, lambda: [eigenpairs(L, m, 64) for L, m in small], lambda: [peer(L, m, 64) for L, m in small]
    )
    each = [seconds / 40e-3 for seconds in (ours, theirs)]
    print(f"64 pairs, 162 vertices: {each[0]:.1f} ms a mesh, peer {each[1]:.1f} ms, {theirs / ours:.1f}x")


if __name__ == "__main__":
    main()
