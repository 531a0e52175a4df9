import math
import os
from pathlib import Path

import pytest
import torch

import cotan
from cotan_voxels.closed import distinct
from cotan_voxels.voxels import voxel_report, voxels

trimesh = pytest.importorskip("trimesh")


def tensors(mesh):
    return torch.tensor(mesh.vertices.copy(), dtype=torch.float64), torch.tensor(mesh.faces.copy()).t().contiguous()


def volume(pos, face, **options):
    return float(voxels(pos, face, **options).sum()) * voxel_report(pos, face, **options)["pitch"] ** 3


def rotation(seed):
    generator = torch.Generator().manual_seed(seed)
    q, r = torch.linalg.qr(torch.randn(3, 3, generator=generator, dtype=torch.float64))
    q = q * r.diagonal().sign()
    return q * torch.linalg.det(q)


ANALYTIC = {
    "sphere": (trimesh.creation.icosphere(subdivisions=4), 4 / 3 * math.pi),
    "box": (trimesh.creation.box(extents=(1.0, 2.0, 0.7)), 1.4),
    "torus": (trimesh.creation.torus(1.0, 0.4, major_sections=64, minor_sections=40), 2 * math.pi**2 * 0.16),
    "cone": (trimesh.creation.cone(radius=1.0, height=1.5, sections=96), math.pi / 2),
}


@pytest.mark.parametrize("name", ANALYTIC)
@pytest.mark.parametrize("method", ["auto", "winding"])
def test_volume(name, method):
    mesh, expected = ANALYTIC[name]
    pos, face = tensors(mesh)
    for seed in range(3):
        found = volume(pos @ rotation(seed).T, face, resolution=64, method=method)
        assert found == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("name", ANALYTIC)
def test_parity_is_winding_is_flood_on_a_closed_mesh(name):
    pos, face = tensors(ANALYTIC[name][0])
    pos = pos @ rotation(7).T
    parity = voxels(pos, face, resolution=40, method="parity")
    assert torch.equal(voxels(pos, face, resolution=40, method="winding"), parity)
    flood = voxels(pos, face, resolution=40, method="flood")
    assert torch.equal(flood, voxels(pos, face, resolution=40, fill="union"))


def check_against_contains(mesh, seed):
    """At 1000 random points more than a voxel's diagonal away from the surface."""
    pos, face = tensors(mesh)
    report = voxel_report(pos, face, resolution=64)
    grid = voxels(pos, face, resolution=64)
    wall = voxels(pos, face, resolution=64, fill="tsdf", truncation=1.0).abs() < 1
    generator = torch.Generator().manual_seed(seed)
    at = torch.rand(20000, 3, generator=generator, dtype=torch.float64) * 64
    cell = at.long()
    away = ~wall[cell[:, 0], cell[:, 1], cell[:, 2]]
    at, cell = at[away][:1000], cell[away][:1000]
    points = at * report["pitch"] + torch.tensor(report["origin"], dtype=torch.float64)
    found = grid[cell[:, 0], cell[:, 1], cell[:, 2]] > 0
    assert len(at) == 1000
    assert found.sum() > 10
    assert torch.equal(found, torch.from_numpy(mesh.contains(points.numpy())))


@pytest.mark.parametrize("name", ANALYTIC)
def test_the_same_solid_as_trimesh(name):
    check_against_contains(ANALYTIC[name][0], seed=0)


@pytest.mark.parametrize("name", ["clean/spot.ply", "clean/fandisk.obj"])
def test_the_same_solid_as_trimesh_on_real_meshes(name):
    check_against_contains(trimesh.load(data() / "meshes" / name, force="mesh"), seed=1)


def data() -> Path:
    if "COTAN_DATA" not in os.environ:
        pytest.skip("COTAN_DATA is not set")
    return Path(os.environ["COTAN_DATA"])


