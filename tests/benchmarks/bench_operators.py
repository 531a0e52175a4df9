"""The other geometry operators on a wavy square, beside a peer where there is one.

python tests/benchmarks/bench_operators.py [VERTICES ...]; by default 10000, since 100000 take minutes

Processor time, the better of two where it is below a second. Peers: robust-laplacian, trimesh (fewer counts), igl, the formula in
numpy, the usual loop in numpy, scipy's k-d tree, potpourri3d.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import igl
import numpy as np
import potpourri3d
import torch
import trimesh
from bench_geometry import square
from robust_laplacian import mesh_laplacian
from scipy.spatial import cKDTree

from cotan.operators.curvatures import gauss_curvature, mean_curvature
from cotan.operators.edge_index import edge_index
from cotan.operators.farthest_points import farthest_points
from cotan.operators.functional_map import from_point_map, functional_map, landmark_values, point_map
from cotan.operators.geodesic_polar import geodesic_polar
from cotan.operators.heat_kernel_signature import heat_kernel_signature
from cotan.operators.laplacian import cotan_laplacian
from cotan.operators.logarithmic_map import logarithmic_map
from cotan.operators.mass import barycentric_mass
from cotan.operators.mesh_report import mesh_report
from cotan.operators.nearest_on_surface import nearest_on_surface
from cotan.operators.neighbours import nearest_neighbours, radius_neighbours
from cotan.operators.normals import vertex_normals
from cotan.operators.ring_neighbours import ring_neighbours
from cotan.operators.robust_laplacian import robust_matrices
from cotan.operators.spectrum import spectrum
from cotan.operators.tangent_frames import tangent_frames
from cotan.operators.wave_kernel_signature import wave_kernel_signature


def seconds(function: Callable[[], Any]) -> float:
    found: list[float] = []
    while len(found) < 2 and sum(found) < 1:
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)


def farthest(points: Any, size: int) -> Any:
    chosen, distance = [0], np.full(len(points), np.inf)
    for _ in range(size - 1):
        distance = np.minimum(distance, ((points - points[chosen[-1]]) ** 2).sum(1))
        chosen.append(int(distance.argmax()))
    return chosen


def report(points: Any, faces: Any) -> Any:
    mesh = trimesh.Trimesh(points, faces, process=False)
    return mesh.is_watertight, mesh.is_winding_consistent, mesh.euler_number, mesh.body_count, mesh.volume


def mean_by_igl(points: Any, faces: Any) -> Any:
    pull = igl.cotmatrix(points, faces) @ points
    mass = igl.massmatrix(points, faces, igl.MASSMATRIX_TYPE_BARYCENTRIC).diagonal()
    return -(pull / mass[:, None] * igl.per_vertex_normals(points, faces)).sum(1) / 2


def main(side: int) -> None:
    pos, face = square(side)
    points, faces = pos.numpy(), face.T.contiguous().numpy()
    edges, normals = edge_index(face), vertex_normals(pos, face)
    frames, rings = tangent_frames(pos, edges, normals), ring_neighbours(edges, len(pos))
    laplacian, mass = cotan_laplacian(pos, face), barycentric_mass(pos, face)
    pairs = spectrum(laplacian, mass, k=64)
    vectors, values = pairs.vectors.numpy(), pairs.values.numpy()
    heat = landmark_values(pairs, torch.arange(8) * 97)
    noise = torch.randn(pos.shape, generator=torch.Generator().manual_seed(0), dtype=pos.dtype)
    other = (pos + 0.02 / side * noise) * torch.tensor([1.1, 1, 2])
    copy = spectrum(cotan_laplacian(other, face), barycentric_mass(other, face), k=64)
    matched = from_point_map(torch.arange(len(pos)), pairs, copy, barycentric_mass(other, face))
    moved = (copy.vectors @ matched).numpy()

    random = np.random.default_rng(0)
    near = random.random((20_000, 3)) * [1, 1, 0.1]
    far = random.standard_normal((20_000, 3)) * 3

    rows: dict[str, tuple[Callable[[], Any], Callable[[], Any] | None]] = {
        "robust_laplacian": (lambda: robust_matrices(pos, face), lambda: mesh_laplacian(points, faces)),
        "mesh_report": (lambda: mesh_report(pos, face), lambda: report(points, faces)),
        "mean_curvature and all it needs": (
            lambda: mean_curvature(
                pos, face, cotan_laplacian(pos, face), barycentric_mass(pos, face), vertex_normals(pos, face)
            ),
            lambda: mean_by_igl(points, faces),
        ),
        "gauss_curvature": (lambda: gauss_curvature(pos, face, mass), lambda: igl.gaussian_curvature(points, faces)),
        "heat_kernel_signature": (
            lambda: heat_kernel_signature(pairs),
            lambda: vectors**2 @ np.exp(-values[:, None] * np.geomspace(0.01, 1, 16)),
        ),
        "wave_kernel_signature": (
            lambda: wave_kernel_signature(pairs),
            lambda: vectors**2 @ np.exp(-((np.linspace(0, 9, 16) - np.log(values.clip(1))[:, None]) ** 2)),
        ),
        "farthest_points, 1024": (lambda: farthest_points(pos), lambda: farthest(points, 1024)),
        "nearest_neighbours, 16": (lambda: nearest_neighbours(pos), lambda: cKDTree(points).query(points, 17)),
        "radius_neighbours, about 16": (
            lambda: radius_neighbours(pos, radius=2.4 / side),
            lambda: cKDTree(points).query_ball_point(points, 2.4 / side),
        ),
        "nearest_on_surface, 20,000 points near it": (
            lambda: nearest_on_surface(near, pos, face),
            lambda: igl.point_mesh_squared_distance(near, points, faces),
        ),
        "nearest_on_surface, 20,000 points far off": (
            lambda: nearest_on_surface(far, pos, face),
            lambda: igl.point_mesh_squared_distance(far, points, faces),
        ),
        "functional_map, 64 pairs": (lambda: functional_map(pairs, pairs, mass, mass, heat, heat), None),
        "point_map, 64 pairs, a noisy copy": (
            lambda: point_map(matched, pairs, copy),
            lambda: cKDTree(vectors).query(moved),
        ),
        "logarithmic_map": (
            lambda: logarithmic_map(pos, face, frames),
            lambda: potpourri3d.MeshVectorHeatSolver(points, faces).compute_log_map(0),
        ),
        "geodesic_polar, 2 rings": (lambda: geodesic_polar(pos, face, frames, rings), None),
    }
    for name, (ours, theirs) in rows.items():
        mine, peer = seconds(ours), seconds(theirs) if theirs else None
        beside = f"peer {peer:10.4f} s   {peer / mine:8.1f}x" if peer else ""
        print(f"{len(pos):>7} vertices  {name:<33} {mine:8.4f} s   {beside}", flush=True)


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    for vertices in sys.argv[1:] or (10_000,):
        main(round(int(vertices) ** 0.5))
