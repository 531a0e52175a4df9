"""The test kit on plugins with typical mistakes: each fails with a sentence that says which."""

from contextlib import nullcontext

import pytest
import torch
from torch import nn

import cotan
from cotan import testing
from cotan.pattern import Pattern


class Base(nn.Module):
    def __init__(self, in_dim, out_dim):
        super().__init__()
        self.linear = nn.Linear(in_dim, out_dim)


class OneDtype(Base):
    def forward(self, x, laplacian):
        return self.linear((laplacian @ x).float())


class OwnZeros(Base):
    def forward(self, x):
        y = self.linear(x)
        return x.new_zeros(y.shape).index_add(0, torch.arange(len(x)), y)


class Squares(Base):
    def forward(self, x, spectrum):
        return self.linear(spectrum.vectors**2 @ (spectrum.vectors.T @ x))


class InPlace(Base):
    def forward(self, x, mass):
        return self.linear(x.mul_(mass[:, None]))


class Numbers(Base):
    def forward(self, x):
        return self.linear(x * torch.linspace(0, 1, len(x), dtype=x.dtype, device=x.device)[:, None])


class Mean(Base):
    def forward(self, x):
        return self.linear(x - x.mean(0))


class Ignores(Base):
    def __init__(self, in_dim, out_dim, *, heads=4):
        super().__init__(in_dim, out_dim)

    def forward(self, x):
        return self.linear(x)


class Keeps(Base):
    def __init__(self, in_dim, out_dim, *, dropout=0.5):
        super().__init__(in_dim, out_dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.linear(x)


class Reads(Base):
    def __init__(self, in_dim, out_dim, *, heads=2, hops=3, slope=0.1, name="plain"):
        super().__init__(in_dim, out_dim)
        self.heads = heads  # for who asks
        self.hops, self.slope, self.name = hops, slope, name
        self.scale = nn.Parameter(torch.ones(heads))

    @property
    def label(self):
        return self.name.upper()

    @torch.no_grad()
    def each(self, x):
        return sum((lambda: self.slope)() for _ in range(self.hops))

    def forward(self, x):
        return self.linear(x) * self.scale.sum() + self.each(x)


class Narrow(Base):
    def forward(self, x):
        return self.linear(x)[:, 1:]


class Flat(Base):
    def forward(self, x):
        return self.linear(x)[:, 0]


class Deep(Base):
    def forward(self, x):
        return self.linear(x)[:, :, None]


class Counts(Base):
    def __init__(self, in_dim, out_dim):
        super().__init__(in_dim, out_dim)
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x):
        self.calls += 1
        return self.linear(x)


class Remembers(Base):
    first = None

    def forward(self, x):
        self.first = x.mean() if self.first is None else self.first
        return self.linear(x) * self.first


class Projects(Base):
    def __init__(self, in_dim, out_dim):
        super().__init__(in_dim, out_dim)
        self.register_buffer("directions", torch.randn(in_dim), persistent=False)

    def forward(self, x):
        return self.linear(x * self.directions)


class Caches(Base):
    sums = None

    def forward(self, x, adjacency):
        if self.sums is None or len(self.sums) != len(x):
            self.sums = adjacency @ torch.ones_like(x)
        return self.linear(x * self.sums)


class Seeds(Base):
    def forward(self, x):
        torch.manual_seed(1)
        return self.linear(x * torch.rand(1).to(x))


class Late(Base):
    def forward(self, x):
        if not hasattr(self, "late"):
            self.late = nn.Linear(self.linear.out_features, self.linear.out_features).to(x)
        return self.late(self.linear(x))


class Here(Base):
    def forward(self, x):
        return self.linear(x + torch.ones(1, dtype=x.dtype, device="cpu"))


class Isolated(Base):
    def forward(self, x, adjacency):
        return self.linear(adjacency @ x / adjacency.pattern.counts[:, None])


class Lengths(Base):
    def forward(self, x, adjacency):
        return self.linear(x + (adjacency.pattern.counts[:, None] * x).square().sum(1, keepdim=True).sqrt())


class Detached(Base):
    def forward(self, x):
        return self.linear(x.detach())


class Unused(Base):
    def __init__(self, in_dim, out_dim):
        super().__init__(in_dim, out_dim)
        self.more = nn.Linear(in_dim, out_dim)

    def forward(self, x):
        return self.linear(x)


class Unweighted(Base):
    def forward(self, x, edge_index, edge_weight=None):
        _ = edge_weight
        return self.linear(x.index_add(0, edge_index[1], x[edge_index[0]]))


class Unfeatured(Base):
    def forward(self, x, edge_attr):
        return self.linear(x)


