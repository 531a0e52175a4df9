"""One generated creature: its mesh, labels, canonical coordinates, near-isometry and seeds."""

import igl
import numpy as np
import pytest
import torch
import trimesh
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra
from scipy.spatial import cKDTree

from cotan_datasets.body import PARTS
from cotan_datasets.creatures import CLASSES, body
from cotan_datasets.generate import _angles, generate
from cotan_datasets.poses import creature
from cotan_datasets.remesh import MeshError, check_sphere, sheets

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # from importing torch_geometric


def mesh_of(shape, attribute="pos"):
    return trimesh.Trimesh(np.asarray(shape[attribute], dtype=float), np.asarray(shape["face"]).T, process=False)


def assert_sphere(mesh):
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.body_count == 1
    assert mesh.euler_number == 2
    assert mesh.volume > 0
    faces_around = [len(set(mesh.vertex_neighbors[v])) for v in range(len(mesh.vertices))]
    assert faces_around == np.bincount(mesh.faces.ravel()).tolist()  # one fan of faces around each vertex


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("bend", [(0.0, 0.5), (0.5, 1.0)])
def test_closed_outward_sphere_of_the_wanted_size(name, bend):
    shape = creature(name, 3, bend=bend)
    assert shape.pos.dtype == shape.body.dtype == torch.float32
    assert shape.face.dtype == torch.int64
    assert shape.pos.shape == shape.body.shape == (250, 3)
    assert shape.face.shape == (3, 496)
    assert shape.part.shape == (250,)
    assert shape.y.tolist() == [CLASSES.index(name)]
    mesh = mesh_of(shape)
    assert_sphere(mesh)
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    sides = sum(((x - y) ** 2).sum(1) for x, y in ((a, b), (b, c), (c, a)))
    quality = 4 * np.sqrt(3) * mesh.area_faces / sides  # 1 for an equilateral triangle
    assert quality.mean() > 0.7
    assert np.quantile(quality, 0.01) > 0.1


@pytest.mark.parametrize("vertices", [200, 1000, 4000])
def test_size_is_exact(vertices):
    for name in ("giraffe", "spider"):
        shape = creature(name, 0, vertices=vertices)
        assert len(shape.pos) == vertices
        assert_sphere(mesh_of(shape))


def test_fine_meshes_agree_with_each_other_and_coarse_ones_come_near():
    volume = {v: mesh_of(creature("dog", 1, vertices=v, mesh=v)).volume for v in (250, 2000, 2500)}
    assert volume[2500] == pytest.approx(volume[2000], rel=0.02)
    assert 0.75 * volume[2500] < volume[250] < volume[2500]


def test_check_sphere_sees_what_is_wrong():
    ball = trimesh.creation.icosphere(subdivisions=1)
    p, faces = np.array(ball.vertices), np.array(ball.faces)
    check_sphere(p, faces)
    ring = trimesh.creation.torus(1.0, 0.3)
    two = np.concatenate([faces, faces + len(p)])
    pinched = np.where(two == len(p), 0, two)  # two balls that share a vertex
    pinched = np.unique(pinched, return_inverse=True)[1].reshape(-1, 3)
    for points, wrong, message in (
        (p, faces[1:], "closed"),
        (p, np.concatenate([faces, faces]), "closed"),
        (p, faces[:, ::-1], "volume -"),
        (np.array(ring.vertices), np.array(ring.faces), "Euler number 0"),
        (np.concatenate([p, p + 5]), two, "2 pieces"),
        (np.concatenate([p, p[1:] + 5]), pinched, "Euler number 3"),
    ):
        with pytest.raises(MeshError, match=message):
            check_sphere(points, wrong)
    assert sheets(pinched, 2 * len(p) - 1)[0].tolist() == [2] + [1] * (2 * len(p) - 2)


def sphere_distance(kind, points, bone):
    """Distance of points to spheres along one bone: no formula of the skin's."""
    t = np.linspace(0, 1, 60)[:, None]
    centres = kind.start[bone] + t * kind.axis[bone]
    radii = kind.radius[bone, 0] + t[:, 0] * (kind.radius[bone, 1] - kind.radius[bone, 0])
    return (np.linalg.norm(points[:, None] - centres, axis=-1) - radii).min(1)


@pytest.mark.parametrize("name", ["dog", "giraffe", "spider", "octopus"])  # no flat bones: distances are round
def test_part_is_that_of_the_nearest_bone_in_the_rest_pose(name):
    shape, kind = generate(name, 5, vertices=1000), body(name)
    distance = np.stack([sphere_distance(kind, shape["body"], bone) for bone in range(len(kind.parent))], 1)
    assert (kind.part[distance.argmin(1)] == shape["part"]).mean() > 0.97


