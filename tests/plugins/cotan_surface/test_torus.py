import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra
from torch_geometric.data import Data

import cotan
from cotan_surface.toric import push
from cotan_surface.torus import Torus, chart_figure, torus
from cotan_surface.torus.cut import _sharpest, cut, extremities, triples
from cotan_surface.torus.edges import edge_graph
from cotan_surface.torus.embed import flat_area, places
from cotan_surface.torus.image import draw
from cotan_surface.torus.maps import _cut, charts
from cotan_surface.torus.sphere import sphere

trimesh = pytest.importorskip("trimesh")


def tensors(mesh):
    return torch.tensor(mesh.vertices.copy(), dtype=torch.float64), torch.tensor(mesh.faces.copy()).t().contiguous()


def bumpy(seed, level=3):
    """A sphere with dents and limbs."""
    pos, face = tensors(trimesh.creation.icosphere(subdivisions=level))
    generator = torch.Generator().manual_seed(seed)
    axes = torch.nn.functional.normalize(torch.randn(6, 3, generator=generator, dtype=torch.float64), dim=1)
    return pos * (0.4 + (4 * (pos @ axes.T - 1)).exp().sum(1, keepdim=True)), face


def images(found, x, resolution=64):
    """(M, R, R, C)"""
    return (found.pull @ x).view(-1, resolution, resolution, x.shape[1])


def data() -> Path:
    if "COTAN_DATA" not in os.environ:
        pytest.skip("COTAN_DATA is not set")
    return Path(os.environ["COTAN_DATA"])


SHAPES = {
    "tetrahedron": tensors(trimesh.creation.icosphere(0).convex_hull),
    "sphere": tensors(trimesh.creation.icosphere(3)),
    "box": tensors(trimesh.creation.box(extents=(1, 2, 5))),
    "needle": tensors(trimesh.creation.cylinder(0.05, 2.0)),
    "limbs": bumpy(0),
}


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("weights", ["cotan", "uniform"])
@pytest.mark.parametrize("balance", [0, 2])
def test_a_bijection(name, weights, balance):
    """All faces keep their side, and their areas sum to a quarter of the torus: the four copies cover it once."""
    for chart in charts(*SHAPES[name], maps=3, weights=weights, balance=balance):
        area = flat_area(chart.value, chart.disc)
        assert area.min() > 0
        assert area.sum() == pytest.approx(0.25, abs=1e-12)


def rope(length):
    """A closed tube, as long as said and one wide."""
    at = np.linspace(0, length, 2 * length + 1)
    outline = np.stack([np.full_like(at, 0.5), at], 1)
    outline[[0, -1], 0] = 0
    return tensors(trimesh.creation.revolve(outline, sections=8))


def test_maps_that_rounding_folds_are_passed_over():
    pos, face = rope(60)
    assert all(flat_area(chart.value, chart.disc).min() > 0 for chart in charts(pos, face, maps=4))


@pytest.fixture(scope="module")
def folding():
    """All maps of a rope on which some fold, as charts and as the operator has them."""
    return charts(*rope(300), maps=30), torus(*rope(300), maps=30, resolution=16)


def test_where_all_maps_fold_there_are_maps_still(folding):
    found, value = folding
    assert len(found) == 30
    flat = [flat_area(chart.value, chart.disc) for chart in found]
    assert min(area.min() for area in flat) <= 0
    assert all(area.sum() == pytest.approx(0.25, abs=1e-9) for area in flat)
    assert value.scale.isfinite().all()


def test_faces_turned_over_are_counted(folding):
    """At each vertex, as exact fractions have them."""
    assert not torus(*rope(60), maps=4, resolution=16).turned.any()
    (pos, face), (found, value) = rope(300), folding
    count = value.turned
    assert count[:, -1].any()
    for m in (0, -1):
        z = places(found[m].value, found[m].disc)
        at = [0] * len(pos)
        for triangle, x, y in zip(face.T.tolist(), z.real.T.tolist(), z.imag.T.tolist(), strict=True):
            (ax, bx, cx), (ay, by, cy) = map(Fraction, x), map(Fraction, y)
            if (bx - ax) * (cy - ay) <= (by - ay) * (cx - ax):
                for vertex in triangle:
                    at[vertex] += 1
        assert count[:, m].tolist() == at


