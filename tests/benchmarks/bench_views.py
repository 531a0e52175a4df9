"""Depth and normals of views: the renderer of cotan_views beside ray casting (embreex) and OpenGL (VTK).

    python tests/benchmarks/bench_views.py

Peers that are not installed are left out: `pip install embreex vtk`. VTK draws without a display by EGL (Debian: libegl1).
Peers take turns; printed are median seconds by the clock and of processor time (of all threads), each with the median
ratio peer / ours. Above 1, ours is faster.
"""

from __future__ import annotations

import functools
import importlib.util
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from cotan_views.cameras import Cameras, cameras
from cotan_views.render import render

Shape = tuple[np.ndarray, np.ndarray]  # (V, 3) float32 and (F, 3)


def ours(shapes: list[Shape], c: Cameras, size: int) -> np.ndarray:
    count = [len(pos) for pos, _ in shapes]
    offset = np.cumsum([0, *count])
    pos = torch.from_numpy(np.concatenate([pos for pos, _ in shapes]))
    face = torch.from_numpy(np.concatenate([f.T + o for (_, f), o in zip(shapes, offset)], 1))
    batch = torch.from_numpy(np.repeat(np.arange(len(count)), count))
    return render(pos, face, c, size=size, batch=batch).numpy()


def rays(c: Cameras, size: int) -> tuple[np.ndarray, np.ndarray]:
    at = ((np.arange(size) + 0.5) / size * 2 - 1) / c.focal
    right, down = np.meshgrid(at, at)
    local = np.stack((right, -down, np.ones_like(right)), 2).reshape(-1, 3)
    direction = (local @ c.axes.numpy()).reshape(-1, 3).astype(np.float32)
    return np.repeat(c.eye.numpy().astype(np.float32), size * size, 0), direction


def pictures(normal: np.ndarray, far: np.ndarray, direction: np.ndarray, c: Cameras, size: int) -> np.ndarray:
    """Depth and normals (N, 4, H, W) from what rays hit; a normal of zero and a distance of zero where nothing."""
    n = len(c.eye)
    image = np.zeros((n, 4, size, size), np.float32)
    image[:, 0] = far.reshape(n, size, size)
    normal *= -np.sign(np.einsum("pk,pk->p", normal, direction))[:, None]
    turned = normal.reshape(n, -1, 3) @ c.axes.numpy().astype(np.float32).transpose(0, 2, 1)
    image[:, 1:] = turned.transpose(0, 2, 1).reshape(n, 3, size, size)
    image[:, 3] *= -1
    return image


def face_normals(pos: np.ndarray, face: np.ndarray) -> np.ndarray:
    a, b, c = pos[face].transpose(1, 0, 2)
    normal = np.cross(b - a, c - a)
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)


def embreex(shapes: list[Shape], c: Cameras, size: int) -> np.ndarray:
    """embreex as fast as it goes: its own scene, all rays in one call, in single precision."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    origin, direction = rays(c, size)
    out = []
    for pos, face in shapes:
        scene = EmbreeScene()
        TriangleMesh(scene, pos[face])
        hit = scene.run(origin, direction, query="INTERSECT", output=True)
        normal = np.concatenate((face_normals(pos, face), np.zeros((1, 3), np.float32)))[hit["primID"]]
        far = np.where(hit["primID"] < 0, 0, hit["tfar"])  # directions are one unit deep
        out.append(pictures(normal, far, direction, c, size))
    return np.stack(out)


def trimesh_ray(shapes: list[Shape], c: Cameras, size: int) -> np.ndarray:
    """embreex as it is mostly used: through trimesh, which refines the points in double precision."""
    import trimesh

    origin, direction = rays(c, size)
    forward = np.repeat(c.axes[:, 2].numpy(), size * size, 0)
    out = []
    for pos, face in shapes:
        mesh = trimesh.Trimesh(pos, face, process=False)
        number, ray, where = mesh.ray.intersects_id(origin, direction, multiple_hits=False, return_locations=True)
        normal, far = np.zeros((len(origin), 3), np.float32), np.zeros(len(origin), np.float32)
        normal[ray] = mesh.face_normals[number]
        far[ray] = ((where - origin[ray]) * forward[ray]).sum(1)
        out.append(pictures(normal, far, direction, c, size))
    return np.stack(out)


@functools.cache
def screen(size: int) -> tuple[Any, Any]:
    """VTK's renderer and its window, off screen; made once, for that takes as long as some pictures."""
    import vtkmodules.all as v

    renderer, window = v.vtkRenderer(), v.vtkRenderWindow()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(0)
    window.SetSize(size, size)
    window.AddRenderer(renderer)
    return renderer, window