def test_holes_are_closed_by_winding():
    """A sphere without its cap keeps its inside; by flooding it would leak."""
    mesh = trimesh.creation.icosphere(subdivisions=4)
    pos, face = tensors(mesh)
    closed = voxels(pos, face, resolution=32, normalize="none", padding=2)
    cap = face[:, (pos[face][..., 2] < 0.9).any(0)]
    options = {"resolution": 32, "normalize": "none", "padding": 2}
    assert voxel_report(pos, cap, **options)["method"] == "winding"
    opened = voxels(pos, cap, **options)
    assert (opened != closed).sum() < 0.03 * closed.sum()
    assert voxels(pos, cap, method="flood", **options).sum() < 0.7 * closed.sum()


@pytest.mark.parametrize("missing", [0, 0.05, 0.2])
def test_loose_faces_are_a_solid(missing):
    """Faces a little apart, all of whose edges are open."""
    igl, mesh = pytest.importorskip("igl"), ANALYTIC["sphere"][0]
    triangles = torch.tensor(mesh.triangles.copy())[
        torch.rand(len(mesh.faces), generator=torch.Generator().manual_seed(0)) >= missing
    ]
    pos = (0.98 * triangles + 0.02 * triangles.mean(1, keepdim=True)).view(-1, 3)
    face = torch.arange(len(pos)).view(-1, 3).t()
    report, line = voxel_report(pos, face, resolution=20), torch.arange(20, dtype=torch.float64) + 0.5
    centre = torch.tensor(report["origin"]) + report["pitch"] * torch.cartesian_prod(line, line, line)[::3]
    expected = torch.from_numpy(igl.winding_number(pos.numpy(), face.t().numpy(), centre.numpy()) > 0.5)
    assert report["method"] == "winding"
    assert ((voxels(pos, face, resolution=20).view(-1)[::3] > 0.5) != expected).sum() <= 1e-3 * expected.sum()


def test_overlapping_pieces():
    a, b = trimesh.creation.box(), trimesh.creation.box()
    b.apply_translation([0.5, 0.25, 0.125])
    pos, face = tensors(trimesh.util.concatenate([a, b]))
    overlap = 0.5 * 0.75 * 0.875
    assert volume(pos, face, resolution=128, method="winding") == pytest.approx(2 - overlap, rel=0.02)
    assert volume(pos, face, resolution=128, method="parity") == pytest.approx(2 - 2 * overlap, rel=0.02)


def test_cavity():
    outer, inner = trimesh.creation.icosphere(subdivisions=4), trimesh.creation.icosphere(subdivisions=4, radius=0.5)
    inner.invert()
    pos, face = tensors(trimesh.util.concatenate([outer, inner]))
    for method in ("parity", "winding"):
        assert volume(pos, face, resolution=64, method=method) == pytest.approx(4 / 3 * math.pi * 0.875, rel=0.02)


def ball(x, radius=1.0, inwards=False):
    mesh = trimesh.creation.icosphere(subdivisions=3, radius=radius)
    mesh.apply_translation([x, 0.1 * x, 0.3 * x])
    if inwards:
        mesh.invert()
    return mesh


# Pieces, and those of them that are cavities.
PIECES = {
    "overlapping": ([ball(0), ball(0.9)], []),
    "three overlapping": ([ball(0), ball(0.7), ball(1.2, 0.8)], []),
    "nested": ([ball(0), ball(0.2, 0.5)], []),
    "cavity": ([ball(0), ball(0.2, 0.5, inwards=True)], [1]),
    "an island in a cavity": ([ball(0), ball(0, 0.7, inwards=True), ball(0.1, 0.3)], [1]),
    "all inside out": ([ball(0, inwards=True), ball(0.9, inwards=True)], []),
    # Each sticks out of the other.
    "two inside out": ([ball(0), *(ball(x, 0.5, inwards=True) for x in (-0.9, 0.9))], []),
    "one inside out, apart": ([ball(0), ball(3, inwards=True)], []),
    "one inside out, with its cavity": ([ball(0), ball(3, inwards=True), ball(3.1, 0.5)], [2]),
}