def test_the_picture_says_how_many_faces_are_turned_over(monkeypatch):
    pytest.importorskip("matplotlib")
    chart = charts(*bumpy(0, level=2))[0]
    assert chart_figure(*bumpy(0, level=2), resolution=32).axes[2].get_title() == "that copy, cut open"
    value = chart.value.copy()
    value[chart.sphere.face[0, 0]] += 0.1
    turned = int((flat_area(value, chart.disc) <= 0).sum())
    assert turned > 0
    monkeypatch.setattr("cotan_surface.torus.picture.charts", lambda *_: [chart._replace(value=value)])
    monkeypatch.setattr("cotan_surface.torus.picture.draw", lambda *_: draw(chart.value, chart.disc, 32))
    title = chart_figure(*bumpy(0, level=2), resolution=32).axes[2].get_title()
    assert title == f"that copy, cut open; {turned} of 320 faces turned over"


def test_faces_without_area_do_not_collapse():
    pos, face = tensors(trimesh.creation.icosphere(2))
    a, b, _ = face[:, 40].tolist()
    pos[a] = pos[b] + 1e-9 * (pos[a] - pos[b])
    chart = charts(pos, face, balance=0)[0]
    assert flat_area(chart.value, chart.disc).min() > 1e-5  # the mean is 8e-4


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_bijection_of_any_hull(seed, order):
    generator = torch.Generator().manual_seed(seed)
    points = torch.randn(40, 3, generator=generator, dtype=torch.float64) * torch.tensor([5.0, 1.0, 1.0])
    for chart in charts(*tensors(trimesh.convex.convex_hull(points.numpy())), maps=3, seed=order):
        area = flat_area(chart.value, chart.disc)
        assert area.min() > 0
        assert area.sum() == pytest.approx(0.25, abs=1e-12)


def test_the_banks_of_the_cut_meet():
    """About each vertex but the cones, the angles of the flat faces sum to a whole turn; at the cones to their part."""
    chart = charts(*SHAPES["limbs"])[0]
    corner = places(chart.value, chart.disc)
    angle = np.angle((np.roll(corner, -2, 0) - corner) / (np.roll(corner, -1, 0) - corner))
    total = np.bincount(chart.sphere.face.numpy().ravel(), angle.ravel()) / (2 * np.pi)
    expected = np.ones(len(total))
    expected[list(chart.disc.cones)] = [1 / 4, 1 / 2, 1 / 4]
    assert total == pytest.approx(expected, abs=1e-9)


def test_vertices_lie_at_the_mean_of_their_neighbours():
    """On all four copies, by places alone: with equal weights every vertex is the mean of its ring."""
    chart = charts(*SHAPES["limbs"], weights="uniform", balance=0)[0]
    corner = places(chart.value, chart.disc)
    pull_ = sum(np.roll(corner, -k, 0) - corner for k in (1, 2))
    face = chart.sphere.face.numpy().ravel()
    plain = np.bincount(chart.disc.vertex, minlength=len(chart.value)) == 1  # not on the cut
    force = np.bincount(face, pull_.real.ravel()) + 1j * np.bincount(face, pull_.imag.ravel())
    plain[list(chart.disc.cones)] = False
    assert plain.sum() > 500
    assert np.abs(force[plain]).max() < 1e-12


def test_with_cotangents_it_is_harmonic():
    """Away from the cut the Laplacian of the places is zero, where all angles are acute: no weight is held back."""
    pos, face = SHAPES["sphere"]
    chart = charts(pos * torch.tensor([1.0, 1.1, 1.2]), face, balance=0)[0]
    shape = Data(pos=chart.sphere.pos, face=chart.sphere.face)
    laplacian = cotan.compute(shape, "laplacian", kind="cotan", dtype=torch.float64).to_dense().numpy()
    cut = np.bincount(chart.disc.vertex, minlength=len(pos)) > 1
    cut[list(chart.disc.cones)] = True
    plain = (laplacian[:, cut] == 0).all(1)
    assert plain.sum() > 500
    assert (laplacian - np.diag(laplacian.diagonal())).max() <= 0
    assert np.abs(laplacian @ chart.value)[plain].max() < 1e-12


