"""The torus map of a mesh of 5,000 vertices, with its parts, and the shortest loop of a handle. There is no peer.

python tests/benchmarks/bench_torus.py
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import torch

from cotan_surface.torus import torus
from cotan_surface.torus.cut import EXTREMITIES, cut, extremities, triples
from cotan_surface.torus.edges import edge_graph
from cotan_surface.torus.embed import embed
from cotan_surface.torus.handles import shortest_loop
from cotan_surface.torus.image import draw
from cotan_surface.torus.sphere import sphere

ROUNDS = 7


def shape(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A sphere with limbs, of about ``size`` vertices."""
    import trimesh

    across = round(size**0.5)
    mesh = trimesh.creation.uv_sphere(count=(across, across // 2))
    pos = torch.tensor(np.array(mesh.vertices))
    axes = torch.cat([torch.eye(3), -torch.eye(3)]).double()
    limbs = (8 * (pos @ axes.T - 1)).exp().sum(1, keepdim=True)
    return pos * (0.4 + 1.5 * limbs), torch.tensor(np.array(mesh.faces)).t().contiguous()


def parts(pos: torch.Tensor, face: torch.Tensor) -> dict[str, float]:
    """Seconds of each step."""
    found = {}
    clock = time.perf_counter()

    def lap(name: str) -> None:
        nonlocal clock
        now = time.perf_counter()
        found[name], clock = now - clock, now

    ball = sphere(pos, face)
    lap("seen as a sphere")
    graph = edge_graph(ball.pos, ball.face)
    points = extremities(ball, graph, EXTREMITIES)
    lap("extremities")
    first, middle, last = (points[i] for i in triples(len(points), 0)[0])
    disc = cut(ball, graph, (first, middle, last))
    assert disc is not None
    lap("cut")
    corners, triangles = ball.pos.numpy(), ball.face.numpy()
    value = embed(corners, triangles, disc, "cotan", 0)
    lap("one flattening")
    embed(corners, triangles, disc, "cotan", 2)
    lap("with two rounds of balance")
    draw(value, disc, 64)
    lap("image")
    return found


def main() -> None:
    import trimesh

    for size in (250, 5000, 20000):
        pos, face = shape(size)
        torus(pos, face)
        whole = []
        for _ in range(ROUNDS):
            start = time.perf_counter()
            torus(pos, face)
            whole.append(time.perf_counter() - start)
        goal = "   (goal 0.3 s)" if size == 5000 else ""
        print(f"torus map of {len(pos)} vertices: {statistics.median(whole):.3f} s{goal}")
        steps = [parts(pos, face) for _ in range(ROUNDS)]
        for name in steps[0]:
            print(f"    {name:28s} {statistics.median(s[name] for s in steps):.4f} s")
        across = round((size / 2) ** 0.5)
        mesh = trimesh.creation.torus(1.0, 0.4, major_sections=2 * across, minor_sections=across)
        ring = torch.tensor(np.array(mesh.vertices)), torch.tensor(np.array(mesh.faces)).t().contiguous()
        start = time.process_time()
        shortest_loop(*ring)
        print(f"    the handle of a ring of {len(ring[0])}: {time.process_time() - start:.4f} s of processor time")


if __name__ == "__main__":
    main()
