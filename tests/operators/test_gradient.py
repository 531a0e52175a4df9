import math
import sys

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan.errors import CotanError
from cotan.operators.edge_index import edge_index
from cotan.operators.gradient import gradient
from cotan.operators.normals import vertex_normals
from cotan.operators.tangent_frames import tangent_frames


def build(pos, face, **options):
    edges = edge_index(face)
    frames = tangent_frames(pos, edges, vertex_normals(pos, face))
    return gradient(pos, edges, frames, **options), frames


def vectors(g, frames, f):
    """The gradient of f in space. (V, 3)"""
    return (g.x @ f)[:, None] * frames[:, 0] + (g.y @ f)[:, None] * frames[:, 1]


def test_linear_function_of_the_plane(square):
    pos, face = square(6)
    slope = torch.tensor([2.0, -3.0, 0.0], dtype=torch.float64)
    found = vectors(*build(pos, face), pos @ slope + 7)
    torch.testing.assert_close(found, slope.expand_as(pos), rtol=1e-8, atol=1e-8)


def test_height_of_a_sphere(icosphere):
    pos, face = icosphere(4)
    found = vectors(*build(pos, face), pos[:, 2])
    expected = torch.tensor([0.0, 0, 1]) - pos[:, 2:] * pos
    assert (found - expected).norm(dim=1).max() < 0.02


def test_against_a_fit_at_each_vertex(bumpy):
    pos, face = bumpy(1)
    (gx, gy), frames = build(pos, face)
    gx, gy = gx.to_dense(), gy.to_dense()
    edges = edge_index(face)
    for i in range(len(pos)):
        near = edges[1][edges[0] == i]
        u = (pos[near] - pos[i]) @ frames[i, :2].T
        fit = np.linalg.lstsq(u.numpy(), np.eye(len(near)), rcond=None)[0]
        np.testing.assert_allclose(torch.stack([gx[i, near], gy[i, near]]), fit, rtol=1e-7, atol=1e-7)
        assert abs(gx[i, i] + gx[i, near].sum()) < 1e-9


def test_against_published_operators():
    import os
    from pathlib import Path

    if "COTAN_DATA" not in os.environ:
        pytest.skip("COTAN_DATA is not set")
    ref = np.load(Path(os.environ["COTAN_DATA"]) / "diffusion_net" / "reference_xyz.npz")
    pos, face = torch.from_numpy(ref["pos"]).double(), torch.from_numpy(ref["face"]).T.contiguous()
    g = gradient(pos, edge_index(face), torch.from_numpy(ref["frames"]).double(), ridge=1e-5)
    for ours, index, values in ((g.x, "grad_index", "grad_x"), (g.y, "grad_y_index", "grad_y")):
        row, col = torch.from_numpy(ref[index])
        theirs = torch.zeros(ours.shape, dtype=torch.float64)
        theirs[row, col] = torch.from_numpy(ref[values]).double()
        assert (ours.to_dense() - theirs).abs().max() < 1e-4 * theirs.abs().max()


def test_hard(hard):
    g, _ = build(*hard)
    for part in g:
        assert torch.isfinite(part.values).all()
        assert part.sum_rows().abs().max() <= 1e-9 * max(part.values.abs().max().item(), 1)


def test_rigid_motion_and_scale(bumpy, rotation):
    pos, face = bumpy()
    g, _ = build(pos, face)
    moved, _ = build(4 * (pos @ rotation[0].T + rotation[1]), face)
    torch.testing.assert_close(moved.x.values, g.x.values / 4, rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(moved.y.values, g.y.values / 4, rtol=1e-7, atol=1e-9)


def test_derivative(bumpy):
    pos, face = bumpy(0)
    assert torch.autograd.gradcheck(lambda p: build(p, face)[0].x.values, pos.clone().requires_grad_())


def test_parts_share_their_pattern_also_in_the_store(bumpy, fresh_store):
    pos, face = bumpy(0)
    data = Data(pos=pos, face=face)
    g, stored = (cotan.compute(data, "gradient", dtype=torch.float64) for _ in range(2))
    assert g.x.pattern is g.y.pattern
    assert cotan.counts()["gradient"][:2] == (1, 1)
    assert torch.equal(stored.x.to_dense(), g.x.to_dense())
    assert torch.equal(stored.y.to_dense(), g.y.to_dense())


def test_many_rows_are_as_few(bumpy, monkeypatch):
    whole, _ = build(*bumpy(0))
    monkeypatch.setattr(sys.modules[gradient.__module__], "ENTRIES", 20)
    parts, _ = build(*bumpy(0))
    torch.testing.assert_close(parts.x.values, whole.x.values)
    torch.testing.assert_close(parts.y.values, whole.y.values)


def test_a_union_has_the_digits_of_each():
    """Also of a vertex with hundreds of edges, beside which others have few."""
    random = torch.Generator().manual_seed(0)

    def shape(size, count, hub):
        pos = torch.randn(size, 3, generator=random, dtype=torch.float64)
        edges = torch.randint(size, (2, count), generator=random)
        edges[0, :hub] = 0
        return pos, edges, torch.linalg.qr(torch.randn(size, 3, 3, generator=random, dtype=torch.float64))[0]

    shapes = [shape(1, 3, 0), shape(5, 40, 0), shape(40, 200, 0), shape(9, 500, 300), shape(3, 0, 0)]
    starts = [0, 1, 6, 46, 55]
    pos, edges, frames = zip(*shapes, strict=True)
    moved = torch.cat([e + start for e, start in zip(edges, starts, strict=True)], 1)
    union = gradient(torch.cat(pos), moved, torch.cat(frames))
    for part, whole in zip(zip(*(gradient(*s) for s in shapes), strict=True), union, strict=True):
        assert torch.equal(torch.cat([matrix.values for matrix in part]), whole.values)


@pytest.mark.parametrize("ridge", [-1, math.inf, math.nan])
def test_a_ridge_is_finite(ridge, bumpy):
    pos, face = bumpy(0)
    edges = edge_index(face)
    with pytest.raises(CotanError, match=f"ridge={ridge}, expected"):
        gradient(pos, edges, tangent_frames(pos, edges, vertex_normals(pos, face)), ridge=ridge)


@pytest.mark.parametrize("more", [{}, {"edge_index": torch.zeros(2, 0).long()}])
def test_of_points_on_a_sphere(more):
    """On the unit sphere the gradient of z is e_z - z p. A graph's edges, which may lead anywhere, play no part."""
    draw = torch.randn(4000, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = torch.nn.functional.normalize(draw)
    data = Data(pos=p, **more)
    g, frames = (cotan.compute(data, name, dtype=torch.float64) for name in ("gradient", "tangent_frames"))
    torch.testing.assert_close(frames @ frames.mT, torch.eye(3, dtype=torch.float64).expand_as(frames))
    z = p[:, 2]
    expected = torch.tensor([0, 0, 1.0]) - z[:, None] * p
    assert float((vectors(g, frames, z) - expected).norm(dim=1).mean()) < 0.03


def test_of_points_in_a_plane_is_exact_on_linear_functions(rotation):
    turn, shift = rotation
    flat = torch.rand(200, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pos = flat @ turn[:, :2].T + shift
    g, frames = (cotan.compute(Data(pos=pos), name, dtype=torch.float64) for name in ("gradient", "tangent_frames"))
    slope = turn[:, :2] @ torch.tensor([2.0, -1.0], dtype=torch.float64)
    torch.testing.assert_close(vectors(g, frames, pos @ slope), slope.expand(200, 3), rtol=0, atol=1e-5)