def test_balance_evens_out_areas():
    pos, face = SHAPES["limbs"]
    spread = []
    for balance in (0, 1, 2):
        chart = charts(pos, face, balance=balance)[0]
        x = chart.sphere.pos.numpy()[chart.sphere.face.numpy()]
        area = np.linalg.norm(np.cross(x[1] - x[0], x[2] - x[0]), axis=-1)
        spread.append(np.log(flat_area(chart.value, chart.disc) / area).std())
    assert spread[2] < spread[1] < spread[0]


@pytest.mark.parametrize("size", [1e-200, 1e-60, 1e200])
def test_squares_of_areas_do_not_overflow(size):
    pos, face = bumpy(1, level=2)
    first, moved = torus(pos, face, resolution=16), torus(pos * size, face, resolution=16)
    assert torch.allclose(first.scale, moved.scale, atol=1e-9)
    assert torch.allclose(charts(pos * size, face)[0].sphere.pos / size, charts(pos, face)[0].sphere.pos)


def test_scale_sums_to_one():
    found = torus(*SHAPES["limbs"], maps=2)
    assert torch.allclose(found.scale.sum(0), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("name", SHAPES)
def test_places_are_below_one_in_single_precision_too(name):
    pos, face = SHAPES[name]
    uv = cotan.compute(Data(pos=pos, face=face), "torus", maps=3, resolution=4).uv
    assert uv.dtype == torch.float32
    assert 0 <= uv.min() <= uv.max() < 1


@pytest.mark.parametrize("resolution", [16, 64])
def test_each_pixel_has_one_face_and_each_copy_its_pixels(resolution):
    pos, face = SHAPES["limbs"]
    found = torus(pos, face, resolution=resolution)
    assert torch.allclose(found.pull.sum_rows(), torch.ones(resolution**2, dtype=torch.float64))
    assert found.pull.values.min() >= 0
    # A quarter turn about 0 takes pixel (i, j) to (R - 1 - j, i), and the image to itself.
    image = images(found, pos, resolution)[0]
    assert torch.allclose(image, image.flip(0).transpose(0, 1), atol=1e-12)


def test_pixels_hold_the_point_of_their_face():
    chart = charts(*SHAPES["limbs"])[0]
    under, share = draw(chart.value, chart.disc, 32)
    corner = torch.from_numpy(places(chart.value, chart.disc))[:, under].permute(1, 2, 0)
    place = (corner * share).sum(-1)
    line = (torch.arange(32, dtype=torch.float64) + 0.5) / 32
    centre = torch.complex(*torch.meshgrid(line, line, indexing="ij"))
    gaps = torch.stack([place * turn - centre for turn in (1, 1j, -1, -1j)])
    gaps = torch.complex(gaps.real - gaps.real.round(), gaps.imag - gaps.imag.round()).abs()
    assert gaps.amin(0).max() < 1e-6


def test_there_and_back():
    """A smooth signal, pulled to the torus and pushed back to the vertices."""
    pos, face = SHAPES["limbs"]
    found = torus(pos, face, resolution=256, maps=2)
    for m in range(2):
        image = images(found, pos, 256)[m].permute(2, 0, 1)
        back = push(image[None], found.uv[:, m], torch.zeros(len(pos), dtype=torch.long))
        error = (back - pos).norm(dim=1) / pos.norm(dim=1).mean()
        assert error.median() < 0.01
        assert error.max() < 0.2  # at the cone points an image has a tip


def test_a_place_reads_the_pixels_around_it():
    """Each by how near its centre is, along either axis and around the torus."""
    generator = torch.Generator().manual_seed(0)
    uv = torch.rand(6, 4, 2, generator=generator, dtype=torch.float64)
    image, batch = torch.randn(2, 3, 4, 4, generator=generator, dtype=torch.float64), torch.arange(6) // 3
    gap = 4 * uv[..., None] - (torch.arange(4) + 0.5)
    near = (1 - (gap - 4 * (gap / 4).round()).abs()).clamp(min=0)  # (V, 4, 2, R)
    expected = torch.einsum("vki,vkj,vcij->vc", near[:, :, 0], near[:, :, 1], image[batch]) / 4
    assert torch.allclose(push(image, uv, batch), expected)


def test_number_and_rigid_motion_do_not_matter():
    pos, face = SHAPES["limbs"]
    order = torch.randperm(len(pos), generator=torch.Generator().manual_seed(0))
    place = torch.empty_like(order)
    place[order] = torch.arange(len(pos))
    turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))[0]
    turn = turn * torch.linalg.det(turn)
    first = torus(pos, face, maps=2)
    moved = torus(3 * pos[order] @ turn.T + 1, place[face], maps=2)
    gap = first.uv[order] - moved.uv
    assert (gap - gap.round()).abs().max() < 1e-6
    assert torch.allclose(first.scale[order], moved.scale, atol=1e-9)


