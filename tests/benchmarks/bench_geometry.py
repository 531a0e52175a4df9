"""Geometry operators beside a Python loop over vertices, in turn, in one process; medians and their ratio: of
processor time and of wall time.

python tests/benchmarks/bench_geometry.py [--quick]

With COTAN_DATA the small meshes are those of SHREC 2011, else convex hulls of random points on a sphere.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import trimesh
from torch import Tensor
from torch_geometric.data import Data

import cotan
from cotan.evaluation import Evaluation
from cotan.operators.edge_index import edge_index
from cotan.operators.gradient import gradient
from cotan.operators.normals import vertex_normals
from cotan.operators.tangent_frames import tangent_frames
from cotan.testing import Nothing
from cotan.together import evaluate_together

Mesh = tuple[Tensor, Tensor]
GROUP = 60  # small meshes in turn


def square(side: int) -> Mesh:
    """A wavy square of side x side vertices."""
    x, y = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side))
    pos = np.stack([x, y, 0.1 * np.sin(9 * x) * np.cos(7 * y)], -1).reshape(-1, 3)
    a = np.arange(side * side).reshape(side, side)
    low, right, up, far = a[:-1, :-1], a[:-1, 1:], a[1:, :-1], a[1:, 1:]
    face = np.concatenate([np.stack([low, right, far], -1), np.stack([low, far, up], -1)]).reshape(-1, 3)
    return torch.from_numpy(pos), torch.from_numpy(face.T.copy())


def small_meshes(count: int) -> list[Mesh]:
    if "COTAN_DATA" in os.environ:
        files = sorted((Path(os.environ["COTAN_DATA"]) / "shrec11").glob("*/*/*.obj"))
        files = files[:: max(1, len(files) // count)][:count]
        loaded = [trimesh.load(file, process=False) for file in files]
    else:
        random = np.random.default_rng(0)
        points = random.standard_normal((count, 250, 3))
        points /= np.linalg.norm(points, axis=2, keepdims=True)
        loaded = [trimesh.convex.convex_hull(cloud) for cloud in points]
    return [(torch.from_numpy(np.array(m.vertices)), torch.from_numpy(np.array(m.faces).T.copy())) for m in loaded]


def tangents(pos: Tensor, face: Tensor) -> tuple[Tensor, Tensor]:
    edges = edge_index(face)
    return edges, tangent_frames(pos, edges, vertex_normals(pos, face))


def loop_over_vertices(pos: Tensor, edges: Tensor, frames: Tensor) -> Any:
    """The same fit as `gradient`, vertex by vertex."""
    from scipy.sparse import coo_array

    points, axes = pos.numpy(), frames.numpy()
    lists: list[list[int]] = [[] for _ in points]
    for i, j in zip(*edges.tolist(), strict=True):
        lists[i].append(j)
    rows, cols, values = [], [], []
    for i, near in enumerate(lists):
        u = (points[near] - points[i]) @ axes[i, :2].T
        fit = np.linalg.inv(u.T @ u + 1e-5 * np.eye(2)) @ u.T
        weights = np.concatenate([-fit.sum(1, keepdims=True), fit], 1)
        rows += [i] * (len(near) + 1)
        cols += [i, *near]
        values.append(weights[0] + 1j * weights[1])
    return coo_array((np.concatenate(values), (rows, cols)), shape=(len(points), len(points))).tocsr()


def ours_for_diffusion(meshes: list[Mesh]) -> None:
    shapes = [Data(pos=pos, face=face) for pos, face in meshes]
    wanted = [cotan.node("spectrum", k=64), cotan.node("laplacian"), cotan.node("mass"), cotan.node("gradient")]
    plan = cotan.make_plan({node.key: node for node in wanted}, ("pos", "face"))
    with cotan.one_thread():
        evaluate_together(plan, [Evaluation(shape, keep=Nothing()) for shape in shapes], torch.float64)


def ours_with_the_store(meshes: list[Mesh]) -> None:
    """What a layer of a diffusion network asks for, as a batch, and kept for the next time."""
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"COTAN_CACHE": folder}):
        cotan.inputs(cotan.create_layer("diffusion", 8, 8, k=64), [Data(pos=pos, face=face) for pos, face in meshes])


def leaner_for_diffusion(pos: Tensor, face: Tensor) -> None:
    """The published matrices and pairs, with the leaner loop above."""
    published_pairs(pos.numpy(), face.T.numpy())
    loop_over_vertices(pos, *tangents(pos, face))


def published_for_diffusion(pos: Tensor, face: Tensor) -> None:
    """The steps of DiffusionNet's own code, from normals to the tensors that its layers take."""
    pos, face = pos.float(), face.T.contiguous()
    frames = published_frames(pos, face)
    laplacian, (values, vectors), ends = published_pairs(pos.double().numpy(), face.numpy())
    edges = torch.from_numpy(ends).long()
    gradient = published_gradient(pos, edges, frames)
    for matrix in (laplacian, np.real(gradient), np.imag(gradient)):
        entries = matrix.tocoo()
        places = torch.LongTensor(np.vstack([entries.row, entries.col]))
        torch.sparse_coo_tensor(
            places, torch.FloatTensor(entries.data), entries.shape, check_invariants=False
        ).coalesce()
    torch.from_numpy(values).float(), torch.from_numpy(vectors).float()


