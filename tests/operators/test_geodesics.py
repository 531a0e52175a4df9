import math
import sys

import numpy as np
import pytest
import torch
import trimesh
from torch_geometric.data import Data

import cotan
from cotan.errors import CotanError
from cotan.operators.edge_index import edge_index
from cotan.operators.geodesic_distance import all_distances, geodesic_distance, heat_distance
from cotan.operators.geodesic_polar import geodesic_polar
from cotan.operators.logarithmic_map import logarithmic_map
from cotan.operators.normals import vertex_normals
from cotan.operators.ring_neighbours import ring_neighbours
from cotan.operators.tangent_frames import tangent_frames

from .conftest import real_mesh


def frames(pos, face):
    return tangent_frames(pos, edge_index(face), vertex_normals(pos, face))


def patches(pos, face, rings=2):
    pairs = ring_neighbours(edge_index(face), len(pos), rings=rings)
    return pairs, geodesic_polar(pos, face, frames(pos, face), pairs)


def arcs(a, b):
    return torch.atan2(torch.linalg.cross(a, b).norm(dim=-1), (a * b).sum(-1))


def turned(a, b):
    """The angle between directions a and b."""
    return (torch.remainder(a - b + math.pi, 2 * math.pi) - math.pi).abs()


# --- distance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("distance", "edges_away"), [(geodesic_distance, 0), (heat_distance, 8)])
def test_sphere_within_two_percent_of_arcs(distance, edges_away, icosphere):
    pos, face = icosphere(4)
    far = arcs(pos, pos[7].expand_as(pos))
    found = distance(pos, face, source=7)
    assert found[7] == 0
    away = far > edges_away * 0.07
    away[7] = False
    assert ((found - far)[away].abs() / far[away]).max() < 0.02


@pytest.mark.parametrize(("distance", "tolerance"), [(geodesic_distance, 0.005), (heat_distance, 0.02)])
def test_against_exact_geodesics(distance, tolerance, real):
    import igl

    pos, face = real
    if len(pos) > 10000 or len(torch.unique(face)) < len(pos):
        pytest.skip("too long for the exact oracle")
    targets = np.arange(0, len(pos), 37, dtype=np.int64)
    empty = np.zeros(0, dtype=np.int64)
    exact = igl.exact_geodesic(pos.numpy(), face.T.numpy(), np.array([5]), empty, targets, empty)
    found = distance(pos, face, source=5).numpy()[targets]
    assert np.abs(found - exact).mean() < tolerance * exact.mean()


@pytest.mark.parametrize("source", [0, 27, 52])
def test_front_of_thin_triangles(source, square, rotation):
    pos, face = square(10)
    generator = torch.Generator().manual_seed(0)
    pos[:, 0] += 0.5 * pos[:, 1]
    uneven = pos.clone()
    uneven[:, :2] += 0.03 * torch.rand(len(pos), 2, generator=generator, dtype=torch.float64)
    for flat, tolerance in ((pos, 1e-9), (uneven, 0.01)):
        thin = flat * torch.tensor([20.0, 1, 1], dtype=torch.float64)  # 43% and 93% on the given triangles
        inside = (
            pos[:, 0].sub(0.5 * pos[:, 1]).sub(0.5).abs() < 0.3
        )  # on a plane that a rim bends, ways are no straight lines
        far = (thin - thin[source]).norm(dim=1)
        found = geodesic_distance(thin @ rotation[0].T, face, source=source)
        error = (found - far)[inside].abs()
        assert error.mean() < tolerance * far[inside].mean()


@pytest.mark.parametrize("stretch", [0.05, 20.0])
def test_front_of_a_stretched_sphere_against_exact_geodesics(stretch, icosphere):
    import igl

    pos, face = icosphere(3)
    pos = pos * torch.tensor([stretch, 1, 1], dtype=torch.float64)
    targets, empty = np.arange(0, len(pos), 3, dtype=np.int64), np.zeros(0, dtype=np.int64)
    exact = igl.exact_geodesic(pos.numpy(), face.T.numpy(), np.array([5]), empty, targets, empty)
    found = geodesic_distance(pos, face, source=5).numpy()[targets]
    assert np.abs(found - exact).mean() < 0.01 * exact.mean()  # 0.05 and 0.35 without flips
    assert np.abs(found - exact).max() < 0.1 * exact.max()