def test_maps_differ_and_seeds_reorder_them():
    pos, face = SHAPES["limbs"]
    cones = {seed: [c.disc.cones for c in charts(pos, face, maps=4, seed=seed)] for seed in (0, 1)}
    assert len(set(cones[0])) == 4
    assert cones[0] != cones[1]
    assert cones[0] == [c.disc.cones for c in charts(pos, face, maps=4)]
    assert len({point for three in cones[0][:2] for point in three}) == 5  # two maps show all extremities


@pytest.mark.parametrize("tip", [7, 100, 500])
def test_extremities_are_looked_for_from_the_sharpest_vertex(tip):
    pos, face = SHAPES["sphere"]
    spike = torch.ones(len(pos), 1).index_fill(0, torch.tensor(tip), 2)
    ball = sphere(pos * spike + torch.tensor([1.0, -2, 3]), face)
    assert ball.vertex[_sharpest(ball)] == tip
    graph = edge_graph(ball.pos, ball.face)
    first, second, *rest = extremities(ball, graph, 4)
    far = dijkstra(graph)
    assert tip in ball.vertex[[first, second]]
    assert far[first, second] == pytest.approx(far.max())
    for number, point in enumerate(rest, start=2):  # each as far as can be from those before it
        near = far[[first, second, *rest][:number]].min(0)
        assert near[point] == pytest.approx(near.max())


def test_of_equally_far_vertices_the_first_is_taken_however_the_shape_lies():
    pos, face = tensors(trimesh.creation.box().subdivide())
    found = []
    for seed in range(5):
        turn = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(seed)).double())[0]
        ball = sphere(pos @ turn.T, face if torch.linalg.det(turn) > 0 else face.flip(0))
        found.append(ball.vertex[extremities(ball, edge_graph(ball.pos, ball.face), 5)].tolist())
    assert found == found[:1] * 5


def test_vertices_at_one_place_are_taken_once():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 0]])
    ball = sphere(pos, torch.tensor([[0, 0, 0, 1], [2, 1, 3, 2], [1, 3, 2, 3]]))
    assert sorted(extremities(ball, edge_graph(ball.pos, ball.face), 5)) == [0, 1, 2, 3]


def test_there_is_no_cut_to_a_point_that_another_passes_or_surrounds():
    ball = sphere(*SHAPES["tetrahedron"])
    graph = edge_graph(ball.pos, ball.face)
    _, before = dijkstra(graph, indices=0, return_predecessors=True)
    farthest = int(dijkstra(graph, indices=0).argmax())
    between = int(before[farthest])
    assert cut(ball, graph, (farthest, 0, between)) is None
    assert _cut(ball, graph, [farthest, 0, between]).cones == (farthest, between, 0)  # another is in the middle then


def test_triples_are_all_and_once():
    found = triples(5, 3)
    assert len(found) == 30 == len({(frozenset((a, c)), b) for a, b, c in found})


# What is no sphere, and what is one in disguise