def test_parts_are_where_an_eye_puts_them():
    def of(name, part):
        shape = generate(name, 2, vertices=500)
        return shape["body"][shape["part"] == PARTS.index(part)]

    assert of("human", "head")[:, 1].min() > of("human", "leg")[:, 1].max() + 0.3  # over the legs
    assert np.abs(of("human", "arm")[:, 0]).min() > np.abs(of("human", "neck")[:, 0]).max()  # arms at the sides
    assert of("shark", "head")[:, 2].min() > of("shark", "tail")[:, 2].max()  # head ahead
    assert np.ptp(of("giraffe", "neck")[:, 1]) > 0.4
    assert of("spider", "leg")[:, 1].min() < of("spider", "torso")[:, 1].min() - 0.05
    assert set(np.sign(of("bird", "wing")[:, 0])) == {-1.0, 1.0}
    for name in CLASSES:
        shape = generate(name, 0)
        assert set(shape["part"]) == set(body(name).part)  # at 250 vertices none is lost


@pytest.mark.parametrize("name", CLASSES)
def test_body_lies_on_the_skin_of_the_rest_pose(name):
    shape, kind = generate(name, 1, bend=(0.5, 1.0)), body(name)
    f, gradient = kind.gradient(shape["body"])
    assert np.abs(f).max() < 1e-4
    step = 1e-6 * np.eye(3)
    slope = [(kind.gradient(shape["body"] + e)[0] - kind.gradient(shape["body"] - e)[0]) / 2e-6 for e in step]
    away_from_rims = np.abs(np.stack(slope, 1) - gradient).max(1) < 1e-4
    assert away_from_rims.mean() > 0.98  # a tapered capsule has a kink where its side meets its cap


@pytest.mark.parametrize("name", CLASSES)
def test_body_moves_rigidly_with_each_bone(name):
    """Far from joints, pos is a similarity of body, fitted here without the skeleton's angles (Kabsch 1976)."""
    shape, kind = generate(name, 4, vertices=2000), body(name)
    weights = kind.weights(shape["body"])
    fitted = 0
    for bone in range(len(kind.parent)):
        inside = weights[:, bone] > 0.99
        if inside.sum() < 12:
            continue
        a, b = shape["body"][inside], shape["pos"][inside]
        a, b = a - a.mean(0), b - b.mean(0)
        u, s, vt = np.linalg.svd(a.T @ b)
        assert np.linalg.det(u @ vt) > 0
        assert np.abs(a @ u @ vt * s.sum() / (a**2).sum() - b).max() < 2e-3
        fitted += 1
    assert fitted >= 4


@pytest.mark.parametrize("name", CLASSES)
def test_body_coordinate_agrees_between_triangulations_and_poses(name):
    """A body point of one mesh, looked up in another mesh of the same pose, is at the same place in space."""
    one = generate(name, 7, vertices=300)
    for pose, bend in ((0, (0.0, 0.5)), (1, (0.5, 1.0))):
        other = generate(name, 7, vertices=2000, mesh=9, pose=pose, bend=bend)
        same_pose = one if pose == 0 else generate(name, 7, vertices=300, pose=pose, bend=bend)
        assert np.array_equal(same_pose["body"], one["body"])  # a pose leaves the triangulation alone
        mesh = mesh_of(other, "body")
        _, face, foot = igl.point_mesh_squared_distance(one["body"], np.array(mesh.vertices), np.array(mesh.faces))
        share = trimesh.triangles.points_to_barycentric(mesh.triangles[face], foot)
        found = np.einsum("vk,vki->vi", share, other["pos"][mesh.faces[face]])
        error = np.linalg.norm(found - same_pose["pos"], axis=1)
        assert np.median(error) < 2e-3  # the distance from a chord to the surface
        assert np.quantile(error, 0.98) < 0.012


def edge_graph(shape, p):
    mesh = mesh_of(shape)
    i, j = mesh.edges_unique.T
    length = np.linalg.norm(p[i] - p[j], axis=1)
    return length, coo_matrix((length, (i, j)), shape=(len(p), len(p)))