class Flow(Base):
    def forward(self, x, laplacian, mass, spectrum):
        return self.linear(laplacian @ x)


class Draws(Base):
    def forward(self, x):
        return self.linear(nn.functional.dropout(x))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Numbers, "permutation of a mesh: off by .*: it depends on the order of vertices"),
        (Mean, "batch independence, .* off by .*: a shape's output depends on what else is in its batch; `batch` says"),
        (Ignores, r"option 'heads' is taken and never used \(.*test_testing.py:"),
        (Keeps, "option 'dropout' is kept as self.dropout, and no method reads it"),
        (Narrow, r"on a mesh: output \(162, 5\), expected \(162, 6\)"),
        (Flat, r"on a mesh: output \(162,\), expected \(162, 6\)"),
        (Deep, r"on a mesh: output \(162, 6, 1\), expected \(162, 6\)"),
        (Counts, "forward changes calls, in eval: later outputs depend on earlier ones"),
        (Remembers, "state_dict .*: the output depends on something that is neither parameter nor stored buffer"),
        (Projects, "state_dict .*: the output depends on something that is neither parameter nor stored buffer"),
        (Caches, "permutation of a mesh: off by .* or the last call"),
        (Seeds, "forward, in eval, seeds or moves torch's global generator: take a torch.Generator of its own"),
        (Late, r"state_dict round trip: RuntimeError: .*\n.*Unexpected key.*late.weight"),
        (Here, "tensors on cuda:0 and cpu, where one device is expected"),
        (Isolated, "output on a graph: NaN or infinite values"),
        (Lengths, "a gradient on a graph is NaN or infinite"),
        (Detached, r"gradient of the signal: .*: the derivative is cut \(detach, .data, .item\(\), numpy\) or wrong"),
        (Unused, "no derivative reaches more.bias, more.weight, so it would never be learned"),
        (Unweighted, "forward takes and never uses edge_weight"),
        (Unfeatured, "forward takes and never uses edge_attr"),
        (Flow, "forward takes and never uses mass, spectrum"),
        (Draws, "determinism on a mesh: .*: two runs differ: random numbers, or something kept"),
        (OneDtype, "OneDtype.forward failed in float64: RuntimeError: mat1 and mat2"),
        (OwnZeros, "OwnZeros.forward failed in float32 under bf16 autocast: RuntimeError: index_add"),
        (Squares, r"Squares.forward failed .*of a batch, vectors are block-diagonal: they know @ and .T alone"),
        (InPlace, "InPlace.forward changes its input x in place"),
    ],
)
def test_a_mistake_in_a_layer(scratch, layer, message):
    cotan.layer("mistaken")(layer)
    with pytest.raises(AssertionError, match=message):
        testing.check_layer("mistaken", compile=False)


class Above(Base):
    """Numbers that give no derivative, and a matrix of which the pattern is used."""

    def forward(self, x, adjacency, pos=None):
        y = x * adjacency.pattern.counts[:, None]
        return self.linear(y if pos is None else y * (pos[:, 2:] > 0))


def test_inputs_are_used_without_a_derivative(scratch):
    cotan.layer("above")(Above)
    assert testing.check_layer("above", compile=False).passed


def test_options_are_read_in_any_method(scratch):
    cotan.layer("reads")(Reads)
    assert "options are used" in testing.check_layer("reads", compile=False).passed


class OneSize(Base):
    """Breaks the graph where a compiler does not take the size of the mesh for a constant."""

    def forward(self, x):
        if torch.compiler.is_compiling() and len(x) != 162:
            torch._dynamo.graph_break()
        return self.linear(x)


def test_a_layer_is_compiled_for_another_size_too(scratch):
    cotan.layer("mistaken")(OneSize)
    with pytest.raises(AssertionError, match="layer mistaken does not compile in one graph"):
        testing.check_layer("mistaken")


class Places(Base):
    def forward(self, x, pos):
        return self.linear(x) * pos[:, :1]


def test_what_a_layer_is_declared_to_be_invariant_to_is_tried(scratch):
    cotan.layer("mistaken", invariant_to=("isometry",))(Places)
    with pytest.raises(AssertionError, match="declared invariance to isometry: off by"):
        testing.check_layer("mistaken", compile=False)


class Chosen(Base):
    def __init__(self, in_dim, out_dim, *, by="pos"):
        super().__init__(in_dim, out_dim)
        self.needs = {"weight": by}
        self.invariant_to = () if by == "pos" else ("isometry",)

    def forward(self, x, weight):
        return self.linear(x) * weight.reshape(len(x), -1)[:, :1]