def test_holes_are_refused():
    pos, face = SHAPES["sphere"]
    with pytest.raises(cotan.CotanError, match=r"3 edges with one face and 0 with more. Fill its holes"):
        torus(pos, face[:, 1:])
    with pytest.raises(cotan.CotanError, match=r"0 edges with one face and 3 with more\. Use another"):
        torus(torch.cat([pos, 2 * pos[:1]]), torch.cat([face, fin(face, len(pos))], 1))
    with pytest.raises(cotan.CotanError, match=r"0 edges with one face and 3 with more\. Drop its repeated faces"):
        torus(pos, torch.cat([face, face[:, :1].flip(0)], 1))


def fin(face, corner):
    """A tetrahedron on a face, which stays."""
    a, b, c = face[:, 0].tolist()
    return torch.tensor([[a, b, corner], [b, c, corner], [c, a, corner]]).t()


def test_pieces_are_refused():
    pos, face = SHAPES["sphere"]
    with pytest.raises(cotan.CotanError, match=r"got 2 that are not joined. Keep the largest"):
        torus(torch.cat([pos, pos + 5]), torch.cat([face, face + len(pos)], 1))
    with pytest.raises(cotan.CotanError, match=r"got 2 that are not joined \(after 1 pinched vertices were split\)"):
        torus(torch.cat([pos, 2 * pos[0] - pos]), torch.cat([face, (face + len(pos)).where(face > 0, face)], 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face": torch.empty(3, 0, dtype=torch.long)}, "a mesh with faces, got none"),
        ({"face": torch.zeros(3, 4, dtype=torch.long)}, "only faces collapsed"),
        ({"pos": torch.full((642, 3), torch.nan)}, "finite positions"),
        ({"resolution": 48}, "power of two from 4 to 512, got 48"),
        ({"resolution": 1024}, "power of two from 4 to 512, got 1024"),
        ({"weights": "mean"}, "unknown weights of torus 'mean'.* There is: cotan, uniform"),
        ({"maps": 0}, "maps=0, expected a whole number of at least 1"),
        ({"maps": 31}, "has only 30 different torus maps, got maps=31"),
        ({"pos": torch.ones_like(SHAPES["sphere"][0])}, "faces collapsed to an edge or a point"),
        ({"pos": torch.arange(len(SHAPES["sphere"][0])).double()[:, None].expand(-1, 3)}, "a surface of some area"),
    ],
)
def test_refusals(change, message):
    pos, face = SHAPES["sphere"]
    with pytest.raises(cotan.CotanError, match=message):
        torus(**{"pos": pos, "face": face, **change})


def test_a_pinch_is_split():
    """Two vertices of a sphere that are one in the mesh: Euler number 1, and still a map."""
    pos, face = SHAPES["limbs"]
    near = torch.cdist(pos, pos)
    ring = torch.zeros(len(pos), len(pos), dtype=torch.bool)
    for k in (1, 2):
        ring[face, face.roll(k, 0)] = True
    far = near.masked_fill((ring.double() @ ring.double() > 0) | ring | (near == 0), torch.inf)
    a, b = divmod(int(far.argmin()), len(pos))
    pinched = face.where(face != b, torch.tensor(a))
    pos = pos.clone()
    pos[b] = torch.nan  # unused now
    assert len(sphere(pos, pinched).pos) == len(pos)
    found = torus(pos, pinched, resolution=128)
    assert found.uv[b].abs().max() == 0
    assert found.scale[b].abs().max() == 0
    assert (found.pull.col != b).all()
    for chart in charts(pos, pinched):
        assert flat_area(chart.value, chart.disc).min() > 0


