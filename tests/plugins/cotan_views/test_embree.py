"""The same face at each pixel as a ray caster finds, except on edges."""

import numpy as np
import pytest
import torch

from cotan_views.cameras import cameras
from cotan_views.normalise import normalise
from cotan_views.render import raster

from .shapes import data, knot, load, soup, sphere

embreex = pytest.importorskip("embreex")


def rays(c, size):
    """Through the pixels' centres: rows from the top, one unit forward."""
    at = (torch.arange(size, dtype=torch.float64) + 0.5) / size * 2 - 1
    down, right = torch.meshgrid(at, at, indexing="ij")
    flat = torch.stack((right, -down), 2).view(-1, 2) / c.focal
    n = len(c.eye)
    if c.perspective:
        local = torch.cat((flat, torch.ones(len(flat), 1)), 1)
        return c.eye[:, None].expand(n, len(flat), 3), local @ c.axes
    origin = c.eye[:, None] + flat @ c.axes[:, :2]
    return origin, c.axes[:, 2:].expand(n, len(flat), 3)


def cast(pos, face, c, size):
    """Face (N, H, W) and depth by embree, in single precision."""
    from embreex.mesh_construction import TriangleMesh
    from embreex.rtcore_scene import EmbreeScene

    scene = EmbreeScene()
    TriangleMesh(scene, pos[face.T].numpy().astype(np.float32))
    origin, direction = (v.reshape(-1, 3).numpy().astype(np.float32) for v in rays(c, size))
    hit = scene.run(origin, direction, query="INTERSECT", output=True)
    shape = len(c.eye), size, size
    return torch.as_tensor(hit["primID"]).long().view(shape), torch.as_tensor(hit["tfar"]).double().view(shape)


def inner(pos, face, number, origin, direction):
    """How far inside its face each ray passes: its least barycentric coordinate, by solving for the crossing."""
    a, b, c = pos[face[:, number]].unbind(0)
    system = torch.stack((a, b, c), 2)  # weights @ corners = origin + t direction, and the weights sum to one
    system = torch.cat((torch.cat((system, -direction.unsqueeze(2)), 2), torch.ones(len(number), 1, 4)), 1).double()
    system[:, 3, 3] = 0
    right = torch.cat((origin, torch.ones(len(number), 1)), 1).double().unsqueeze(2)
    return torch.linalg.lstsq(system, right).solution[:, :3, 0].amin(1)


def compare(pos, face, *, size=64, **options):
    """The share of pixels at which both see the same face."""
    c = cameras(**options)
    expected, far = (v.flatten() for v in cast(pos, face, c, size))
    seen = raster(pos, face, c, size=size)
    number, depth = seen.face.flatten(), seen.depth.flatten()
    same = number == expected
    both = (number >= 0) & (expected >= 0)
    torch.testing.assert_close(depth[both & same], far[both & same], rtol=1e-5, atol=1e-5)
    tied = both & ((depth - far).abs() < 1e-5)  # coplanar or doubled faces: either is right in single precision
    other = (~same & ~tied).nonzero().squeeze(1)
    # Where they see different things, one of them has to see its face on an edge.
    origin, direction = (v.reshape(-1, 3)[other] for v in rays(c, size))
    margin = torch.full((len(other),), torch.inf, dtype=torch.float64)
    for found in (number[other], expected[other]):
        seeing = found >= 0
        inside = inner(pos, face, found[seeing], origin[seeing], direction[seeing])
        margin[seeing] = torch.minimum(margin[seeing], inside)
    assert (margin < 1e-3).all()
    return (same | tied).double().mean(), (number >= 0).double().mean()


@pytest.mark.parametrize("options", [{}, {"projection": "orthographic"}, {"rig": "dodecahedron", "fov": 90.0}])
@pytest.mark.parametrize("shape", [sphere, knot, soup])
def test_generated_shapes(shape, options):
    same, covered = compare(*shape(), **options)
    assert same > 0.999
    assert covered > 0.1


def test_from_inside():
    compare(*soup(200), rig=[(0.3, 0.1, 0.2), (0.01, 0.02, -0.05)], size=96)


REAL = "meshes/clean/*", "meshes/hard/*", "shrec11/*/test/T1*.obj", "modelnet10_micro/*/test/*1.off"


def test_real_meshes():
    paths = data(*REAL)
    checked = 0
    for path in paths:
        pos, face = load(path)
        try:
            pos = normalise(pos, face)
        except ValueError:
            continue
        same, _ = compare(pos, face, size=48)
        assert same > 0.9999, path.name
        checked += 1
    assert checked >= 20