def test_options_decide_what_a_layer_is_invariant_to(scratch):
    cotan.layer("chosen", invariant_to=("rigid",))(Chosen)
    for by, found in (("pos", []), ("mass", ["declared invariance to isometry"])):
        passed = testing.check_layer("chosen", compile=False, by=by).passed
        assert [what for what in passed if "invariance" in what] == found


def test_motions_of_an_instance_have_names(scratch):
    class Turned(Places):
        invariant_to = ("rotation",)

    cotan.layer("turned")(Turned)
    with pytest.raises(cotan.CotanError, match="Turned: invariant_to='rotation', expected some of permutation, rigid"):
        testing.check_layer("turned", compile=False)


class Frozen(Base):
    def __init__(self, in_dim, out_dim, *, trains=True):
        super().__init__(in_dim, out_dim)
        self.linear.bias.requires_grad_(False)
        self.linear.weight.requires_grad_(trains)

    def forward(self, x):
        return self.linear(x)


@pytest.mark.parametrize("trains", [True, False])
def test_frozen_parameters_are_no_mistake(scratch, trains):
    cotan.layer("frozen")(Frozen)
    assert testing.check_layer("frozen", compile=False, trains=trains).passed


def test_layers_of_edge_features_are_certified():
    report = testing.check_layer("gaussian", coordinates="edge_attr", compile=False)
    assert {"finite output on a graph", "finite output on a edgeless"} <= set(report.passed)


def ignoring(pos, *, k=3):
    return pos.clone()


def undeclared(pos):
    return pos.clone()


def test_an_operator_says_that_its_value_is_of_vertices(scratch):
    cotan.operator(undeclared)
    with pytest.raises(
        AssertionError, match=r"depends on the order of vertices, edges, .* \(a value of each says per="
    ):
        testing.check_operator("undeclared")


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (lambda file, value, pos, k: file.write(b"GIF89a"), r"drawn: picture writes no PNG, but b'GIF8'"),
        (lambda file, value, pos: None, "drawn: picture: TypeError: .* unexpected keyword argument 'k'"),
    ],
)
def test_a_picture_is_drawn(scratch, picture, message):
    def drawn(pos, *, k=3):
        return pos * k

    cotan.operator(per="vertex", picture=picture)(drawn)
    with pytest.raises(AssertionError, match=message):
        testing.check_operator("drawn")


def flattening(pos):
    pos[:, 2] = 0
    return pos.clone()


def short(pos):
    return pos[:-1]


def forgetful(pos):
    pos.sum()


def numpys(pos):
    return pos.numpy()


def rounding(pos):
    return pos.float()


def mistaken(pos, edge_index):
    matrix = cotan.Sparse.from_coo(*edge_index, pos.new_ones(edge_index.shape[1]), (len(pos), len(pos)))
    rowptr, col, t_rowptr, t_col, t_perm, row = matrix.pattern.parts
    return cotan.Sparse(Pattern(rowptr, col, (t_rowptr, t_col.flip(0), t_perm), row), matrix.values)


def seeding(pos):
    torch.manual_seed(1)
    return pos * torch.rand(1).to(pos)


@pytest.mark.parametrize(
    ("operator", "message"),
    [
        (rounding, "rounding gives torch.float32 of float64: values are rounded as they are handed out"),
        (seeding, "seeding seeds or moves torch's global generator: take a torch.Generator of its own"),
        (flattening, "flattening changes its input pos in place"),
        (ignoring, "option 'k' is taken and never used"),
        (short, r"short on a mesh: declared per='vertex', but \(161, 3\) for 162"),
        (mistaken, "mistaken: storing on a mesh: integer values differ"),
        (forgetful, "node 'forgetful' gives a NoneType, expected a tensor"),
        (numpys, "node 'numpys' gives a ndarray, expected a tensor"),
    ],
)
def test_a_mistake_in_an_operator(scratch, operator, message):
    cotan.operator(per="vertex")(operator)
    with pytest.raises(AssertionError, match=message):
        testing.check_operator(operator.__name__)


def test_what_is_compared_is_a_tensor(scratch):
    @cotan.operator(per="vertex", observable=lambda value: (value, value))
    def paired(pos):
        return pos * torch.arange(len(pos))[:, None]  # depends on the order of vertices, which is to be seen

    with pytest.raises(cotan.CotanError, match="observable= gave a tuple, expected a tensor"):
        testing.check_operator("paired")


def backwards(edge_lengths):
    return edge_lengths.flip(0)


def counting(edge_index):
    return torch.arange(edge_index.shape[1], device=edge_index.device)


def positions(pos):
    return 2 * pos


def elsewhere(face_areas):
    return face_areas.roll(1)


def corners(pos, face):
    return pos[face[0]]


def turned(face, vertex_normals):
    first, second, third = vertex_normals[face]
    return (torch.linalg.cross(first, second) * third).sum(1)


