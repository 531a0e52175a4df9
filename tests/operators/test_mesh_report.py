import pytest
import torch
import trimesh

from cotan.errors import CotanError
from cotan.operators.mesh_report import faults, mesh_report, repeats
from cotan.sparse import numbered

CLEAN = {
    "non_finite_vertices": 0,
    "unreferenced_vertices": 0,
    "duplicate_vertices": 0,
    "degenerate_faces": 0,
    "flat_faces": 0,
    "duplicate_faces": 0,
    "non_manifold_edges": 0,
    "non_manifold_vertices": 0,
    "flipped_faces": 0,
    "orientable": True,
    "inside_out_patches": 0,
    "manifold": True,
}
X = torch.float64


def of(report, **expected):
    return {key: report[key] for key in expected} == expected


def torus(major=24, minor=10):
    mesh = trimesh.creation.torus(2, 0.7, major_sections=major, minor_sections=minor)
    return torch.tensor(mesh.vertices), torch.tensor(mesh.faces.T.copy())


def test_sphere(icosphere):
    pos, face = icosphere(2)
    report = mesh_report(pos, face)
    assert of(report, **CLEAN, vertices=162, faces=320, edges=480, components=1, euler=2, genus=0, closed=True)
    assert of(report, boundary_edges=0, boundary_loops=0)


def test_torus_and_two_of_them():
    pos, face = torus()
    assert of(mesh_report(pos, face), **CLEAN, euler=0, genus=1, closed=True)
    two = torch.cat([pos, pos + 9]), torch.cat([face, face + len(pos)], 1)
    assert of(mesh_report(*two), **CLEAN, euler=0, genus=2, components=2)


def test_square_with_a_hole(square):
    pos, face = square(6)
    centre = pos[face].mean(0)[:, :2]
    holed = face[:, ((centre - 0.5).abs() > 0.15).any(1)]
    assert of(mesh_report(pos, face), **CLEAN, boundary_edges=20, boundary_loops=1, euler=1, genus=0, closed=False)
    assert of(mesh_report(pos, holed), **CLEAN, boundary_edges=24, boundary_loops=2, euler=0, genus=0)


def test_moebius_strip():
    n = 9
    i = torch.arange(n)
    low, high = i, i + n
    next_low = torch.where(i == n - 1, n, (i + 1) % n)
    next_high = torch.where(i == n - 1, 0, (i + 1) % n + n)
    face = torch.cat([torch.stack([low, next_low, high]), torch.stack([high, next_low, next_high])], 1)
    angle = 2 * torch.pi * torch.arange(n, dtype=X) / n
    ring = torch.stack([angle.cos(), angle.sin(), 0 * angle], 1)
    half = torch.stack([(angle / 2).cos() * angle.cos(), (angle / 2).cos() * angle.sin(), (angle / 2).sin()], 1) / 3
    report = mesh_report(torch.cat([ring - half, ring + half]), face)
    assert of(report, orientable=False, manifold=True, boundary_loops=1, euler=0, genus=None)


def test_flipped_and_inside_out(icosphere):
    pos, face = icosphere(1)
    some = face.clone()
    some[:, :5] = face[:, :5].flip(0)
    assert of(mesh_report(pos, some), flipped_faces=5, closed=False, inside_out_patches=0)
    assert of(mesh_report(pos, face.flip(0)), flipped_faces=0, closed=True, inside_out_patches=1)


def test_two_tetrahedra_at_a_vertex_and_at_an_edge():
    one = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [-1, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=X)
    at_vertex = torch.cat([one, torch.tensor([0, 4, 5, 6])[one]]).T
    report = mesh_report(pos, at_vertex)
    assert of(report, non_manifold_vertices=1, non_manifold_edges=0, components=1, genus=None)
    at_edge = torch.cat([one, torch.tensor([0, 1, 5, 6])[one]]).T
    assert of(mesh_report(pos, at_edge), non_manifold_vertices=2, non_manifold_edges=1, unreferenced_vertices=1)


def test_all_that_is_wrong_with_faces():
    pos = torch.tensor([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0, 0], [0, 0, 0], [float("nan"), 0, 0]], dtype=X)
    face = torch.tensor([[0, 1, 2], [2, 1, 0], [0, 0, 1], [0, 3, 1], [0, 1, 5]]).T
    report = mesh_report(pos, face)
    assert of(report, degenerate_faces=1, duplicate_faces=1, flat_faces=1, non_finite_vertices=1)
    assert of(report, duplicate_vertices=1, unreferenced_vertices=1, non_manifold_edges=1)


def test_against_trimesh(real):
    pos, face = real
    mesh = trimesh.Trimesh(pos.numpy(), face.T.numpy(), process=False)
    report = mesh_report(pos, face)
    assert of(
        report,
        edges=len(mesh.edges_unique),
        euler=mesh.euler_number,
        components=mesh.body_count - report["unreferenced_vertices"],  # theirs counts loose vertices
        closed=mesh.is_watertight and mesh.is_winding_consistent,
    )


def test_hard(hard):
    import json

    report = mesh_report(*hard)
    assert json.loads(json.dumps(report)) == report
    order = torch.randperm(hard[1].shape[1], generator=torch.Generator().manual_seed(0))
    assert mesh_report(hard[0], hard[1][:, order]) == report


def test_no_faces():
    with pytest.raises(CotanError, match="a mesh without faces"):
        mesh_report(torch.zeros(3, 3), torch.zeros(3, 0, dtype=torch.long))


def test_a_flat_mesh_without_heights():
    with pytest.raises(CotanError, match=r"pos: expected shape \(V, 3\), got \(3, 2\)"):
        mesh_report(torch.rand(3, 2), torch.tensor([[0], [1], [2]]))


def test_rows_and_faces_that_are_counted_once():
    """Against sets of Python's, of numbers so few that wrong places of the digits would meet."""
    generator = torch.Generator().manual_seed(0)
    for size in (1, 2, 3, 5):
        for count in (1, 2, 4, 9):
            rows = torch.randint(size, (count, 3), generator=generator)
            assert len(numbered(rows.double() - 1).unique()) == len(set(map(tuple, rows.tolist())))
            face = torch.randint(size, (3, count), generator=generator)
            before: list[list[int]] = []
            for again, corners in zip(repeats(face).tolist(), face.T.sort(1).values.tolist(), strict=True):
                assert again == (corners in before)
                before.append(corners)
            assert torch.equal(repeats(face + 3 * 10**9), repeats(face))  # whose key goes beyond 2^63
    assert numbered(torch.tensor([[0.0, 1, 0], [1, 0, 0]])).tolist() == [0, 1]


def test_a_pillow_has_no_inside():
    pillow = torch.eye(3), torch.tensor([[0, 0], [1, 2], [2, 1]])
    assert of(mesh_report(*pillow), inside_out_patches=0, closed=True)


def test_one_of_a_kind_is_said_in_the_singular(sphere):
    assert faults(mesh_report(sphere.pos, sphere.face.flip(0))) == "1 inside out patch"