def test_every_vertex_at_a_seam_has_its_place_and_a_part_of_the_torus():
    pos, face = SHAPES["limbs"]
    corner = face.t().reshape(-1)
    one = torus(pos, face)
    apart = torch.arange(face.numel()).view(-1, 3).t()
    soup = torus(pos[corner], apart)
    angles = [torch.cos(2 * torch.pi * found.uv).sum(2) for found in (one, soup)]  # in any order of the four
    assert torch.allclose(angles[0][corner], angles[1], atol=1e-6)
    assert torch.allclose(one.scale, torch.zeros_like(one.scale).index_add(0, corner, soup.scale), atol=1e-9)
    x = torch.rand(face.numel(), 1, dtype=torch.float64)  # each is seen
    mean = torch.zeros(len(pos), 1, dtype=x.dtype).index_add(0, corner, x) / corner.bincount()[:, None]
    assert torch.allclose(images(soup, x), images(one, mean), atol=1e-6)
    loose = torus(torch.cat([pos, pos[corner]]), apart + len(pos))  # vertices without faces at the same places
    assert (loose.scale[: len(pos)] == 0).all()
    assert torch.allclose(loose.scale[len(pos) :], soup.scale)


def test_seams_are_sewn_and_faces_turned():
    pos, face = SHAPES["limbs"]
    first = torus(pos, face)
    soup = pos[face.t().reshape(-1)]
    sewn = torus(soup, torch.arange(face.numel()).view(-1, 3).t())
    assert torch.allclose(images(first, pos), images(sewn, soup), atol=1e-6)
    mixed = face.clone()
    mixed[:, ::3] = mixed[:, ::3].flip(0)
    turned = torus(pos, mixed)
    assert torch.allclose(first.uv, turned.uv, atol=1e-9)


@pytest.mark.parametrize("flipped", [False, True])
def test_far_from_the_origin_outside_is_still_outside(flipped):
    pos, face = SHAPES["limbs"]
    ball = sphere(pos + torch.tensor([1e8, 7e7, -3e7]), face.flip(0) if flipped else face)
    x, y, z = (ball.pos - ball.pos.mean(0))[ball.face]
    assert (torch.linalg.cross(x, y) * z).sum() > 0


def test_shrec11_has_twelve_with_a_handle():
    cut = 0
    for i, path in enumerate(sorted((data() / "shrec11").glob("*/*/*.obj"))):
        mesh = trimesh.load(path, process=False)
        if i % 4 and mesh.euler_number == 2:
            continue
        for chart in charts(*tensors(mesh), balance=0):
            assert flat_area(chart.value, chart.disc).min() > 0, path
            cut += int((chart.sphere.vertex < 0).any())
    assert cut == 12


def test_hard_meshes_have_a_map_or_a_reason():
    for path in sorted((data() / "meshes" / "hard").iterdir()):
        pos, face = tensors(trimesh.load(path, process=False, force="mesh"))
        try:
            found = torus(pos, face, resolution=32)
        except cotan.CotanError as error:
            assert str(error).startswith("the torus map needs")
            continue
        assert all(t.isfinite().all() for t in (found.pull.values, found.uv, found.scale))


# The network


def shapes(count):
    """Shapes of different size."""
    found = [bumpy(seed, level=2 + seed % 2) for seed in range(count)]
    return [Data(pos=pos.float(), face=face, x=pos.float()) for pos, face in found]


def network(task, **options):
    torch.manual_seed(0)
    model = cotan.create_model("toric", 3, 4, task=task, width=8, resolution=16, maps=2, **options)
    batch = {"x": torch.cat([d.x for d in shapes(3)]), **cotan.inputs(model, shapes(3))}
    for _ in range(3):  # running statistics
        model.train()(**batch)
    return model.eval(), batch


def shifted(torus_, shift, resolution=16, maps=2):
    """The same maps with the origin of the torus elsewhere."""
    row = torch.arange(torus_.pull.shape[0]).view(-1, maps, resolution, resolution)
    row = row.roll(shift, (2, 3)).flatten()  # row of the shifted image -> row here
    place = torch.empty_like(row)
    place[row] = torch.arange(len(row))
    pull = cotan.Sparse.from_coo(place[torus_.pull.row], torus_.pull.col, torus_.pull.values, torus_.pull.shape)
    return Torus(pull, (torus_.uv + torch.tensor(shift) / resolution) % 1, torus_.scale, torus_.turned)