def between(pos, nearest_neighbours):
    return pos[nearest_neighbours].mean(0)


@pytest.mark.parametrize(
    ("per", "operator", "message"),
    [
        (
            "edge",
            backwards,
            "permutation of a mesh: off by .*: it depends on the order of vertices, edges, faces or corners",
        ),
        ("edge", counting, "permutation of a mesh: integer values differ"),
        ("edge", positions, "positions on a mesh: declared per='edge', but 162 rows for 960"),
        ("face", positions, r"positions on a mesh: declared per='face', but \(162, 3\) for 320"),
        ("face", elsewhere, "permutation of a mesh: off by"),
        ("face", corners, "permutation of a mesh: off by"),
        ("face", turned, None),  # the same from each corner of a face, not from its other side
        ("edge", between, None),  # edges of its own
    ],
)
def test_rows_belong_to_their_edges_and_faces(scratch, per, operator, message):
    cotan.operator(per=per)(operator)
    with pytest.raises(AssertionError, match=message) if message else nullcontext():
        testing.check_operator(operator.__name__)


def test_values_on_another_domain_have_no_order_to_compare():
    request = cotan.node("laplacian", on=cotan.node("coarsen", level=1))
    assert testing.check_operator(request).skipped["permutation of a mesh"] == "values on another domain"


def gradients(pos, face_gradient):
    return (face_gradient @ pos).unflatten(0, (-1, 3))


def test_a_matrix_may_have_several_rows_a_face(scratch):
    cotan.operator(per="face")(gradients)
    assert "permutation of a mesh" in testing.check_operator("gradients").passed
    assert "permutation of a mesh" in testing.check_operator("face_gradient").passed


def test_a_value_of_no_known_kind_is_refused_where_it_is_computed(scratch, tetrahedron):
    cotan.operator(per="vertex")(numpys)
    assert isinstance(cotan.compute(tetrahedron, "mass"), torch.Tensor)
    with pytest.raises(cotan.CotanError, match="node 'numpys' gives a ndarray"):
        cotan.compute(tetrahedron, "numpys")


class Warm(Base):
    def forward(self, x, laplacian, warmth):
        return self.linear(laplacian @ x) * warmth[:, None]


def warmed(temperature, mass):
    return temperature * mass


def test_what_takes_an_attribute_of_ones_own_is_tried_on_given_shapes(scratch):
    cotan.source("temperature", per="vertex")
    cotan.operator("warmth", per="vertex")(warmed)
    cotan.layer("warm", invariant_to=("rigid",))(Warm)
    with pytest.raises(AssertionError, match=r"(?s)layer warm runs on none .*data=.*\n  on a mesh: .*'temperature'"):
        testing.check_layer("warm", compile=False)
    given = [testing.shapes.example(name).clone() for name in ("mesh", "graph", "other-mesh")]
    for shape in given:
        shape.temperature = testing.shapes.normal(shape.num_nodes, 0)
    for check, name in (
        (testing.check_layer, "warm"),
        (testing.check_model, "warm"),
        (testing.check_operator, "warmth"),
    ):
        assert "permutation of a given shape 0" in check(name, data=given[0]).passed
        assert "permutation of a given shape 2" in check(name, data=given).passed
    assert "batch independence, given shape 0 and given shape 2" in testing.check_layer("warm", data=given).passed


def test_given_shapes_that_do_not_fit_are_told():
    for check, name in ((testing.check_layer, "gcn"), (testing.check_model, "gcn"), (testing.check_operator, "mass")):
        with pytest.raises(cotan.CotanError, match="expected a torch_geometric Data, got int"):
            check(name, data=5)
        with pytest.raises(AssertionError, match="runs on none"):
            check(name, data=[])
    graph = testing.shapes.example("graph").clone()
    graph.x = torch.ones(graph.num_nodes, 5)
    with pytest.raises(AssertionError, match=r"runs on none .*\n.* made for in_dim=3 channels; its features have 5"):
        testing.check_model("gcn", data=graph)
    with pytest.raises(AssertionError, match=r"runs on none .*\n.*'image' is no node, and the data does not have it"):
        testing.check_layer("conv2d", data=graph)


def of_points(pos):
    return pos.clone()


def of_faces(face, pos):
    return pos + 0


def test_what_is_not_checked_says_all_of_why(scratch):
    cotan.operator("twofold", per="vertex", kind="points")(of_points)
    cotan.operator("twofold", per="vertex", kind="faces")(of_faces)
    report = testing.check_operator("twofold")
    assert "needs 'face'" in report.skipped["on a graph"]
    assert str(report).count("\n") == len(report.passed) + len(report.skipped)