@pytest.mark.parametrize("name", PIECES)
@pytest.mark.parametrize("flipped", [False, True])
def test_closed_pieces_are_their_union_without_cavities(name, flipped):
    pieces, cavities = PIECES[name]
    pos, face = tensors(trimesh.util.concatenate(pieces))
    if flipped:
        face[:, ::7] = face[:, ::7].flip(0)
    report = voxel_report(pos, face)
    assert report["method"] == "winding"
    assert report["oriented"] is not flipped
    points = torch.cartesian_prod(*[torch.arange(32) + 0.5] * 3) * report["pitch"] + torch.tensor(report["origin"])
    expected = torch.zeros(len(points), dtype=torch.bool)
    for number, piece in enumerate(pieces):
        within = trimesh.Trimesh(piece.vertices, piece.faces)
        within.fix_normals()
        here = torch.from_numpy(within.contains(points.numpy()))
        expected = expected & ~here if number in cavities else expected | here
    assert torch.equal(voxels(pos, face).bool().view(-1), expected)


def test_open_pieces_stay_as_they_are_where_closed_ones_are_turned():
    whole = ball(0)
    whole.update_faces(abs(whole.triangles_center[:, 2]) > 0.1)  # two bowls
    one, other = (tensors(trimesh.util.concatenate([whole, ball(3, 0.5, inwards)])) for inwards in (False, True))
    assert torch.equal(voxels(*other, resolution=16), voxels(*one, resolution=16))


@pytest.mark.parametrize("missing", [0, 1])
@pytest.mark.parametrize("method", ["auto", "winding"])
def test_faces_that_disagree_are_turned(missing, method):
    """One face turned over, and one missing: a flood would count all that faces touch."""
    pos, face = tensors(trimesh.creation.icosphere(subdivisions=4))
    mixed = face.clone()
    mixed[:, 5] = mixed[:, 5].flip(0)
    assert torch.equal(voxels(pos, mixed[:, missing:], method=method), voxels(pos, face[:, missing:]))
    assert (voxels(pos, mixed[:, missing:], method=method) != voxels(pos, face)).sum() <= 2


def test_auto_names_its_method():
    pos, face = tensors(trimesh.creation.icosphere(subdivisions=2))
    mixed = face.clone()
    mixed[:, 5] = mixed[:, 5].flip(0)
    for mesh in (face, face[:, 1:], mixed, mixed[:, 1:]):
        assert voxel_report(pos, mesh)["method"] == "winding"
    # Corners of their own for each face are a seam, not a hole.
    assert voxel_report(pos[face.t().reshape(-1)], torch.arange(face.numel()).view(-1, 3).t())["watertight"]
    fin = torch.cat([pos, 2 * pos[:1]]), torch.cat([face, torch.tensor([[*face[:2, 0], len(pos)]]).t()], 1)
    assert voxel_report(*fin)["method"] == "flood"
    boxes = trimesh.util.concatenate([trimesh.creation.box(bounds=[[i, i, 0], [i + 1, i + 1, 1]]) for i in (0, 1)])
    boxes.merge_vertices()
    report = voxel_report(*tensors(boxes))  # an edge with four faces
    assert (report["method"], report["watertight"], report["oriented"]) == ("parity", False, False)


