import pytest
import torch
from torch_geometric.data import Data

from cotan.errors import CotanError
from cotan.operators.mesh_report import mesh_report
from cotan.operators.repair import repair

BAD = (
    "non_finite_vertices",
    "unreferenced_vertices",
    "duplicate_vertices",
    "degenerate_faces",
    "flat_faces",
    "duplicate_faces",
    "inside_out_patches",
    "flipped_faces",
)


def test_hard(hard):
    pos, face = hard
    try:
        mended, done = repair(Data(pos=pos, face=face))
    except CotanError as refusal:
        assert str(refusal).startswith("repair: no face is left: merged 2 vertices")
        return
    report = mesh_report(mended.pos, mended.face)
    assert not any(report[key] for key in BAD), report
    assert repair(mended).done == []
    before = mesh_report(pos, face)
    assert bool(done) == any(before[key] for key in BAD)


def test_says_what_it_did(icosphere):
    pos, face = icosphere(1)
    pos = torch.cat([pos, pos[:2], torch.full((1, 3), float("nan"), dtype=torch.float64), pos[:1] + 9])
    face = torch.cat([face.flip(0), torch.tensor([[0, 42, 0], [0, 1, 44], [7, 7, 8]]).T, face[:, :1]], 1)
    face[face == 1] = 43
    data = Data(pos=pos, face=face, x=torch.arange(len(pos)), part=torch.arange(face.shape[1]), y=torch.tensor(3))
    mended, done = repair(data)
    assert done == [
        "dropped 1 vertices that are not finite",
        "dropped 1 faces at vertices that are not finite",
        "merged 2 vertices at the place of another",
        "dropped 2 faces that name a vertex twice",
        "dropped 1 repeated faces",
        "dropped 1 vertices without a face",
        "turned 1 closed parts outwards (cavities inwards)",
    ]
    sphere = icosphere(1)
    assert torch.equal(mended.pos, sphere[0])
    assert torch.equal(mended.face.sort(0).values, sphere[1].sort(0).values)
    assert mended.x.tolist() == list(range(42))
    assert mended.part.tolist() == list(range(80))
    assert mended.y == 3
    assert mesh_report(mended.pos, mended.face)["closed"]


@pytest.mark.parametrize("corner", range(3))
@pytest.mark.parametrize("first", range(4))
def test_a_cap_is_flipped_and_leaves_no_crack(square, first, corner):
    pos, _ = square(2)  # vertices 0 1 / 2 3, split along 0-3
    pos = torch.cat([pos, torch.tensor([[0.25, 0.25, 0.0]], dtype=torch.float64)])
    face = torch.tensor([[0, 1, 3], [0, 3, 4], [0, 4, 2], [4, 3, 2]]).T  # 4 lies on 0-3
    face = face.roll((corner, first), (0, 1))
    data = Data(pos=pos, face=face.clone())
    mended, done = repair(data)
    assert done == ["flipped the longest side of 1 faces without area"]
    assert torch.equal(data.face, face)  # the data is left alone
    report = mesh_report(mended.pos, mended.face)
    assert (report["boundary_edges"], report["faces"], report["flipped_faces"]) == (4, 4, 0)


def test_no_edge_comes_of_two_flips():
    """Vertex 4 lies on 0-1 and on 2-3, vertex 5 is beyond both: flipped twice, four faces would meet at 4-5."""
    pos = torch.tensor([[-1.0, 0, 0], [1, 0, 0], [0, -1, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]])
    face = torch.tensor([[0, 1, 4], [1, 0, 5], [2, 3, 4], [3, 2, 5]]).T
    mended, done = repair(Data(pos=pos, face=face))
    assert done == ["flipped the longest side of 1 faces without area", "dropped 1 faces without area"]
    assert mesh_report(mended.pos, mended.face)["non_manifold_edges"] == 0


def test_the_data_is_left_alone(icosphere):
    pos, face = icosphere(0)
    data = Data(pos=pos.clone(), face=face.flip(0))
    repair(data)
    assert torch.equal(data.face, face.flip(0))