@pytest.mark.parametrize("shift", [(1, 0), (0, 5), (7, -3)])
@pytest.mark.parametrize("task", ["classify", "label"])
def test_a_shifted_chart_gives_the_same_result(task, shift):
    """The image of the shape moves across the torus, and its features with it; the shape keeps its labels."""
    model, batch = network(task)
    moved = {**batch, "torus": shifted(batch["torus"], shift)}
    assert torch.allclose(model(**moved), model(**batch), atol=1e-4)
    features = [
        model.blocks(model.lift(model.pulled(batch["x"], t, batch["mass"]).flatten(0, 1)))
        for t in (batch["torus"], moved["torus"])
    ]
    assert torch.allclose(features[1], features[0].roll(shift, (2, 3)), atol=1e-5)
    assert (features[1] - features[0]).abs().max() > 0.1


def test_the_last_channel_is_how_much_a_map_enlarges():
    """A pixel holds exp(-4 g) times its share of the surface: over the torus these make the whole surface, in each map."""
    pos, face = SHAPES["limbs"]
    shape = Data(pos=pos.float(), face=face, x=pos.float())
    model = cotan.create_model("toric", 3, 4, resolution=256, maps=3, balance=0)
    given_ = cotan.inputs(model, [shape])
    growth = model.pulled(shape.x, given_["torus"], given_["mass"] / given_["mass"].sum())[0, :, -1]
    assert torch.allclose((-4 * growth).exp().mean((1, 2)), torch.ones(3), atol=0.1)
    assert growth.amax() - growth.amin() > 0.5


@pytest.mark.parametrize("task", ["classify", "label"])
def test_in_half_precision(task):
    model = cotan.create_model("toric", 3, 4, task=task, width=16, resolution=32).eval()
    shape = Data(**dict(zip(("pos", "face"), bumpy(1, level=2), strict=True)))
    shape.pos = shape.pos.float()
    with torch.no_grad():
        single, half = cotan.apply(model, shape), cotan.apply(model.half(), shape)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), single, atol=0.02, rtol=0)


def test_a_vertex_counts_by_its_mass():
    """Where one vertex has all the mass of a shape, the mean over the shape is what is at that vertex."""
    model, batch = network("classify")
    model.head = torch.nn.Identity()
    first = batch["batch"].diff(prepend=torch.tensor([-1])) > 0
    batch |= {"mass": first.float(), "torus": batch["torus"]._replace(scale=torch.ones_like(batch["torus"].scale))}
    mean, peak = model(**batch).chunk(2, 1)
    model.task = "label"
    features = model(**batch)[:, :8]  # the same, at the vertices
    assert torch.allclose(mean, features[first], atol=1e-5)
    assert peak.min() < 0  # the maximum is over the vertices, whose features are not all positive


def test_no_dilation_is_of_half_the_torus():
    for resolution, expected in ((8, [1, 2, 1, 2]), (16, [1, 2, 4, 1]), (32, [1, 2, 4, 8])):
        model = cotan.create_model("toric", 3, 4, resolution=resolution)
        assert [block.first.dilation[0] for block in model.blocks] == expected


def test_a_vertex_without_faces_has_a_label():
    pos, face = bumpy(0, level=1)
    shape = Data(pos=torch.cat([pos, pos[:1]]).float(), face=face)
    model = cotan.create_model("toric", 3, 4, task="label", resolution=16, width=8).eval()
    assert cotan.apply(model, shape).isfinite().all()


@pytest.mark.parametrize("task", ["classify", "label"])
def test_a_shape_does_not_depend_on_its_neighbours(task):
    model, batch = network(task)
    together, alone = model(**batch), cotan.apply(model, shapes(1))
    expected = together[:1] if task == "classify" else together[batch["batch"] == 0]
    assert torch.allclose(alone, expected, atol=1e-5)