def klein(n=24):
    """A bottle in three dimensions: its sides cannot agree."""
    u, v = (x.reshape(-1).double() for x in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))
    u, v = 2 * math.pi * u / n, 2 * math.pi * v / n
    r = 2 + torch.cos(u / 2) * torch.sin(v) - torch.sin(u / 2) * torch.sin(2 * v)
    z = torch.sin(u / 2) * torch.sin(v) + torch.cos(u / 2) * torch.sin(2 * v)
    pos = torch.stack([r * torch.cos(u), r * torch.sin(u), z], 1)
    i, j = (x.reshape(-1) for x in torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij"))

    def at(i, j):
        return torch.where(i == n, (-j) % n, i * n + j % n)

    a, b, c, d = at(i, j), at(i + 1, j), at(i + 1, j + 1), at(i, j + 1)
    return pos, torch.cat([torch.stack([a, b, c]), torch.stack([a, c, d])], 1)


@pytest.mark.parametrize("operator", [voxels, voxel_report])
def test_parity_of_a_mesh_with_a_hole_is_refused(operator):
    pos, face = tensors(ANALYTIC["sphere"][0])
    loose = torch.arange(face.numel()).view(-1, 3).T
    operator(pos[face.T].reshape(-1, 3), loose, method="parity")  # seams are no holes
    with pytest.raises(cotan.CotanError, match=r"3 edges of this one have an odd number .*'winding' closes holes"):
        operator(pos, face[:, 1:], method="parity")


@pytest.mark.parametrize(
    ("options", "free"), [({}, 4), ({"fill": "surface"}, 3), ({"fill": "union"}, 3), ({"method": "flood"}, 3)]
)
def test_padding_is_free_and_one_less_where_touched_voxels_count(options, free):
    pos, face = tensors(trimesh.creation.box(extents=(1.0, 1.0, 1.0)))
    expected = torch.zeros(32, dtype=torch.bool)
    expected[free : 32 - free] = True
    filled = voxels(pos, face, padding=4, **options) > 0
    for axes in ((0, 1), (0, 2), (1, 2)):
        assert torch.equal(filled.any(axes[1]).any(axes[0]), expected)


def test_a_closed_mesh_with_one_side_is_told_by_parity():
    pos, face = klein()
    report = voxel_report(pos, face)
    assert report["watertight"]
    assert report["method"] == "parity"
    assert torch.equal(voxels(pos, face), voxels(pos, face, method="parity"))


@pytest.mark.parametrize("name", ANALYTIC)
def test_a_wall_drawn_from_both_sides_is_one_wall(name):
    """Some faces or all again: the other way round, from another corner, or with corners of their own."""

    def found(pos, face):
        ways = ({"resolution": 16}, {"method": "winding", "resolution": 16}, {"fill": "tsdf", "resolution": 10})
        return voxel_report(pos, face), [voxels(pos, face, **options).tolist() for options in ways]

    pos, face = tensors(ANALYTIC[name][0])
    for opened in (face, face[:, 1:]):
        expected = found(pos, opened)
        for again in (opened, opened[:, ::2]):
            own = torch.arange(again.numel()).view(3, -1) + len(pos)
            for more in (again.flip(0), again.roll(1, 0), own, own[[1, 0, 2]]):
                walls = torch.cat([pos, pos[again.reshape(-1)]]), torch.cat([opened, more, opened[:, :1]], 1)
                assert found(*walls) == expected


def test_faces_about_one_middle_are_not_one():
    star = torch.tensor([[[1.0, 0, 0], [-1, 1, 0], [0, -1, 0]]], dtype=torch.float64)
    star = torch.cat([star, -star, star * torch.tensor([1.0, -1, 1]), star.roll(1, 1)]) + 4
    face = torch.arange(12).view(4, 3).t()
    kept, corners = distinct(face, star)
    assert torch.equal(kept, face[:, :3])
    assert torch.equal(corners, star[:3])


def test_sheets_are_kept():
    """Two-sided sheets are closed and have no inside; an open sheet has none either."""
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    sheet = torch.tensor([[0, 1, 2], [0, 2, 3]]).t()
    for face in (sheet, torch.cat([sheet, sheet.flip(0)], 1)):
        found = voxels(pos, face, resolution=16)
        assert torch.equal(found, voxels(pos, face, resolution=16, fill="surface"))
        assert found.sum() > 14 * 14


def test_one_triangle():
    pos = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 1]])
    for fill in ("solid", "surface", "union", "tsdf"):
        found = voxels(pos, torch.tensor([[0], [1], [2]]), fill=fill)
        assert found.shape == (32, 32, 32)
        assert found.isfinite().all()
        assert found.min() < found.max()


