import networkx
import numpy as np
import pytest
import torch

import cotan
from cotan.operators.mesh_report import mesh_report
from cotan_surface.torus import torus
from cotan_surface.torus.embed import flat_area
from cotan_surface.torus.handles import cut_handle, shortest_loop
from cotan_surface.torus.maps import charts, image, signals
from cotan_surface.torus.sphere import sphere

trimesh = pytest.importorskip("trimesh")


def tensors(mesh):
    return torch.tensor(mesh.vertices.copy(), dtype=torch.float64), torch.tensor(mesh.faces.copy()).t().contiguous()


def ring(tube=0.4, around=12, across=8):
    return tensors(trimesh.creation.torus(1.0, tube, major_sections=around, minor_sections=across))


def shaken(pos, face, seed=0):
    noise = torch.randn(pos.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return pos + 0.05 * noise, face


def joined(pos, face, f, g, twisted=False):
    """With a tube of six triangles between two faces, which go: one more handle, or two surfaces made one."""
    a, b = face[:, f].tolist(), face[:, g].tolist()
    c = b if twisted else [b[0], b[2], b[1]]
    tube = [t for i, j in ((0, 1), (1, 2), (2, 0)) for t in ((a[i], a[j], c[j]), (a[i], c[j], c[i]))]
    rest = [k for k in range(face.shape[1]) if k not in (f, g)]
    return pos, torch.cat([face[:, rest], torch.tensor(tube).t()], 1)


def beside(one, two):
    return torch.cat([one[0], two[0] + 3]), torch.cat([one[1], two[1] + len(one[0])], 1)


def cup(twisted=False):
    """A sphere and a handle between its smallest and largest face."""
    pos, face = tensors(trimesh.creation.icosphere(2))
    pos = pos * (1.5 + pos[:, 2:])
    size = perimeter(pos, face)
    return joined(pos, face, int(size.argmin()), int(size.argmax()), twisted)


def perimeter(pos, loop):
    """Of closed paths (n, ...)."""
    return (pos[loop] - pos[loop.roll(-1, 0)]).norm(dim=-1).sum(0)


def length(pos, face):
    return float(perimeter(pos, torch.tensor(shortest_loop(pos, face))))


RINGS = beside(shaken(*ring(), 1), shaken(*ring(), 2))
SHAPES = {
    "ring": (1, ring()),
    "shaken ring": (1, shaken(*ring())),
    "cup": (1, cup()),
    "two rings": (2, joined(*RINGS, 5, 200)),
    "two rings and a handle": (3, joined(*joined(*RINGS, 5, 200), 90, 300)),
    "three edges each way": (1, ring(around=3, across=3)),
}


def test_the_shortest_loop_of_a_ring_goes_around_its_tube_or_its_hole():
    """Polygons of 8 sides about the tube, of 12 about the hole: whichever is shorter."""
    for tube in (0.3, 0.4, 0.6, 0.8):
        around_tube = 8 * 2 * tube * np.sin(np.pi / 8)
        around_hole = 12 * 2 * (1 - tube) * np.sin(np.pi / 12)
        assert length(*ring(tube)) == pytest.approx(min(around_tube, around_hole))


def test_the_shortest_loop_of_a_handle_goes_around_it():
    pos, face = tensors(trimesh.creation.icosphere(2))
    pos = pos * (1.5 + pos[:, 2:])
    assert length(*cup()) == pytest.approx(float(perimeter(pos, face).min()))


@pytest.mark.parametrize("name", SHAPES)
def test_no_loop_is_shorter(name):
    """By hand: from every vertex, whatever two shortest paths and an edge enclose, until one leaves the faces joined."""
    pos, face = SHAPES[name][1]
    pos = pos * torch.tensor([1.0, 1.3, 0.7])
    graph, sides = networkx.Graph(), {}
    for f, corners in enumerate(face.t().tolist()):
        for u, v in zip(corners, corners[1:] + corners[:1], strict=True):
            graph.add_edge(u, v, weight=float((pos[u] - pos[v]).norm()))
            sides.setdefault(frozenset((u, v)), []).append(f)
    loops = {}
    for root in graph:
        far, way = networkx.single_source_dijkstra(graph, root)
        for u, v, w in graph.edges(data="weight"):
            loop = [*way[u], *way[v][:0:-1]]
            if len(set(loop)) == len(loop) > 2:
                loops[frozenset(loop)] = far[u] + far[v] + w, loop
    for size, loop in sorted(loops.values()):
        walls = {frozenset(pair) for pair in zip(loop, loop[1:] + loop[:1], strict=True)}
        dual = networkx.Graph(pair for edge, pair in sides.items() if edge not in walls)
        dual.add_nodes_from(range(face.shape[1]))
        if networkx.is_connected(dual):
            assert length(pos, face) == pytest.approx(size)
            return
    pytest.fail("every loop separates")


@pytest.mark.parametrize("name", SHAPES)
def test_each_cut_takes_one_handle(name):
    genus, (pos, face) = SHAPES[name]
    area = trimesh.Trimesh(pos, face.t(), process=False).area
    while genus:
        loop = shortest_loop(pos, face)
        next_pos, next_face, origin = cut_handle(pos, face)
        report = mesh_report(next_pos, next_face)
        genus -= 1
        assert (report["closed"], report["components"], report["genus"]) == (True, 1, genus)
        assert len(next_pos) == len(pos) + len(loop) + 2
        caps = next_face[:, (next_face >= len(next_pos) - 2).any(0)]
        assert caps.shape[1] == 2 * len(loop)
        area += trimesh.Trimesh(next_pos, caps.t(), process=False).area
        assert trimesh.Trimesh(next_pos, next_face.t(), process=False).area == pytest.approx(area)
        assert (next_pos[:-2] == pos[origin[:-2]]).all()
        assert origin[:-2].bincount().tolist() == [2 if v in loop else 1 for v in range(len(pos))]
        pos, face = next_pos, next_face


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("balance", [0, 2])
def test_what_is_left_has_a_map(name, balance):
    """A bijection; a vertex of the mesh has a place, and the pixels of the caps show the mean of their rims."""
    _, (pos, face) = SHAPES[name]
    for chart in charts(pos, face, maps=3, balance=balance):
        area = flat_area(chart.value, chart.disc)
        assert area.min() > 0
        assert area.sum() == pytest.approx(0.25, abs=1e-12)
        assert np.unique(chart.sphere.vertex.numpy()).tolist() == list(range(-1, len(pos)))
    found = torus(pos, face, maps=3, balance=balance)
    assert found.scale.min() > 0
    assert (found.scale.sum(0) < 1).all()
    assert torch.allclose(found.pull.sum_rows(), torch.ones(3 * 64**2, dtype=torch.float64))


def test_a_centre_has_the_mean_of_its_rim():
    """As its place is: the picture of the mesh's positions is that of the sphere's."""
    chart = charts(*SHAPES["cup"][1])[0]
    pos, shown = SHAPES["cup"][1][0], image(chart, 64)
    assert shown @ (signals(chart.sphere, len(pos)) @ pos.numpy()) == pytest.approx(shown @ chart.sphere.pos.numpy())
    assert np.ptp(shown[:, -1].toarray()) > 0.1  # a cap is in the picture


def test_number_and_rigid_motion_do_not_matter():
    pos, face = SHAPES["shaken ring"][1]
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(0))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(pos))
    turn = torch.tensor([[0.0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    first, moved = torus(pos, face, maps=2), torus(3 * pos[order] @ turn + 1, place[face], maps=2)
    gap = first.uv[order] - moved.uv
    assert (gap - gap.round()).abs().max() < 1e-6
    assert torch.allclose(first.scale[order], moved.scale, atol=1e-9)


def test_refusals():
    pos, face = SHAPES["two rings and a handle"][1]
    with pytest.raises(cotan.CotanError, match=r"Euler number -4, genus 3, and at most handles=2 are cut. Allow more"):
        torus(pos, face, handles=2)
    with pytest.raises(cotan.CotanError, match="genus 1, and at most handles=0 are cut"):
        sphere(*ring())
    with pytest.raises(cotan.CotanError, match=r"3 edges with one face and 0 with more. Fill its holes"):
        torus(pos, face[:, 1:])
    with pytest.raises(cotan.CotanError, match="a surface with two sides, got a mesh that cannot be oriented"):
        torus(*cup(twisted=True))
    with pytest.raises(cotan.CotanError, match="torus: handles=-1, expected a whole number of at least 0"):
        torus(pos, face, handles=-1)
