from inspect import signature

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan import registry
from cotan.errors import CotanError
from cotan.operators.checks import check_mesh, check_pos
from cotan.operators.functional_map import zoom_out
from cotan.values import map_tensors

POS = torch.eye(3)
FACE = torch.tensor([[0], [1], [2]])


@pytest.mark.parametrize(
    ("pos", "face", "message"),
    [
        (POS, FACE + 1, "face out of range: vertex numbers 1 to 3, expected 0 to 2"),
        (POS, FACE - 1, "vertex numbers -1 to 1"),
        (POS, FACE[:, :0], "a mesh without faces"),
        (POS, FACE.T, r"face: expected shape \(3, F\), got \(1, 3\)"),
        (POS, FACE.double(), "face holds torch.float64, expected vertex numbers"),
        (POS[:, :2], FACE, r"pos: expected shape \(V, 3\), got \(3, 2\): .*pad\(pos, \(0, 1\)\)"),
        (POS[:0], FACE, "without vertices"),
        (
            torch.tensor([[0.0, 0, 0], [0, float("nan"), 0], [0, 0, float("inf")]]),
            FACE,
            "2 of 3 .* the first is number 1",
        ),
    ],
)
def test_refusals(pos, face, message):
    with pytest.raises(CotanError, match=message):
        check_mesh(pos, face)


def test_types():
    pos, face = check_mesh(POS, FACE.int())
    assert pos.dtype == torch.float64
    assert face.dtype == torch.int64
    assert check_pos(POS.clone().requires_grad_()).requires_grad


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.uint32, torch.uint64])
def test_vertex_numbers_may_be_unsigned_as_of_matlab(dtype):
    face = FACE.to(dtype)
    assert cotan.compute(Data(pos=POS, face=face), "edge_index").tolist() == [[0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1]]
    with pytest.raises(CotanError, match="face out of range: vertex numbers 0 to 2, expected 0 to 1"):
        cotan.compute(Data(pos=POS[:2], face=face), "mass")
    graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]).to(dtype))
    assert cotan.compute(graph, "laplacian").to_dense().tolist() == [[1, -1], [-1, 1]]


def of_meshes():
    """The operators of cotan itself that are functions of pos, face and perhaps other nodes; and these nodes."""
    for definition in registry.all_definitions():
        own = definition.kind == "operator" and definition.target.__module__.startswith("cotan.operators.")
        plain = {name for name, p in signature(definition.target).parameters.items() if p.default is p.empty}
        if own and plain >= {"pos", "face"} and definition.name != "mesh_report":  # whose trade is bad meshes
            yield pytest.param(definition.target, plain - {"pos", "face"}, id=definition.target.__name__)


@pytest.mark.parametrize(("operator", "others"), [*of_meshes()])
def test_each_operator_checks_its_mesh_and_computes_in_float64(operator, others, sphere):
    given = {name: cotan.compute(sphere, name, dtype=torch.float64) for name in others}
    seen = []
    for pos in (sphere.pos, sphere.pos.double()):
        map_tensors(lambda t: seen.append(t) or t, operator(pos, sphere.face, **given))
    half = len(seen) // 2
    assert all(torch.equal(a, b) and a.dtype != torch.float32 for a, b in zip(seen[:half], seen[half:], strict=True))
    with pytest.raises(CotanError, match=r"pos: 1 of .* not finite, the first is number 0"):
        operator(sphere.pos.index_fill(0, torch.tensor([0]), float("nan")), sphere.face, **given)
    with pytest.raises(CotanError, match="face out of range"):
        operator(sphere.pos, sphere.face + 1, **given)


@pytest.mark.parametrize(
    ("node", "options", "message"),
    [
        ("laplacian", {"kind": "heat", "time": 0.0}, "laplacian, kind='heat': time=0.0, expected a positive number"),
        ("laplacian", {"kind": "heat", "time": float("nan")}, "time=nan, expected a positive number"),
        ("normalized_pos", {"scale": "volume"}, "unknown scale 'volume'. There is: "),
        ("normalized_pos", {"centre": "box"}, "unknown centre 'box'. There is: "),
        ("vertex_normals", {"weight": "angel"}, "unknown weight of vertex_normals 'angel'. Did you mean 'angle'"),
        ("ring_neighbours", {"rings": 0}, "ring_neighbours: rings=0, expected a whole number of at least 1"),
        ("shape_dna", {"size": 0}, "shape_dna: size=0, expected a whole number of at least 1"),
    ],
)
def test_options_that_mean_nothing_are_refused(node, options, message, tetrahedron):
    with pytest.raises(CotanError, match=message):
        cotan.compute(tetrahedron, node, **options)


def test_a_refinement_by_no_pairs_is_refused(tetrahedron):
    spectrum, mass = (cotan.compute(tetrahedron, name) for name in ("spectrum", "mass"))
    with pytest.raises(CotanError, match="zoom_out: step=0, expected a whole number of at least 1"):
        zoom_out(torch.eye(2), spectrum, spectrum, mass, step=0)


def test_a_mesh_of_faces_that_are_none_has_no_robust_laplacian():
    with pytest.raises(CotanError, match="without area: none of its 2 faces has three different vertices"):
        cotan.compute(Data(pos=POS, face=torch.tensor([[0, 1], [0, 2], [1, 2]])), "laplacian", kind="robust")


def test_a_request_of_several_nodes_takes_no_options_of_one(tetrahedron):
    with pytest.raises(CotanError, match=r"options k with a list of nodes: give each its own, cotan\.node\(name"):
        cotan.compute(tetrahedron, ["spectrum", "mass"], k=3)