def test_points_as_faces_are_a_grid_that_is_one_where_points_are():
    pos = torch.rand(300, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    edges = torch.linspace(-1, 1, 17, dtype=torch.float64)
    expected = torch.histogramdd(pos, [edges] * 3).hist > 0
    place = {"resolution": 16, "normalize": "none", "padding": 0}
    found = voxels(pos, torch.arange(300).expand(3, -1), fill="surface", **place)
    assert torch.equal(found.bool(), expected)


def test_tsdf_of_a_sphere():
    pos, face = tensors(trimesh.creation.icosphere(subdivisions=5))
    found = voxels(pos, face, resolution=32, fill="tsdf", truncation=4.0)
    pitch = voxel_report(pos, face)["pitch"]
    centre = (torch.cartesian_prod(*[torch.arange(32, dtype=torch.float64)] * 3) + 0.5 - 16) * pitch
    expected = ((centre.norm(dim=1) - 1) / pitch / 4).clamp(-1, 1).view(32, 32, 32)
    assert torch.allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("normalize", ["box", "sphere"])
def test_place_and_size_do_not_matter(normalize):
    pos, face = tensors(ANALYTIC["torus"][0])
    pos = pos @ rotation(3).T
    first = voxels(pos, face, normalize=normalize)
    moved = voxels(pos * 7.3 + torch.tensor([5.0, -3.0, 100.0]), face, normalize=normalize)
    assert torch.equal(first, moved)


@pytest.mark.parametrize("normalize", ["box", "sphere"])
@pytest.mark.parametrize("size", [1e-200, 1e200])
def test_squares_of_areas_do_not_overflow(normalize, size):
    pos, face = tensors(ANALYTIC["cone"][0])
    pos = pos @ rotation(4).T + 0.2
    assert torch.equal(voxels(pos * size, face, normalize=normalize), voxels(pos, face, normalize=normalize))
    report, large = (voxel_report(pos * s, face, normalize=normalize) for s in (1, size))
    assert large["pitch"] / size == pytest.approx(report["pitch"])
    assert [x / size for x in large["origin"]] == pytest.approx(report["origin"])


def test_sphere_keeps_the_size_under_rotation():
    pos, face = tensors(ANALYTIC["box"][0])
    pitches = {
        round(voxel_report(pos @ rotation(s).T, face, normalize="sphere", padding=0)["pitch"], 12) for s in range(5)
    }
    assert len(pitches) == 1


def test_sphere_centres_the_surface_however_it_is_cut():
    mesh = trimesh.creation.cone(radius=0.5, height=2.0)
    more = mesh.subdivide([0, 1, 2, 3, 4])
    one, two = (voxel_report(*tensors(m), normalize="sphere") for m in (mesh, more))
    assert one["origin"] == pytest.approx(two["origin"])
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [5, 0, 0]])  # without area: the mean of the corners
    report = voxel_report(line, torch.tensor([[0], [1], [2]]), normalize="sphere", padding=0)
    assert report["origin"] == pytest.approx([-1, -3, -3])


@pytest.mark.parametrize("fill", ["solid", "tsdf"])
@pytest.mark.parametrize("method", ["parity", "winding", "flood"])
def test_less_than_no_padding_cuts_off(method, fill):
    pos, face = tensors(ANALYTIC["torus"][0])
    pos = pos @ rotation(2).T
    whole = voxels(pos, face, resolution=32, padding=0, method=method, fill=fill)
    inner = voxels(pos, face, resolution=24, padding=-4, method=method, fill=fill)
    torch.testing.assert_close(inner, whole[4:-4, 4:-4, 4:-4], rtol=0, atol=1e-12)