def vtk(shapes: list[Shape], c: Cameras, size: int) -> np.ndarray:
    """OpenGL off screen by VTK: normals as colours of the faces (8 bits), depth from the z-buffer."""
    import vtkmodules.all as v
    from vtkmodules.util.numpy_support import numpy_to_vtk, numpy_to_vtkIdTypeArray, vtk_to_numpy

    renderer, window = screen(size)
    camera = renderer.GetActiveCamera()
    camera.SetViewAngle(np.degrees(2 * np.arctan(1 / c.focal)))
    colour, z = v.vtkUnsignedCharArray(), v.vtkFloatArray()
    out = np.zeros((len(shapes), len(c.eye), 4, size, size), np.float32)
    for shape, (pos, face) in zip(out, shapes):
        points, cells, mesh = v.vtkPoints(), v.vtkCellArray(), v.vtkPolyData()
        points.SetData(numpy_to_vtk(pos))
        cells.SetData(3, numpy_to_vtkIdTypeArray(face.reshape(-1)))
        rgb = np.uint8(127.5 + 127.5 * face_normals(pos, face))
        mesh.SetPoints(points)
        mesh.SetPolys(cells)
        mesh.GetCellData().SetScalars(numpy_to_vtk(rgb))
        mapper, actor = v.vtkPolyDataMapper(), v.vtkActor()
        mapper.SetInputData(mesh)
        actor.SetMapper(mapper)
        actor.GetProperty().LightingOff()
        renderer.AddActor(actor)
        for view, eye, axes in zip(shape, c.eye.numpy(), c.axes.numpy()):
            near, far = (np.linalg.norm(eye) + e for e in (-1.01, 1.01))
            camera.SetPosition(*eye)
            camera.SetViewUp(*axes[1])
            camera.SetClippingRange(near, far)
            window.Render()
            window.GetRGBACharPixelData(0, 0, size - 1, size - 1, 0, colour)
            window.GetZbufferData(0, 0, size - 1, size - 1, z)
            seen = vtk_to_numpy(z).reshape(size, size)[::-1]
            hit = seen < 1
            normal = (vtk_to_numpy(colour).reshape(size, size, 4)[::-1, :, :3] / 127.5 - 1) @ axes.T
            view[0] = np.where(hit, near * far / (far - (far - near) * seen), 0)
            view[1:] = np.where(hit, (normal * (1, 1, -1)).transpose(2, 0, 1), 0)
        renderer.RemoveActor(actor)
    return out


def compare(title: str, shapes: list[Shape], size: int, peers: list[Callable[..., np.ndarray]], repeats: int) -> None:
    c = cameras()
    seconds: dict[str, list[tuple[float, float]]] = {f.__name__: [] for f in (ours, *peers)}
    covered = float((ours(shapes, c, size)[:, :, 0] > 0).mean())
    print(f"{title}: 12 views of {size} x {size}, {covered:.0%} of the pixels covered")
    for turn in range(repeats + 1):
        seen = {}
        for f in (ours, *peers):
            start = time.perf_counter(), time.process_time()
            seen[f.__name__] = f(shapes, c, size)
            if turn:  # the first round warms up
                seconds[f.__name__].append((time.perf_counter() - start[0], time.process_time() - start[1]))
    for name, times in seconds.items():
        figures = f"  {name:12}"
        for each, own in zip(zip(*times), zip(*seconds["ours"])):
            ratio = statistics.median(t / o for t, o in zip(each, own))
            figures += f" {statistics.median(each):8.3f} s {ratio:6.2f} x"
        same = np.isclose(seen["ours"][:, :, 0], seen[name][:, :, 0], atol=1e-2).mean()
        print(f"{figures}   (same depth at {same:.2%})")


def ball(faces: int, seed: int) -> Shape:
    """A star-shaped blob of about that many faces, in the unit ball."""
    rows = max(3, round((faces / 4) ** 0.5))
    u, v = np.meshgrid(np.arange(2 * rows) * np.pi / rows, np.arange(1, rows + 1) * np.pi / (rows + 1))
    points = np.stack((np.sin(v) * np.cos(u), np.sin(v) * np.sin(u), np.cos(v)), 2).reshape(-1, 3)
    wave = np.random.default_rng(seed).normal(size=(3, 3)) * 2
    points *= (0.6 + 0.13 * np.sin(points @ wave).sum(1))[:, None]
    points /= np.linalg.norm(points, axis=1).max()
    number = np.arange(2 * rows * rows).reshape(rows, 2 * rows)
    a, b, c, d = number[:-1], np.roll(number, -1, 1)[:-1], number[1:], np.roll(number, -1, 1)[1:]
    return points.astype(np.float32), np.concatenate([np.stack(k, 2).reshape(-1, 3) for k in ((a, c, b), (b, c, d))])


def memory() -> None:
    """What 12 views of a mesh of half a million faces add to the process (in one of its own, by `fork`)."""
    import os

    shape = ball(500_000, 0)
    child = os.fork()
    if child == 0:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        ours([shape], cameras(), 224)
        added = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        print(f"{len(shape[1])} faces: 12 views of 224 x 224 add {added / 2**20:.2f} GB at the most", flush=True)
        os._exit(0)
    os.waitpid(child, 0)


def main() -> None:
    print(f"torch on {torch.get_num_threads()} threads")
    if sys.platform == "linux":
        memory()
    rays_by = [embreex, trimesh_ray] if importlib.util.find_spec("embreex") else []
    peers = [*rays_by, *([vtk] if importlib.util.find_spec("vtk") else [])]
    for name in ("embreex", "vtk"):
        if importlib.util.find_spec(name) is None:
            print(f"{name} is not installed: left out")
    compare("one mesh of 20,000 faces", [ball(20_000, 0)], 224, peers, 7)
    compare("64 meshes of 500 faces", [ball(500, seed) for seed in range(64)], 64, peers, 5)


if __name__ == "__main__":
    main()
