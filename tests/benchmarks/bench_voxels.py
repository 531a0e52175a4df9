"""Solid voxels of a mesh: cotan_voxels beside trimesh's ``voxelized(...).fill()``, and its memory on a large mesh.

    python tests/benchmarks/bench_voxels.py

Peers take turns; printed are median seconds and the median ratio peer / ours. Above 1, ours is faster.
"""

from __future__ import annotations

import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

from cotan_voxels.voxels import voxels


def sphere(across: int):
    """A bumpy sphere of about 4 across^2 faces."""
    import trimesh

    mesh = trimesh.creation.uv_sphere(count=(across, across))
    bumps = np.sin(5 * mesh.vertices).prod(1, keepdims=True)
    return trimesh.Trimesh(mesh.vertices * (1 + 0.3 * bumps), mesh.faces, process=False)


def tensors(mesh) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(np.array(mesh.vertices)), torch.tensor(np.array(mesh.faces)).t().contiguous()


def race(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """Median seconds of each, and the median of the ratios, round by round."""
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):  # the first warms up
        for run, kept in zip((ours, peer), times, strict=True):
            start = time.perf_counter()
            run()
            if number:
                kept.append(time.perf_counter() - start)
    ratios = [b / a for a, b in zip(*times, strict=True)]
    return statistics.median(times[0]), statistics.median(times[1]), statistics.median(ratios)


def speed() -> None:
    mesh = sphere(71)
    pos, face = tensors(mesh)
    print(f"solid voxels of a mesh of {face.shape[1]} faces, {torch.get_num_threads()} threads")
    for resolution, goal in ((32, 3), (64, 5), (128, 10)):
        pitch = float(mesh.extents.max()) / (resolution - 2)
        ours, peer, ratio = race(
            lambda r=resolution: voxels(pos, face, resolution=r),  # type: ignore[misc]
            lambda p=pitch: mesh.voxelized(p).fill(),  # type: ignore[misc]
            7,
        )
        print(f"  {resolution:4d}^3   ours {ours:.4f} s   trimesh {peer:.4f} s   {ratio:5.1f}x   (goal {goal}x)")


def _peak(options: dict[str, object], queue: multiprocessing.SimpleQueue) -> None:
    pos, face = tensors(sphere(502))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.perf_counter()
    voxels(pos, face, **options)  # type: ignore[arg-type]
    seconds = time.perf_counter() - start
    queue.put((face.shape[1], before / 2**20, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, seconds))


def memory() -> None:
    print("peak memory of a process that voxelises to 128^3 (goal: 2 GB)")
    for options in ({}, {"method": "winding"}, {"method": "flood"}, {"fill": "union"}):
        queue = multiprocessing.get_context("spawn").SimpleQueue()
        child = multiprocessing.get_context("spawn").Process(target=_peak, args=({"resolution": 128, **options}, queue))
        child.start()
        faces, before, peak, seconds = queue.get()
        child.join()
        print(f"  {faces} faces {options or ''}: {peak:.2f} GB, of which {before:.2f} before; {seconds:.2f} s")


if __name__ == "__main__":
    speed()
    memory()