@pytest.mark.parametrize("task", ["classify", "label"])
def test_maps_are_averaged(task):
    model, batch = network(task)
    both = model(**batch)
    model.maps = 1
    each = []
    for m in (0, 1):
        pull, uv, scale, turned = batch["torus"]
        here = (pull.row // 16**2 % 2) == m
        row = (pull.row // (2 * 16**2)) * 16**2 + pull.row % 16**2
        pull = cotan.Sparse.from_coo(row[here], pull.col[here], pull.values[here], (3 * 16**2, pull.shape[1]))
        each.append(model(**{**batch, "torus": Torus(pull, uv[:, [m]], scale[:, [m]], turned[:, [m]])}))
    share = scale / scale.sum(1, keepdim=True) if task == "label" else torch.full((3, 2), 0.5)
    assert torch.allclose(both, sum(e * share[:, m, None] for m, e in enumerate(each)), atol=1e-5)


def test_training_draws_maps():
    model, batch = network("classify")
    model.train()
    found = {tuple(model(**batch).flatten().round(decimals=4).tolist()) for _ in range(8)}
    assert len(found) > 1


@pytest.mark.parametrize("task", ["classify", "label"])
def test_it_learns(task):
    model, batch = network(task)
    target = torch.tensor([0, 1, 2]) if task == "classify" else (batch["x"][:, 2] > 0).long()
    optimiser = torch.optim.Adam(model.parameters(), 3e-3)
    model.train()
    for _ in range(40):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(**batch), target).backward()
        optimiser.step()
    assert (model.eval()(**batch).argmax(1) == target).float().mean() > 0.85


def test_numbers_at_vertices_are_learned():
    """The height of a vertex, in units far from one."""
    train = shapes(3)
    for shape in train:
        shape.y = 50 + 7 * shape.pos[:, 2]
    model = cotan.model_for(
        "toric", (data := cotan.Splits(train, train, train, task="regress-vertices")), seed=0, resolution=16, width=16
    )
    run = cotan.fit(model, data, epochs=40, lr=1e-2, progress="none")
    assert cotan.apply(run.model, train[0]).shape == (len(train[0].pos), 1)
    assert run.metrics["test_root_mean_square_error"] < 0.25 * torch.cat([shape.y for shape in train]).std()


def test_refused_tasks():
    with pytest.raises(cotan.CotanError, match="match"):
        cotan.create_model("toric", 3, 4, task="match")


def test_picture(tmp_path):
    pytest.importorskip("matplotlib")
    chart_figure(*bumpy(0, level=2), resolution=32, maps=2).savefig(tmp_path / "torus.png")
    assert (tmp_path / "torus.png").stat().st_size > 10_000


def test_nothing_of_the_shape_is_cut_off(caplog):
    backend = pytest.importorskip("matplotlib.backends.backend_agg")
    figure = chart_figure(*tensors(trimesh.creation.box().subdivide().subdivide()), resolution=32)
    canvas = backend.FigureCanvasAgg(figure)
    canvas.draw()
    assert "Clipping" not in caplog.text  # colours beyond one, by rounding
    left, low, right, high = map(int, figure.axes[0].get_window_extent().extents)
    seen = np.asarray(canvas.buffer_rgba())[::-1][low + 2 : high - 2, left + 2 : right - 2, :3].min(2) < 250
    assert seen[len(seen) // 2].any()
    assert not seen[[0, -1]].any()
    assert not seen[:, [0, -1]].any()


def test_the_picture_stands_upright_and_shows_the_cut():
    pytest.importorskip("matplotlib")
    pos, face = bumpy(0, level=2)
    pos = pos * torch.tensor([1.0, 3.0, 1.0])
    shape, torus_axis, chart_axis, _, _ = chart_figure(pos, face, resolution=32, up="y").axes
    assert shape.get_zlim() == pytest.approx((float(pos[:, 1].min()), float(pos[:, 1].max())), abs=1e-6)
    chart = charts(pos, face)[0]
    edges = len(chart.disc.vertex) - len(chart.sphere.pos) + 1  # a path of n edges, each there twice
    assert [len(lines.get_segments()) for lines in chart_axis.collections[:1]] == [2 * edges]
    assert len(torus_axis.collections) == 10  # the outline, moved by whole sides, and the cone points
    with pytest.raises(cotan.CotanError, match="got 'w'"):
        chart_figure(pos, face, up="w")