def test_a_moebius_band_is_left_as_it_is_and_said():
    turn = torch.arange(9) * 2 * torch.pi / 9
    across = torch.tensor([-0.3, 0.3])[:, None] * torch.stack([(turn / 2).cos(), (turn / 2).sin()])[:, None]
    radius = 1 + across[0]
    pos = torch.stack([radius * turn.cos(), radius * turn.sin(), across[1]], -1).transpose(0, 1).reshape(18, 3)
    a, b = torch.arange(0, 18, 2), torch.arange(1, 18, 2)
    c, d = a.roll(-1), b.roll(-1)
    c[-1], d[-1] = d[-1].clone(), c[-1].clone()
    face = torch.cat([torch.stack([a, c, b]), torch.stack([c, d, b])], 1)
    mended, done = repair(Data(pos=pos, face=face))
    assert done == ["left 1 parts whose faces cannot agree"]
    assert torch.equal(mended.face, face)


def test_a_flat_face_is_not_flipped_into_another_flat_one():
    line = torch.tensor([[0.0, 0, 0], [3, 0, 0], [1, 0, 0], [2, 0, 0], [0, 5, 0], [1, 5, 0], [0, 6, 0]])
    face = torch.tensor([[0, 1, 4], [1, 0, 5], [2, 3, 6]])
    mended, done = repair(Data(pos=line, face=face))
    assert done == ["dropped 2 faces without area", "dropped 4 vertices without a face"]
    assert torch.equal(mended.pos, line[4:])


def test_faces_whose_squared_sides_are_zero_in_float64_are_not_flipped(icosphere):
    """A flip would give two more of them, for ever."""
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [1, 1, 0]], dtype=torch.float64) * 1e-200
    pair = torch.tensor([[0, 1, 2], [1, 3, 2]]).T
    with pytest.raises(CotanError, match="no face is left: dropped 2 faces without area"):
        repair(Data(pos=square, face=pair.clone()))
    pos, face = icosphere(1)
    both = Data(pos=torch.cat([pos, square]), face=torch.cat([face, pair + len(pos)], 1))
    mended, done = repair(both)
    assert done == ["dropped 2 faces without area", "dropped 4 vertices without a face"]
    assert torch.equal(mended.face, face)


def test_refusals():
    with pytest.raises(CotanError, match="no face is left: dropped 3 vertices that are not finite"):
        repair(Data(pos=torch.full((3, 3), torch.nan), face=torch.tensor([[0], [1], [2]])))
    with pytest.raises(CotanError, match="expected a mesh"):
        repair(Data(pos=torch.zeros(3, 3)))
    with pytest.raises(CotanError, match=r"pos: expected shape \(V, 3\)"):
        repair(Data(pos=torch.zeros(3, 2), face=torch.tensor([[0], [1], [2]])))


def test_a_cavity_faces_inwards(icosphere):
    """Three balls in each other, of which the second is a cavity, and one beside them that meets the first."""
    pos, face = icosphere(2)
    beside = pos.new_tensor([0.8, 0, 0])
    places = torch.cat([pos, pos / 2, pos / 4, pos / 2 + beside])
    right = [face, face.flip(0), face, face]
    for wrong in (None, 0, 1, 2, 3):
        faces = [part.flip(0) if i == wrong else part for i, part in enumerate(right)]
        faces = torch.cat([part + i * len(pos) for i, part in enumerate(faces)], 1)
        assert mesh_report(places, faces)["inside_out_patches"] == (wrong is not None)
        mended, done = repair(Data(pos=places, face=faces))
        assert done == ([] if wrong is None else ["turned 1 closed parts outwards (cavities inwards)"])
        a, b, c = mended.pos[mended.face]
        volume = (a * torch.linalg.cross(b, c)).sum(1).view(4, -1).sum(1).sign()
        assert volume.tolist() == [1, -1, 1, 1]