def test_samples_give_the_share_of_a_voxel_that_is_inside():
    pos, face = tensors(trimesh.creation.box())
    found = voxels(pos * 5, face, resolution=8, normalize="box", padding=1.5, samples=4)  # 5 voxels of 8 long
    side = torch.tensor([0, 0.5, 1, 1, 1, 1, 0.5, 0], dtype=torch.float64)
    assert torch.equal(found, side[:, None, None] * side[:, None] * side)
    pos, face = tensors(ANALYTIC["sphere"][0])
    few, many = (float(voxels(pos, face, resolution=8, samples=n).sum()) * (2 / 6) ** 3 for n in (1, 8))
    assert abs(many - 4 / 3 * math.pi) < 0.02 < abs(few - 4 / 3 * math.pi)
    distance = voxels(pos, face, resolution=12, fill="tsdf", samples=3)
    assert (distance - voxels(pos, face, resolution=12, fill="tsdf")).abs().max() < 0.1


@pytest.mark.parametrize("side", [-1, 1])
def test_a_flood_does_not_come_in_where_the_grid_cuts_a_shape_off_on_one_side(side):
    pos, face = tensors(trimesh.creation.box(bounds=[[-0.5, -0.5, -0.5], [3, 0.5, 0.5]]))
    options = {"normalize": "none", "resolution": 16}
    found = voxels(side * pos, face, method="flood", **options)
    assert torch.equal(found, voxels(side * pos, face, fill="union", **options))


def test_a_grid_far_inside_of_a_shape():
    pos, face = tensors(ANALYTIC["sphere"][0])
    for fill, value in (("solid", 1), ("union", 1), ("surface", 0), ("tsdf", -1)):
        assert (voxels(1e4 * pos, face, resolution=8, normalize="none", fill=fill) == value).all()


@pytest.mark.parametrize("padding", [0, 1, -2])
def test_the_voxel_of_a_point_of_the_cube(padding):
    """With normalize="none", whose pitch is 2 / (R - 2 padding)."""
    x = torch.tensor([0.3, -0.71, 0.55], dtype=torch.float64)
    point = x + 1e-6 * torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0]], dtype=torch.float64)
    filled = voxels(
        point, torch.tensor([[0], [1], [2]]), fill="surface", resolution=32, normalize="none", padding=padding
    )
    expected = (x * (32 - 2 * padding) / 2 + 16).floor().long()
    assert filled.nonzero().tolist() == [expected.tolist()]


@pytest.mark.parametrize("padding", [0, 1, 4, 2.5])
def test_padding_is_free(padding):
    pos, face = tensors(ANALYTIC["box"][0])
    pos = pos.roll(1, 1)
    filled = voxels(pos, face, fill="surface", padding=padding, resolution=32).nonzero()
    free = math.floor(padding - 1e-6)  # a face on the border of a voxel touches both of its sides
    assert filled.amin() == max(free, 0)
    assert filled.amax() == 31 - max(free, 0)


def test_axes_are_those_of_the_shape():
    """A cone along y."""
    pos, face = tensors(trimesh.creation.cone(radius=0.3, height=2.0))
    pos = pos.roll(-1, 1)  # z to y, its tip at high y
    length = voxels(pos, face).sum((0, 2))
    assert (length > 0).sum() == 30
    assert length[1] == length.max()