@pytest.mark.parametrize("name", CLASSES)
def test_poses_are_nearly_isometric(name):
    one = generate(name, 11, vertices=800)
    for bend, tolerance in (((0.0, 0.5), 0.05), ((0.5, 1.0), 0.08)):
        two = generate(name, 11, vertices=800, pose=1, bend=bend)
        assert np.array_equal(one["face"], two["face"])
        (a, graph_a), (b, graph_b) = edge_graph(one, one["pos"]), edge_graph(two, two["pos"])
        assert np.median(np.abs(np.log(b / a))) < 0.05
        assert np.quantile(np.abs(np.log(b / a)), 0.9) < 0.25
        sources = np.arange(0, 800, 50)
        along = [dijkstra(graph, directed=False, indices=sources) for graph in (graph_a, graph_b)]
        far = along[0] > 0.3
        geodesic = np.abs(along[1][far] / along[0][far] - 1)
        assert geodesic.mean() < tolerance
    straight = [np.linalg.norm(x["pos"][sources, None] - x["pos"], axis=-1)[far] for x in (one, two)]
    euclidean = np.abs(straight[1] / straight[0] - 1)
    assert np.quantile(euclidean, 0.95) > 1.5 * np.quantile(geodesic, 0.95)  # while the pose did change


def test_individuals_differ_in_size_of_limbs_and_sides_match():
    still = {"bend": (0.0, 0.0), "vertices": 1500}
    spans = [np.ptp(generate("human", seed, **still)["pos"], axis=0) for seed in range(4)]
    assert len({round(s[1], 3) for s in spans}) == 4
    assert np.std([s[1] for s in spans]) / np.mean([s[1] for s in spans]) < 0.1
    p = generate("human", 1, **still)["pos"]
    assert p[:, 0].max() == pytest.approx(-p[:, 0].min(), rel=0.01)


@pytest.mark.parametrize("name", CLASSES)
def test_sides_bend_as_in_a_mirror(name):
    kind = body(name)
    right = np.flatnonzero(kind.twin != np.arange(len(kind.twin)))
    left = kind.twin[right]
    angles = np.zeros((len(kind.parent), 3))
    for side in (left, right):
        angles[side] = (kind.turn + kind.fold)[side].sum(1)
    posed = kind.bend(kind.end, np.eye(len(angles)), angles, np.ones(len(angles)))
    assert np.allclose(posed[right], posed[left] * [-1, 1, 1])
    assert len(right) == 0 or np.abs(posed - kind.end).max() > 0.1


def test_knees_bend_one_way_and_hips_both():
    kind = body("human")
    found = np.stack([_angles(kind, np.ones(len(kind.parent)), (0, 1), np.random.default_rng(i)) for i in range(20)])
    bends = np.einsum("nbi,bi->nb", found, kind.fold[:, 0])
    knees = (kind.fold[:, 0] != 0).any(1) & (kind.turn[:, 0] == 0).all(1)
    assert knees.sum() == 2
    assert (bends[:, knees] >= 0).all()
    hips = np.einsum("nbi,bi->nb", found, kind.turn[:, 0])[:, [kind.names.index("leg0")]]
    assert hips.min() < 0 < hips.max()


def test_limbs_that_are_bent_into_each_other_touch():
    kind = body("human")
    angles, scale = np.zeros((len(kind.parent), 3)), np.ones(len(kind.parent))
    assert not kind.touching(angles, scale).any()
    legs = [b for b, name in enumerate(kind.names) if name.startswith("leg0")]
    angles[legs, 2] = np.sign(kind.start[legs, 0]) * -0.4  # towards each other
    assert {PARTS[part] for part in kind.part[kind.touching(angles, scale)]} == {"leg"}


def canonical(face):
    """A triangulation up to the order of faces and of the corners in a face."""
    face = np.asarray(face)
    turned = np.stack([np.roll(f, -f.argmin()) for f in face.T])
    return turned[np.lexsort(turned.T)].tobytes()


def degrees(face):
    return tuple(np.sort(np.bincount(np.asarray(face).ravel())))


def test_no_two_shapes_share_a_triangulation():
    shapes = [generate(name, seed, mesh=mesh) for name in ("dog", "bird") for seed in range(3) for mesh in range(3)]
    assert len({canonical(s["face"]) for s in shapes}) == len(shapes)
    assert len({tuple(np.bincount(degrees(s["face"]))) for s in shapes}) > len(shapes) // 2  # nor after a renumbering
    one, two = (generate("dog", 0, mesh=mesh) for mesh in (0, 1))
    assert np.median(cKDTree(one["body"]).query(two["body"])[0]) > 0.005  # vertices are at other places


def test_seed_decides_everything():
    for key, same in (({}, True), ({"mesh": 1}, False), ({"pose": 1}, False)):
        one, two = generate("lizard", 2), generate("lizard", 2, **key)
        assert all(np.array_equal(one[k], two[k]) for k in one) == same
    turned = generate("lizard", 2, rotate=True)
    gram = turned["pos"] @ turned["pos"].T
    straight = generate("lizard", 2)["pos"]
    assert np.allclose(gram, straight @ straight.T)
    assert not np.allclose(turned["pos"], straight, atol=0.1)