def published_frames(pos: Tensor, face: Tensor) -> Tensor:
    """(V, 3, 3): normals summed corner by corner, and two axes off the first or second coordinate's."""
    corners = pos[face]
    across = torch.linalg.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    across = across / (across.norm(dim=1, keepdim=True) + 1e-6)
    summed = np.zeros(pos.shape)
    for corner in range(3):
        np.add.at(summed, face[:, corner].numpy(), across.numpy())
    normal = torch.from_numpy(summed / np.linalg.norm(summed, axis=1, keepdims=True)).float()
    first, second = torch.eye(3)[:2]
    x = torch.where((normal @ first).abs()[:, None] < 0.9, first, second)
    x = x - normal * (x * normal).sum(1, keepdim=True)
    x = x / (x.norm(dim=1, keepdim=True) + 1e-6)
    return torch.stack([x, torch.linalg.cross(normal, x), normal], 1)


def published_pairs(points: Any, face: Any, k: int = 64) -> tuple[Any, Any, Any]:
    """The Laplacian, k pairs and the edges (2, E), diagonal included."""
    from potpourri3d import cotan_laplacian, vertex_areas
    from scipy.sparse import diags, identity
    from scipy.sparse.linalg import eigsh

    laplacian, mass = cotan_laplacian(points, face, denom_eps=1e-10), vertex_areas(points, face)
    mass += 1e-8 * mass.mean()
    pairs = eigsh((laplacian + 1e-8 * identity(len(mass))).tocsc(), k, diags(mass), sigma=1e-8)
    entries = laplacian.tocoo()
    return laplacian, pairs, np.stack([entries.row, entries.col])


def published_gradient(pos: Tensor, edges: Tensor, frames: Tensor) -> Any:
    """Edge by edge and vertex by vertex: a row of a tensor for each edge, an entry of a list for each number."""
    from scipy.sparse import coo_matrix

    offset = pos[edges[1]] - pos[edges[0]]
    tangent = torch.stack([(offset * frames[edges[0], axis]).sum(-1) for axis in (0, 1)], -1)
    ends, around = edges.numpy(), [[] for _ in range(len(pos))]
    for edge in range(ends.shape[1]):
        source, target = ends[0, edge], ends[1, edge]
        if source != target:
            around[source].append(edge)
    rows, cols, values = [], [], []
    for i, own in enumerate(around):
        u, difference, places = np.zeros((len(own), 2)), np.zeros((len(own), len(own) + 1)), [i]
        for place, edge in enumerate(own):
            places.append(ends[1, edge])
            u[place][:] = 1.0 * tangent[edge][:]
            difference[place][0], difference[place][place + 1] = -1, 1
        x, y = np.linalg.inv(u.T @ u + 1e-5 * np.identity(2)) @ u.T @ difference
        weights = x + 1j * y
        for place, j in enumerate(places):
            rows.append(i)
            cols.append(j)
            values.append(weights[place])
    return coo_matrix((np.array(values), (np.array(rows), np.array(cols))), shape=(len(pos), len(pos))).tocsc()


def in_turn(repeats: int, *functions: Callable[[], Any]) -> Any:
    """Median seconds of each on the processor, where what others do on the machine counts little, and by the clock."""
    seconds: list[list[Any]] = [[] for _ in functions]
    for _ in range(repeats):
        for function, times in zip(functions, seconds, strict=True):
            start = time.process_time(), time.perf_counter()
            function()
            times.append((time.process_time() - start[0], time.perf_counter() - start[1]))
    return np.median(seconds, axis=1).T


def show(what: str, ours: float, theirs: float, unit: str = "s") -> None:
    scale = 1000 if unit == "ms" else 1
    line = f"{what:<62} {ours * scale:9.3f} {unit}   peer {theirs * scale:9.3f} {unit}   {theirs / ours:6.1f}x"
    print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="fewer meshes and repeats")
    quick = parser.parse_args().quick
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "2")))

    for side in (32, 316):
        pos, face = square(side)
        edges, frames = tangents(pos, face)
        g = gradient(pos, edges, frames, ridge=1e-5)
        difference = abs(g.x.to_scipy() + 1j * g.y.to_scipy() - loop_over_vertices(pos, edges, frames)).max()
        peers = (loop_over_vertices, published_gradient)
        seconds = in_turn(
            3 if quick else 7,
            lambda pos=pos, edges=edges, frames=frames: gradient(pos, edges, frames),
            *(lambda pos=pos, edges=edges, frames=frames, loop=loop: loop(pos, edges, frames) for loop in peers),
        )
        for clock, (ours, leaner, published) in zip(("processor", "wall"), seconds, strict=True):
            show(f"tangent gradient, {len(pos)} vertices, {clock} (differ by {difference:.0e})", ours, leaner)
            show("  beside the published loop", ours, published)

    meshes = small_meshes(180 if quick else 600)
    groups = [meshes[start : start + GROUP] for start in range(0, len(meshes) - GROUP + 1, GROUP)]
    times = [
        in_turn(
            1,
            lambda g=g: ours_for_diffusion(g),
            lambda g=g: ours_with_the_store(g),
            lambda g=g: [published_for_diffusion(*mesh) for mesh in g],
            lambda g=g: [leaner_for_diffusion(*mesh) for mesh in g],
        )
        for g in groups
    ]
    for clock, seconds in zip(("processor", "wall"), np.median(times[1:], axis=0) / GROUP, strict=True):
        ours, stored, published, leaner = seconds
        show(f"Laplacian, mass, 64 pairs, gradient of small meshes, {clock}", ours, published, "ms")
        show("  put in the store, and as the batch that a layer takes", stored, published, "ms")
        show("  beside a leaner loop over vertices than the published one", ours, leaner, "ms")


if __name__ == "__main__":
    main()