def test_front_of_several_sources_is_the_nearest_of_each(real):
    pos, face = real
    if len(pos) > 10000:
        pytest.skip("as with fewer vertices")
    sources = tuple(range(5, len(pos), len(pos) // 3))
    found = geodesic_distance(pos, face, source=sources)
    nearest = torch.stack([geodesic_distance(pos, face, source=source) for source in sources]).amin(0)
    known = torch.isfinite(nearest) & (nearest > 0)
    error = found[known] / nearest[known] - 1
    assert error.min() > -1e-3
    assert error.max() < 1e-2  # up to 0.1 where fronts end at each other
    assert error.abs().mean() < 1e-4


@pytest.mark.parametrize("seed", range(20))
def test_distances_on_folds_are_possible(seed):
    """Of steep faces over few points, where ways to a side's ends come round both sides of a fold."""
    from scipy.sparse.csgraph import shortest_path
    from scipy.spatial import Delaunay

    random = np.random.default_rng(seed)
    flat = random.random((int(random.integers(5, 35)), 2))
    pos = torch.from_numpy(np.c_[flat, random.standard_normal(len(flat))])
    face = torch.from_numpy(Delaunay(flat).simplices.T.copy()).long()
    pairs = edge_index(face)
    length = np.zeros((len(pos), len(pos)))
    length[tuple(pairs.numpy())] = (pos[pairs[0]] - pos[pairs[1]]).norm(dim=1).numpy()
    along, chord = torch.from_numpy(shortest_path(length)), (pos[:, None] - pos).norm(dim=2)
    both = geodesic_distance(pos, face, source=(0, 1))
    assert (both <= along[:2].amin(0) + 1e-12).all()
    assert (both >= chord[:2].amin(0) - 1e-12).all()
    every = all_distances(pos, face)
    assert (every <= along + 1e-12).all()
    assert (every >= chord - 1e-12).all()
    one = geodesic_distance(pos, face, source=3)
    torch.testing.assert_close(every[3], one, atol=1e-12, rtol=0)
    torch.testing.assert_close(logarithmic_map(pos, face, frames(pos, face), source=3).norm(dim=1), one)


def test_the_front_passes_a_face_few_times(monkeypatch):
    # On a fine torus the ways with fewest edges are not the shortest: by rings of edges each vertex is corrected 16 times here.
    from cotan.operators import front

    moved = []
    advance = front._advance

    def counted(*state):
        moved.append(len(news := advance(*state)))
        return news

    monkeypatch.setattr(front, "_advance", counted)
    mesh = trimesh.creation.torus(2, 1, major_sections=60, minor_sections=60)
    geodesic_distance(torch.tensor(mesh.vertices), torch.tensor(mesh.faces.T.copy()))
    assert sum(moved) < 4 * len(mesh.vertices)


@pytest.mark.parametrize("count", [10, 100])
def test_front_of_many_sources_on_a_sphere(count, icosphere):
    pos, face = icosphere(4)
    generator = torch.Generator().manual_seed(0)
    sources = torch.randperm(len(pos), generator=generator)[:count]
    exact = torch.stack([arcs(pos, pos[s].expand_as(pos)) for s in sources]).amin(0)
    found = geodesic_distance(pos, face, source=tuple(sources.tolist()))
    away = exact > 1e-6
    assert (found / exact - 1)[away].abs().max() < 0.015  # 0.02 and 0.21 where fronts end at each other
    assert (found[sources] == 0).all()


@pytest.mark.parametrize("time", [1.0, 30.0])
def test_against_potpourri3d(bumpy, time):
    import potpourri3d

    pos, face = bumpy()
    theirs = potpourri3d.MeshHeatMethodDistanceSolver(pos.numpy(), face.T.numpy(), t_coef=time).compute_distance(3)
    ours = heat_distance(pos, face, source=3, time=time)
    np.testing.assert_allclose(ours, theirs.clip(0), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("distance", [geodesic_distance, heat_distance])
def test_several_sources_and_components(distance, icosphere):
    pos, face = icosphere(2)
    two = torch.cat([pos[:1] + 50, pos, pos + 9]), torch.cat([face + 1, face + 1 + len(pos)], 1)
    found = distance(*two, source=(1, 4))
    assert torch.isinf(found[0])
    assert torch.isinf(found[1 + len(pos) :]).all()
    assert found[1 : 1 + len(pos)].max() < 4
    assert found[[1, 4]].tolist() == [0, 0]
    alone = distance(*two, source=0)
    assert alone[0] == 0
    assert torch.isinf(alone[1:]).all()
    assert torch.equal(distance(*two, source=(0, 1, 4))[1:], found[1:])


@pytest.mark.parametrize("distance", [geodesic_distance, heat_distance])
def test_distances_in_one_component_know_nothing_of_the_others(distance, bumpy):
    (large, face), (small, _) = bumpy(), bumpy(seed=1)
    small, n = 0.3 * small, len(large)
    found = distance(torch.cat([large, small + 5]), torch.cat([face, face + n], 1), source=(7, 9, n + 3))
    torch.testing.assert_close(found[:n], distance(large, face, source=(7, 9)), rtol=1e-9, atol=0)
    torch.testing.assert_close(found[n:], distance(small, face, source=3), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("distance", [geodesic_distance, heat_distance])
def test_hard_distance(distance, hard):
    pos, face = hard
    try:
        found = distance(pos, face, source=int(face[0, 0]))
    except CotanError as refusal:
        assert len(str(refusal)) < 300
        return
    assert not torch.isnan(found).any()
    assert (found >= 0).all()
    assert torch.isfinite(found[face[:, 0]]).all()


def test_the_front_is_the_default_and_needs_no_library(icosphere, monkeypatch):
    monkeypatch.setitem(sys.modules, "potpourri3d", None)
    pos, face = icosphere(1)
    data = Data(pos=pos, face=face)
    given = cotan.compute(data, "geodesic_distance", source=[3, 5], dtype=torch.float64)
    assert torch.equal(given, geodesic_distance(pos, face, source=(3, 5)))
    with pytest.raises(CotanError, match="time"):
        cotan.compute(data, "geodesic_distance", time=2.0)


def test_refusals(icosphere):
    pos, face = icosphere(0)
    for distance in (geodesic_distance, heat_distance):
        with pytest.raises(CotanError, match="source=12, expected vertex numbers from 0 to 11"):
            distance(pos, face, source=12)
        with pytest.raises(CotanError, match=r"source=1\.5, expected vertex numbers"):
            distance(pos, face, source=1.5)
        with pytest.raises(CotanError, match=r"source holds truth values, .*mask\.nonzero"):  # were vertices 0 and 1
            distance(pos, face, source=pos[:, 0] > 0)
        with pytest.raises(CotanError, match="a mesh without area: all of its 20 faces"):
            distance(pos * 1e-100, face)
        with pytest.raises(CotanError, match="no derivative with respect to pos"):
            distance(pos.clone().requires_grad_(), face)
    with pytest.raises(CotanError, match="time=0, expected a positive number"):
        heat_distance(pos, face, time=0)
    with pytest.raises(CotanError, match="time=inf, expected a positive number"):
        heat_distance(pos, face, time=math.inf)


# --- logarithmic map --------------------------------------------------------------------------------------------------


def test_logarithmic_map_of_a_sphere(icosphere):
    pos, face = icosphere(4)
    frame = frames(pos, face)
    found = logarithmic_map(pos, face, frame, source=7)
    far = arcs(pos, pos[7].expand_as(pos))
    near = (far < 1) & (far > 0.1)
    direction = (pos - pos[7]) @ frame[7, :2].T
    expected = far[:, None] * direction / direction.norm(dim=1, keepdim=True)
    assert (found - expected)[near].norm(dim=1).max() < 0.02
    assert found[7].tolist() == [0, 0]


def test_logarithmic_map_turns_with_the_frame(bumpy):
    pos, face = bumpy()
    frame = frames(pos, face)
    quarter = torch.stack([frame[:, 1], -frame[:, 0], frame[:, 2]], 1)
    before, after = (logarithmic_map(pos, face, f, source=3) for f in (frame, quarter))
    torch.testing.assert_close(after, torch.stack([before[:, 1], -before[:, 0]], 1))


def test_the_source_of_the_logarithmic_map_as_a_tuple(bumpy):
    pos, face = bumpy()
    one, several = (logarithmic_map(pos.float(), face, frames(pos, face), source=s) for s in (3, (3,)))
    assert torch.equal(one, several)
    assert one.dtype == torch.float64


def test_refusals_of_the_logarithmic_map(icosphere):
    pos, face = icosphere(0)
    with pytest.raises(CotanError, match=r"source=\(1, 2\), expected one vertex"):
        logarithmic_map(pos, face, frames(pos, face), source=(1, 2))
    apart = torch.cat([pos, pos + 5]), torch.cat([face, face + 12], 1)
    with pytest.raises(CotanError, match="12 of 24 vertices are not joined to vertex 2"):
        logarithmic_map(*apart, frames(*apart), source=2)
    loose = torch.cat([pos, pos[:1]])
    for source, away in ((12, 12), (2, 1)):
        with pytest.raises(CotanError, match=f"{away} of 13 vertices are not joined to vertex {source}"):
            logarithmic_map(loose, face, frames(loose, face), source=source)
    with pytest.raises(CotanError, match="no derivative with respect to pos"):
        logarithmic_map(pos.clone().requires_grad_(), face, frames(pos, face))


@pytest.mark.parametrize("source", [0, 7, 77])  # a corner, a side, inside
@pytest.mark.parametrize("irregular", [0.0, 0.4])
def test_logarithmic_map_of_the_plane(source, irregular, square, rotation):
    """Straight lines; the vector heat method is 0.3 to 0.6 off at some vertices of each of these."""
    pos, face = square(10)
    noise = torch.rand(len(pos), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    pos[:, :2] += irregular / 10 * noise
    pos = pos @ rotation[0].T
    frame = frames(pos, face)
    found, expected = logarithmic_map(pos, face, frame, source=source), (pos - pos[source]) @ frame[source, :2].T
    error = (found - expected).norm(dim=1) / expected.norm(dim=1).clamp(min=0.1)
    assert error.mean() < (0.04 if irregular else 1e-9)
    assert error.max() < (0.2 if irregular else 1e-9)


@pytest.mark.parametrize("name", ["clean/spot.ply", "clean/fandisk.obj"])
def test_logarithmic_map_against_exact_geodesics(name):
    """Length by libigl, direction by potpourri3d's straightened path, where that is as short."""
    igl, potpourri3d = pytest.importorskip("igl"), pytest.importorskip("potpourri3d")
    pos, face = real_mesh(name)
    frame, points, faces = frames(pos, face), pos.numpy(), face.T.contiguous().numpy()
    picked, none = np.arange(7, len(pos), len(pos) // 30), np.zeros(0, dtype=np.int64)
    found = logarithmic_map(pos, face, frame, source=3)[picked].numpy()
    exact = igl.exact_geodesic(points, faces, np.array([3]), none, picked, none)
    assert abs(np.linalg.norm(found, axis=1) / exact - 1).mean() < 0.005  # 0.06 to 0.16 by the vector heat method

    straight = potpourri3d.EdgeFlipGeodesicSolver(points, faces)
    paths = [straight.find_geodesic_path(3, int(end)) for end in picked]
    shortest = [np.linalg.norm(np.diff(path, axis=0), axis=1).sum() for path in paths] < 1.002 * exact
    begin = np.stack([frame[3, :2].numpy() @ (path[1] - path[0]) for path in paths])
    turned = np.angle((found @ [1, 1j]) / (begin @ [1, 1j]))[shortest]
    assert shortest.mean() > 0.5
    assert np.median(abs(turned)) < 0.03  # radians; 0.05 to 0.1 by the vector heat method


def test_logarithmic_map_of_faces_turned_anyhow(bumpy):
    pos, face = bumpy()
    frame, turned = frames(pos, face), face.clone()
    turned[:, ::3] = face[:, ::3].flip(0)
    torch.testing.assert_close(logarithmic_map(pos, turned, frame), logarithmic_map(pos, face, frame))


def test_logarithmic_map_of_a_moebius_strip():
    t = torch.linspace(0, math.pi, 21, dtype=torch.float64)[:-1]
    across = torch.stack([t.cos() * (2 * t).cos(), t.cos() * (2 * t).sin(), t.sin()], 1)
    middle = 2 * torch.stack([(2 * t).cos(), (2 * t).sin(), 0 * t], 1)
    pos = torch.cat([middle - 0.3 * across, middle, middle + 0.3 * across])  # (3 * 20, 3)
    i = torch.arange(19)
    quads = [(i + row, i + row + 1, i + row + 21, i + row + 20) for row in (0, 20)]
    last = torch.tensor([[19, 40, 20, 39], [39, 20, 0, 59]]).T  # the rim goes on on the other side
    a, b, c, d = torch.cat([*(torch.stack(q) for q in quads), last], 1)
    strip = torch.cat([torch.stack([a, b, c]), torch.stack([a, c, d])], 1)
    assert not cotan.operators.mesh_report(pos, strip)["orientable"]
    torch.testing.assert_close(
        logarithmic_map(pos, strip, frames(pos, strip), source=25).norm(dim=1), geodesic_distance(pos, strip, source=25)
    )


def test_hard_logarithmic_map(hard):
    pos, face = hard
    try:
        found = logarithmic_map(pos, face, frames(pos, face), source=int(face[0, 0]))
    except CotanError:
        return
    assert torch.isfinite(found).all()


# --- neighbourhoods ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rings", [1, 2, 3])
def test_rings_against_powers_of_the_adjacency(rings, bumpy):
    pos, face = bumpy(1)
    edges = edge_index(face)
    near = torch.eye(len(pos))
    near[edges[0], edges[1]] = 1
    expected = torch.linalg.matrix_power(near, rings).fill_diagonal_(0).nonzero()
    assert torch.equal(ring_neighbours(edges, len(pos), rings=rings).flip(0).T, expected)


def test_polar_coordinates_of_the_plane_are_exact(square):
    pos, face = square(9)
    pairs, polar = patches(pos, face, rings=3)
    inside = ((pos[:, :2] > 0.4) & (pos[:, :2] < 0.6)).all(1)[pairs[1]]  # the patch of this vertex is convex in parts
    frame = frames(pos, face)
    offset = pos[pairs[0]] - pos[pairs[1]]
    flat = (frame[pairs[1], :2] @ offset[..., None])[..., 0]
    assert (polar[:, 0] >= offset.norm(dim=1) - 1e-9).all()
    error = (polar[:, 0] / offset.norm(dim=1) - 1)[inside]
    assert error.median() < 1e-9
    assert error.max() < 0.1  # past a corner of the patch, around it
    straight = inside & (polar[:, 0] < offset.norm(dim=1) * (1 + 1e-9))
    assert turned(polar[:, 1], torch.atan2(flat[:, 1], flat[:, 0]))[straight].max() < 1e-6


def test_polar_coordinates_of_a_sphere(icosphere):
    pos, face = icosphere(3)
    (other, centre), polar = patches(pos, face, rings=3)
    far = arcs(pos[other], pos[centre])
    assert (polar[:, 0] / far - 1).abs().max() < 0.01
    flat = (frames(pos, face)[centre, :2] @ (pos[other] - pos[centre])[..., None])[..., 0]
    assert turned(polar[:, 1], torch.atan2(flat[:, 1], flat[:, 0])).max() < 0.03


@pytest.mark.parametrize("turned_faces", [False, True])
def test_polar_coordinates_of_thin_triangles_in_the_plane(turned_faces, square, rotation):
    pos, face = square(12)
    inner = ((pos[:, :2] - 0.5).abs() < 0.3).all(1)  # elsewhere the rim bends ways
    pos[:, 0] += 0.5 * pos[:, 1]
    pos[:, :2] += 0.03 * torch.rand(len(pos), 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pos = (pos * torch.tensor([10.0, 1, 1], dtype=torch.float64)) @ rotation[0].T
    frame = frames(pos, face)
    if turned_faces:  # whose sides are then in another order
        face[:, ::3] = face[:, ::3].flip(0)
    other, centre = pairs = ring_neighbours(edge_index(face), len(pos))
    radius, angle = geodesic_polar(pos, face, frame, pairs).T
    x, y = (frame[centre, :2] @ (pos[other] - pos[centre])[..., None])[..., 0].T
    far = torch.hypot(x, y)
    assert (radius / far - 1)[inner[centre]].mean() < 0.005  # 0.2 over the given faces alone, as the next
    assert turned(angle, torch.atan2(y, x))[inner[centre]].mean() < 0.01


@pytest.mark.parametrize("stretch", [0.05, 20.0])
def test_polar_radii_of_a_stretched_sphere_against_exact_geodesics(stretch, icosphere):
    import igl

    pos, face = icosphere(2)
    pos = pos * torch.tensor([stretch, 1, 1], dtype=torch.float64)
    (other, centre), polar = patches(pos, face)
    errors = []
    for c in range(0, len(pos), 16):
        near, empty = other[centre == c].numpy(), np.zeros(0, dtype=np.int64)
        exact = igl.exact_geodesic(pos.numpy(), face.T.numpy(), np.array([c]), empty, near, empty)
        errors.append(np.abs(polar[centre == c, 0].numpy() / exact - 1))
    assert np.concatenate(errors).mean() < 0.005  # 0.008 and 0.4 over the given faces alone
    assert np.concatenate(errors).max() < 0.3  # 0.9 and 11


def test_polar_coordinates_agree_with_the_logarithmic_map(bumpy):
    pos, face = bumpy(3)
    (other, centre), polar = patches(pos, face, rings=2)
    mine = centre == 17
    x = polar[mine, :1] * torch.stack([polar[mine, 1].cos(), polar[mine, 1].sin()], 1)
    theirs = logarithmic_map(pos, face, frames(pos, face), source=17)[other[mine]]
    assert (x - theirs).norm(dim=1).max() < 0.1 * polar[mine, 0].max()


def test_as_far_as_the_end_of_the_side_before_it(rotation):
    """5 sqrt 2 to the vertex behind, as to one of the side's ends: rounding does not say whether it may be reached."""
    flat = torch.tensor([[0, 0, 0], [5, 0, 0], [-5, 5, 0], [5, 5, 0]], dtype=torch.float64)
    face = torch.tensor([[0, 1, 2], [1, 3, 2]]).T
    pos = flat
    for _ in range(6):
        pos = pos @ rotation[0].T
        pairs, polar = patches(pos, face)
        radius, angle = polar[(pairs[0] == 3) & (pairs[1] == 0)].T
        torch.testing.assert_close(radius, torch.tensor([50.0], dtype=torch.float64).sqrt())
        assert turned(angle, -math.pi / 2) < 1e-9  # x is along the longest edge, to vertex 2


@pytest.mark.parametrize("name", ["cube", "octahedron", "icosphere", "hard/wallhole.obj", "hard/degenerated.obj"])
def test_polar_coordinates_of_ways_equally_long_do_not_change_with_the_pose(name, icosphere, rotation):
    import trimesh

    if name.startswith("hard"):
        pos, face = real_mesh(name)
    elif name == "cube":
        box = trimesh.creation.box()
        pos, face = torch.tensor(np.asarray(box.vertices)), torch.tensor(np.asarray(box.faces).T.copy())
    elif name == "octahedron":
        pos = torch.cat([torch.eye(3), -torch.eye(3)]).double()
        face = torch.tensor([[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]).T
    else:
        pos, face = icosphere(1)
    pairs, polar = patches(pos, face)
    for turn in (rotation[0], rotation[0] @ rotation[0], rotation[0].T):
        _, moved = patches(pos @ turn.T + rotation[1], face)
        torch.testing.assert_close(moved[:, 0], polar[:, 0], rtol=1e-6, atol=0)
        well = frames(pos @ turn.T, face).sub(frames(pos, face) @ turn.T).abs().amax((1, 2)) < 1e-9  # has a frame
        assert turned(moved[:, 1], polar[:, 1])[well[pairs[1]]].max() < 1e-6


def test_hard_polar_coordinates(hard):
    pos, face = hard
    pairs, polar = patches(pos, face, rings=1 if len(pos) > 20000 else 2)
    assert torch.isfinite(polar).all()
    straight = (pos[pairs[0]] - pos[pairs[1]]).norm(dim=1)
    assert (polar[:, 0] >= straight * (1 - 1e-6) - 1e-12).all()


def test_many_pairs_move_a_group_of_centres_at_a_time(monkeypatch):
    module = sys.modules[geodesic_polar.__module__]
    sphere = trimesh.creation.icosphere(2)
    pos, face = torch.tensor(sphere.vertices), torch.tensor(sphere.faces).T
    pairs, at_once = patches(pos, face)
    moving, march = [], module.march
    monkeypatch.setattr(module, "march", lambda size, *rest: moving.append(len(rest[2])) or march(size, *rest))
    monkeypatch.setattr(module, "PAIRS", 1000)
    radius, angle = geodesic_polar(pos, face, frames(pos, face), pairs).T
    torch.testing.assert_close(radius, at_once[:, 0])
    assert turned(angle, at_once[:, 1]).max() < 1e-9
    assert len(moving) > 1
    assert max(moving) < 1100