def test_unreferenced_vertices_do_not_count():
    pos, face = tensors(trimesh.creation.icosphere(subdivisions=2))
    more = torch.cat([pos, torch.tensor([[100.0, 0, 0], [torch.nan, 0, 0]])])
    assert torch.equal(voxels(more, face), voxels(pos, face))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"face": torch.empty(3, 0, dtype=torch.long)}, "a mesh with faces, got none"),
        ({"pos": torch.zeros(12, 3)}, "all lie in one point"),
        ({"pos": torch.full((12, 3), torch.nan)}, "finite positions, got NaN"),
        (
            {"pos": torch.full((12, 3), 2e70, dtype=torch.float64), "normalize": "none"},
            r"positions up to 1e\+70, got 2e\+70",
        ),
        ({"resolution": 1}, "resolution from 2 to 512, a whole number, got 1"),
        ({"resolution": 513}, "resolution from 2 to 512, a whole number, got 513"),
        ({"fill": "hollow"}, "solid, surface, union, tsdf; got 'hollow'"),
        ({"method": "flood", "padding": -600}, "1232 voxels a side, where 512 are the most"),
        ({"method": "guess"}, "auto, winding, parity, flood; got 'guess'"),
        ({"normalize": "unit"}, "box, sphere, none; got 'unit'"),
        ({"padding": 16}, "below half of the resolution 32, got 16"),
        ({"resolution": 32.5}, "a whole number, got 32.5"),
        ({"samples": 0}, "voxels: samples=0, expected a whole number of at least 1"),
        ({"samples": 1.5}, "samples=1.5, expected a whole number"),
        ({"padding": -math.inf}, "finite and below half of the resolution 32, got -inf"),
        ({"fill": "surface", "method": "winding"}, "does not use method; got method='winding'"),
        (
            {"fill": "union", "truncation": 2.0},
            "fill='union' does not use truncation, that of 'tsdf'; got truncation=2.0",
        ),
        ({"fill": "tsdf", "truncation": 0}, "truncation must be positive and at most the resolution 32, got 0"),
        ({"fill": "tsdf", "truncation": math.inf}, "at most the resolution 32, got inf"),
        ({"pos": torch.rand(12, 2)}, r"pos: expected shape \(V, 3\), got \(12, 2\)"),
    ],
)
def test_refusals(change, message):
    pos, face = tensors(trimesh.creation.icosahedron())
    with pytest.raises(cotan.CotanError, match=message):
        voxels(**{"pos": pos, "face": face, **change})


def test_the_report_knows_its_methods():
    pos, face = tensors(trimesh.creation.icosahedron())
    assert voxel_report(pos, face, method="winding")["method"] == "winding"
    with pytest.raises(cotan.CotanError, match="auto, winding, parity, flood; got 'guess'"):
        voxel_report(pos, face, method="guess")


@pytest.mark.parametrize("fill", ["solid", "surface", "union", "tsdf"])
def test_hard_meshes(fill):
    for path in sorted((data() / "meshes" / "hard").iterdir()):
        pos, face = tensors(trimesh.load(path, process=False, force="mesh"))
        try:
            found = voxels(pos, face, resolution=16, fill=fill)
        except cotan.CotanError as error:
            assert path.name == "degenerate_mesh.obj", path
            assert "one point" in str(error)
            continue
        assert found.shape == (16, 16, 16)
        assert found.isfinite().all()
        assert found.min() < found.max()


def test_furniture_is_never_lost():
    for path in sorted((data() / "modelnet10_micro").glob("*/test/*.off"))[::8]:
        pos, face = tensors(trimesh.load(path, process=False, force="mesh"))
        solid, wall = voxels(pos, face), voxels(pos, face, fill="surface")
        near = torch.nn.functional.max_pool3d(solid[None], 5, 1, 2)[0]
        assert (wall <= near).all(), path


@pytest.mark.cuda
@pytest.mark.parametrize("method", ["parity", "winding", "flood"])
def test_cuda(method, gpu):
    pos, face = tensors(ANALYTIC["torus"][0])
    assert torch.equal(voxels(pos.cuda(), face.cuda(), method=method).cpu(), voxels(pos, face, method=method))


@pytest.mark.cuda
def test_cuda_where_faces_disagree(gpu):
    pos, face = tensors(trimesh.util.concatenate(PIECES["two inside out"][0]))
    face[:, ::7] = face[:, ::7].flip(0)
    assert torch.equal(voxels(pos.cuda(), face.cuda()).cpu(), voxels(pos, face))
