"""The shared graph: requests, variants, overrides, sharing, domains, augmentations."""

import pickle
from typing import NamedTuple

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan.application import collate_samples, evaluate_all
from cotan.data import sources_of
from cotan.plan import make_plan


def plan_of(*requests, data):
    return make_plan({str(i): request for i, request in enumerate(requests)}, sources_of(data))


def test_a_plan_is_the_smallest_part_that_is_needed(tetrahedron):
    names = {step.name for step in plan_of("mass", data=tetrahedron).steps}
    assert names == {"pos", "face", "batch", "mass"}


def test_equal_requests_are_one_step(tetrahedron):
    a, b = "spectrum", cotan.node("spectrum", k=128)  # 128 is the default
    plan = plan_of(a, b, cotan.node("spectrum", k=3), data=tetrahedron)
    assert plan.roots["0"] is plan.roots["1"]
    assert plan.roots["0"] is not plan.roots["2"]
    assert sum(step.name == "laplacian" for step in plan.steps) == 1


def test_steps_come_after_their_inputs(tetrahedron):
    steps = plan_of("spectrum", "normalized_pos", data=tetrahedron).steps
    place = {step.identity: i for i, step in enumerate(steps)}
    assert all(place[parent.identity] < place[step.identity] for step in steps for parent in step.parents)


def test_variants_follow_the_sources_and_kind_selects(tetrahedron):
    graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    assert plan_of("laplacian", data=tetrahedron).roots["0"].definition.variant == {"kind": "cotan"}
    assert plan_of("laplacian", data=graph).roots["0"].definition.variant == {"kind": "graph"}
    on_mesh = plan_of(cotan.node("laplacian", kind="graph"), data=tetrahedron)
    assert {step.name for step in on_mesh.steps} >= {"edge_index", "laplacian"}
    with pytest.raises(cotan.CotanError, match=r"no variant kind='magic'. There is: kind='cotan'"):
        cotan.compute(tetrahedron, "laplacian", kind="magic")


def test_an_input_is_replaced_by_another_request(tetrahedron):
    other = cotan.node("spectrum", laplacian=cotan.node("laplacian", kind="graph"), k=4)
    values = cotan.compute(tetrahedron, other, dtype=torch.float64).values
    usual = cotan.compute(tetrahedron, "spectrum", k=4, dtype=torch.float64).values
    L = cotan.compute(tetrahedron, "laplacian", kind="graph", dtype=torch.float64).to_dense()
    m = cotan.compute(tetrahedron, "mass", dtype=torch.float64)
    expected = torch.linalg.eigvals(L / m[:, None]).real.sort().values
    assert torch.allclose(values, expected, atol=1e-9)
    assert not torch.allclose(values, usual, atol=1e-3)


def test_an_operator_asks_for_a_node_with_options_and_who_asks_for_it_for_another(tetrahedron, scratch):
    voronoi = cotan.node("mass", kind="voronoi")

    @cotan.operator(per="vertex", needs={"mass": voronoi}, version=1)
    def twice(mass):
        return 2 * mass

    usual, named, other = plan_of(
        "twice", cotan.node("twice", mass=voronoi), cotan.node("twice", mass="mass"), data=tetrahedron
    ).roots.values()
    assert usual is named
    assert usual.inputs["mass"].definition.variant == {"kind": "voronoi"}
    assert other.inputs["mass"].definition.variant == {"kind": "barycentric"}
    assert usual.identity != other.identity
    assert torch.equal(cotan.compute(tetrahedron, "twice"), 2 * cotan.compute(tetrahedron, voronoi))
    graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=2)
    with pytest.raises(cotan.CotanError, match=r"'twice' needs 'pos' \(twice -> mass\(kind='voronoi'\) -> pos\)"):
        cotan.compute(graph, "twice")
    assert (cotan.compute(graph, "twice", mass="mass") == 2).all()


def test_an_unknown_option_is_named_with_what_there_is(tetrahedron):
    with pytest.raises(cotan.CotanError, match=r"unknown option or input of node 'spectrum' 'kk'. Did you mean 'k'"):
        cotan.compute(tetrahedron, "spectrum", kk=3)


def test_a_value_for_an_input_and_a_node_for_an_option_are_refused_with_the_way_to_give_them(tetrahedron):
    f = tetrahedron.pos[:, :1]
    with pytest.raises(cotan.CotanError, match=r"^'x' of node 'fourier' is an input: .* data.own = ...; then x='own'$"):
        cotan.compute(tetrahedron, "fourier", x=f)
    tetrahedron.own = f
    spectrum, mass = cotan.compute(tetrahedron, ["spectrum", "mass"]).values()
    assert torch.allclose(cotan.compute(tetrahedron, "fourier", x="own"), spectrum.vectors.T @ (mass[:, None] * f))
    with pytest.raises(
        cotan.CotanError, match=r"^'k' of node 'spectrum' is an option: expected a value, got <node mass>"
    ):
        cotan.compute(tetrahedron, "spectrum", k=cotan.node("mass"))


def test_what_the_data_has_wins_over_an_operator(tetrahedron, monkeypatch):
    monkeypatch.setattr(cotan.nodes, "SOURCES", {**cotan.nodes.SOURCES})
    tetrahedron.mass = torch.full((4,), 7.0)
    cotan.source("mass", per="vertex")
    assert (cotan.compute(tetrahedron, "mass") == 7).all()


def test_a_mesh_without_faces_says_what_it_lacks():
    points = Data(pos=torch.randn(5, 3))
    with pytest.raises(cotan.CotanError, match=r"needs 'face' .*which the data does not have. It has: pos"):
        cotan.compute(points, cotan.node("laplacian", kind="cotan"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pos": torch.full((4, 3), float("nan"))}, r"pos has NaN or infinite values at 4 of 4 vertices"),
        ({"face": torch.tensor([[0], [1], [9]])}, r"face out of range: vertex numbers 0 to 9, expected 0 to 3"),
        ({"face": torch.tensor([[0, 1]])}, r"face has shape \(1, 2\), expected \(3, F\)"),
        ({"face": torch.zeros(3, 1)}, r"face holds torch\.float32, expected vertex numbers"),
        (
            {"edge_index": torch.tensor([[0], [-1]])},
            r"edge_index out of range: vertex numbers -1 to 0, expected 0 to 3",
        ),
    ],
)
def test_bad_sources_are_refused_with_the_numbers(tetrahedron, change, message):
    for name, value in change.items():
        tetrahedron[name] = value
    node = "edge_index" if "edge_index" in change else "laplacian"
    with pytest.raises(cotan.CotanError, match=message):
        cotan.compute(tetrahedron, cotan.node("laplacian", kind="graph") if node == "edge_index" else node)


def test_a_graph_without_edges_is_told_what_gives_some():
    with pytest.raises(cotan.CotanError, match=r"needs 'edge_index' or 'face' \(.*\), which the data does not have"):
        cotan.compute(Data(x=torch.zeros(3, 2)), cotan.node("laplacian", kind="graph"))


def test_a_kind_that_does_not_fit_names_those_that_do():
    graph = Data(pos=torch.randn(3, 3), edge_index=torch.tensor([[0, 1], [1, 2]]))
    with pytest.raises(
        cotan.CotanError, match=r"needs 'face' .*'pseudo_coordinates' there is of kind='degree'; kind='of"
    ):
        cotan.compute(graph, "pseudo_coordinates", kind="polar")


def test_moving_one_vertex_evaluates_again_and_the_second_call_does_not(sphere, fresh_store):
    first = cotan.compute(sphere, "spectrum", k=16)
    assert cotan.counts(reset=True)["spectrum"][:2] == (1, 0)
    second = cotan.compute(sphere, "spectrum", k=16)
    assert cotan.counts(reset=True)["spectrum"][:2] == (0, 1)
    assert torch.equal(first.values, second.values)
    assert torch.equal(first.vectors, second.vectors)
    sphere.pos[5, 1] += 1e-6
    cotan.compute(sphere, "spectrum", k=16)
    assert cotan.counts(reset=True)["spectrum"][:2] == (1, 0)


def test_a_larger_spectrum_answers_a_smaller_one(sphere, fresh_store):
    large = cotan.compute(sphere, "spectrum", k=20)
    cotan.counts(reset=True)
    small = cotan.compute(sphere, "spectrum", k=7)
    assert cotan.counts(reset=True)["spectrum"][:2] == (0, 1)
    assert torch.equal(small.values, large.values[:7])


def test_of_two_spectra_in_one_plan_the_larger_is_computed_and_answers_both(sphere, fresh_store):
    cotan.counts(reset=True)
    small, large = (cotan.node("spectrum", k=k) for k in (4, 9))
    both = cotan.compute(sphere, [small, large])
    assert cotan.counts()["spectrum"].evaluations == 1
    assert torch.equal(both[small.key].vectors, both[large.key].vectors[:, :4])


def test_sources_that_are_not_reached_do_not_matter(tetrahedron, fresh_store):
    cotan.compute(tetrahedron, "mass")
    tetrahedron.x = torch.randn(4, 2)
    cotan.counts(reset=True)
    cotan.compute(tetrahedron, "mass")
    assert cotan.counts(reset=True)["mass"].hits == 1


def test_float64_is_what_was_computed(tetrahedron):
    full = cotan.compute(tetrahedron, "mass", dtype=torch.float64)
    assert full.dtype == torch.float64
    assert torch.equal(cotan.compute(tetrahedron, "mass"), full.float())
    with pytest.raises(cotan.CotanError, match=r"dtype torch.int64, expected one of torch.float32"):
        cotan.compute(tetrahedron, "mass", dtype=torch.int64)


@pytest.mark.parametrize("name", ["mass", "views", "torus", "voxels", "edge_index"])
def test_operators_see_float64_and_int64(name, tetrahedron):
    whole = Data(pos=(4 * tetrahedron.pos).long(), face=tetrahedron.face.to(torch.uint8))
    right = Data(pos=whole.pos.double(), face=tetrahedron.face)
    seen = [torch.utils._pytree.tree_leaves(cotan.compute(data, name)) for data in (whole, right)]
    assert all(torch.equal(a, b) for a, b in zip(*seen, strict=True))


@cotan.operator(per="shape")
def counts_of(pos, *, extra: object = None):
    """A record for the test below."""
    return {"size": tuple(pos.shape), 3: extra and object()}


def test_a_record_is_the_same_computed_and_stored(tetrahedron, fresh_store):
    for _ in range(2):
        assert cotan.compute(tetrahedron, "counts_of") == {"size": [4, 3], "3": None}
    with pytest.raises(
        cotan.CotanError, match=r"node 'counts_of.*' gives a dict, expected a tensor, .* numbers and text in a dict"
    ):
        cotan.compute(tetrahedron, "counts_of", extra=True)


def test_complex_numbers_are_in_single_precision(tetrahedron, fresh_store, scratch):
    @cotan.operator(per="vertex")
    def phases(pos, *, kind: str = "complex64"):
        return torch.polar(pos[:, 0].abs(), pos[:, 1]).to(getattr(torch, kind))

    assert torch.equal(*(cotan.compute(tetrahedron, "phases") for _ in range(2)))
    with pytest.raises(
        cotan.CotanError, match=r"node 'phases.*' gives torch.complex128, expected torch.complex64, or real"
    ):
        cotan.compute(tetrahedron, "phases", kind="complex128")


class Parts(NamedTuple):
    first: object


@pytest.mark.parametrize("within", [lambda z: Parts(Parts(z)), lambda z: Data(pos=z.real, phase=z)])
def test_complex_numbers_deep_in_a_value_are_told_too(within, tetrahedron, fresh_store, scratch):
    @cotan.operator
    def phased(pos):
        return within(torch.polar(pos[:, 0].abs(), pos[:, 1]))

    with pytest.raises(cotan.CotanError, match=r"node 'phased' gives torch.complex128, expected torch.complex64"):
        cotan.compute(tetrahedron, "phased")


def test_a_rotated_copy_costs_an_intrinsic_model_nothing(sphere, fresh_store):
    model = cotan.create_model(
        "spectral", in_dim=16, out_dim=2, k=8, width=4, depth=1, features=cotan.node("spectrum_signature")
    )
    cotan.apply(model, sphere)
    cotan.counts(reset=True)
    cotan.apply(model, sphere, on=cotan.node("random_rotation", seed=1))
    assert all(count.evaluations == 0 for count in cotan.counts().values()), cotan.counts()


@cotan.operator(per="vertex")
def spectrum_signature(spectrum):
    """An intrinsic first signal for the test above."""
    values, vectors = spectrum.values[1:], spectrum.vectors[:, 1:]
    times = torch.linspace(0.1, 2, 16, dtype=values.dtype)
    return vectors.square() @ torch.exp(-values[:, None] * times)


def test_what_sees_positions_follows_the_rotation(sphere, fresh_store):
    turned = cotan.node("normalized_pos", on=cotan.node("random_rotation", seed=4))
    a, b = cotan.compute(sphere, "normalized_pos"), cotan.compute(sphere, turned)
    assert not torch.allclose(a, b, atol=1e-2)
    assert torch.allclose(a @ a.T, b @ b.T, atol=1e-5)  # really a rotation
    cotan.counts(reset=True)
    cotan.compute(sphere, cotan.node("laplacian", on="random_rotation"))
    cotan.compute(sphere, "laplacian")
    counts = cotan.counts()["laplacian"]
    assert (counts.evaluations, counts.hits) == (1, 1)


def test_an_invariance_ends_where_an_input_of_ones_own_moves(sphere):
    on = cotan.node("random_scale", seed=3)
    larger = sphere.clone()
    larger.pos = cotan.compute(sphere, on, dtype=torch.float64).pos
    own = cotan.node("heat_kernel_signature", times=(0.1, 1.0))  # where the default ones go with the size
    signature = cotan.node("log_signature", heat_kernel_signature=own)
    seen, right = cotan.compute(sphere, cotan.node(signature, on=on)), cotan.compute(larger, signature)
    torch.testing.assert_close(seen, right, atol=1e-4, rtol=0)
    assert not torch.allclose(seen, cotan.compute(sphere, signature), atol=1e-3)


def test_an_invariance_holds_where_an_input_of_ones_own_moves_along(sphere, fresh_store):
    gradient = cotan.node("gradient", pos=cotan.node("normalized_pos", scale="area"))
    cotan.compute(sphere, gradient)
    cotan.counts(reset=True)
    cotan.compute(sphere, cotan.node(gradient, on="random_rotation"))
    assert cotan.counts()["gradient"][:2] == (0, 1)


@pytest.mark.parametrize("on", ["random_rotation", cotan.node("random_rotation", on="random_scale")])
def test_normals_that_the_data_has_turn_with_it(sphere, on):
    sphere.normal = cotan.compute(sphere, "vertex_normals")
    given, derived = (cotan.compute(sphere, cotan.node(name, on=on)) for name in ("normal", "vertex_normals"))
    torch.testing.assert_close(given, derived)
    assert not torch.allclose(given, sphere.normal, atol=0.1)
    del sphere.normal
    with pytest.raises(cotan.CotanError, match="needs 'normal'"):
        cotan.compute(sphere, cotan.node("normal", on=on))


def test_jitter_changes_even_the_laplacian_and_is_not_stored(sphere, fresh_store):
    node = cotan.node("laplacian", on=cotan.node("random_jitter", seed=1))
    for _ in range(2):
        cotan.compute(sphere, node)
    assert cotan.counts()["laplacian"][:2] == (2, 0)
    assert fresh_store.summary() == {}


def test_scale_keeps_the_laplacian_and_changes_the_mass(sphere, fresh_store):
    on = cotan.node("random_scale", seed=3)
    L, m = cotan.compute(sphere, "laplacian"), cotan.compute(sphere, "mass")
    cotan.counts(reset=True)
    scaled = cotan.compute(sphere, cotan.node("laplacian", on=on)), cotan.compute(sphere, cotan.node("mass", on=on))
    assert cotan.counts()["laplacian"].evaluations == 0
    assert torch.equal(scaled[0].values, L.values)
    factor = float(scaled[1][0] / m[0])
    assert abs(factor - 1) > 1e-3
    assert torch.allclose(scaled[1], factor * m, rtol=1e-4)


def test_a_domain_gives_its_own_sources(tetrahedron):
    node = cotan.node("laplacian", on="test_half")
    value = cotan.compute(tetrahedron, node)
    assert value.shape == (2, 2)
    with pytest.raises(cotan.CotanError, match=r"on=mass: 'mass' is no domain"):
        cotan.compute(tetrahedron, cotan.node("laplacian", on="mass"))


@cotan.operator(gives=("edge_index", "num_nodes"))
def test_half(pos):
    """A graph of half the vertices, as coarsening gives."""
    return Data(edge_index=torch.tensor([[0, 1], [1, 0]]), num_nodes=len(pos) // 2)


test_half.__test__ = False


def test_a_layer_asks_for_nodes_on_a_domain_and_not_for_the_domain(sphere):
    class Own(torch.nn.Module):
        def forward(self, x, test_half): ...

    own = Own()
    for shapes in (sphere, [sphere, sphere]):
        with pytest.raises(
            cotan.CotanError, match=r"'test_half' gives a Data: .*, as cotan.node\('edge_index', on=\.\.\.\)"
        ):
            cotan.inputs(own, shapes)
    own.needs = {"test_half": cotan.node("edge_index", on="test_half")}
    half = sphere.num_nodes // 2
    assert cotan.inputs(own, [sphere, sphere])["test_half"].tolist() == [[0, 1, half, half + 1], [1, 0, half + 1, half]]


def test_an_input_that_is_asked_for_is_never_left_out(scratch, tetrahedron):
    @cotan.operator(per="vertex")
    def warm(pos, edge_weight=None):
        return pos[:, 0] if edge_weight is None else edge_weight

    assert torch.equal(cotan.compute(tetrahedron, "warm"), tetrahedron.pos[:, 0])
    assert torch.equal(cotan.compute(tetrahedron, "warm", edge_weight="mass"), cotan.compute(tetrahedron, "mass"))
    with pytest.raises(cotan.CotanError, match=r"needs 'edge_weight' .* the data does not have"):
        cotan.compute(tetrahedron, "warm", edge_weight="edge_weight")


@pytest.mark.parametrize("on", [None, "random_rotation"])
def test_an_input_of_an_invariant_operator_that_is_not_there_is_named(scratch, sphere, on):
    @cotan.operator(per="vertex", invariant_to=("rigid",))
    def weighed(pos, face, weight):
        return weight

    with pytest.raises(cotan.CotanError, match=r"needs 'edge_weight' \(weighed.*-> edge_weight\), which the data"):
        cotan.compute(sphere, cotan.node("weighed", weight="edge_weight", on=on))


def test_the_content_of_a_data_within_the_data_is_part_of_the_address(scratch, tetrahedron):
    @cotan.operator(per="vertex")
    def pulled(pos, other):
        return pos + other.shift

    for shift in (1.0, 2.0):
        shape = tetrahedron.clone()
        shape.other = Data(shift=torch.tensor(shift))
        assert torch.equal(cotan.compute(shape, "pulled"), tetrahedron.pos + shift)


def test_an_augmentation_of_a_domain_has_the_domains_vertices(scratch, sphere):
    @cotan.operator(gives=("pos", "face"))
    def first_four(pos):
        return Data(pos=pos[:4], face=torch.tensor([[0, 0], [1, 2], [2, 3]]))

    plan = make_plan({"face": "face", "areas": "face_areas"}, sources_of(sphere), on=["first_four", "random_jitter"])
    batch = collate_samples(plan, evaluate_all(plan, [sphere, sphere]))
    assert torch.equal(batch["face"][:, 2:], batch["face"][:, :2] + 4)
    assert len(batch["areas"]) == 4


def test_a_typo_in_a_parameter_is_met_with_the_nearest_name(scratch, sphere):
    @cotan.operator
    def first_corner(pos, fase): ...

    @cotan.layer("heavy")
    class Heavy(torch.nn.Linear):
        def __init__(self, in_dim, out_dim):
            super().__init__(in_dim, out_dim)

        def forward(self, x, masss): ...

    with pytest.raises(
        cotan.CotanError, match=r"needs 'fase' .*does not have\. Did you mean 'face'\? It has: face, pos$"
    ):
        cotan.compute(sphere, "first_corner")
    with pytest.raises(
        cotan.CotanError, match=r"^'masss' is no node, and the data does not have it\. Did you mean 'mass'\?"
    ):
        cotan.inputs(Heavy(3, 2), sphere)


def test_mass_beside_a_spectrum_is_its_own(sphere):
    """A constant is one in a basis that is orthonormal in another mass than the usual, and with the usual mass it is not."""
    shape = sphere.clone()
    shape.x = torch.ones(len(sphere.pos), 1)
    ones = cotan.node("mass", kind="ones")
    basis = cotan.node("spectrum", k=12, mass=ones)
    torch.testing.assert_close(cotan.compute(shape, "heat_diffusion", spectrum=basis), shape.x)
    areas = cotan.compute(shape, "heat_diffusion", spectrum=basis, mass="mass")  # asked for, so be it
    assert (areas - 1).abs().min() > 0.1

    layer = cotan.create_layer("smooth-spectral", 1, 1)
    layer.needs = {"spectrum": basis}
    assert cotan.needs(layer)["mass"] == ones
    below = cotan.on_domain(layer, cotan.node("coarsen"))
    assert cotan.needs(below)["mass"] == cotan.node("mass", kind="ones", on="coarsen")
    layer.needs = {"spectrum": basis, "mass": cotan.node("mass", kind="voronoi")}
    assert cotan.needs(layer)["mass"] == cotan.node("mass", kind="voronoi")


@pytest.mark.parametrize(
    ("name", "function"), [("functional_map", "functional_map"), ("zoomout", "zoom_out"), ("repair", "repair")]
)
def test_functions_of_tensors_are_no_nodes_and_are_named(name, function, sphere):
    with pytest.raises(cotan.CotanError, match=rf"^'{name}' is no node; cotan\.operators\.{function} is a function"):
        cotan.compute(sphere, name)


def test_optional_parameters_that_are_no_nodes_are_said_all_at_once_with_how_to_leave_them_out(sphere):
    class Own(cotan.Network):
        def forward(self, x, spectrm=None, batch_size=None):
            return x

    own = Own()
    with pytest.raises(
        cotan.CotanError,
        match=r"^unknown node 'spectrm'\. Did you mean 'spectrum'.*\nunknown node 'batch_size'.*\n"
        r"To keep their defaults: module.needs = \{'spectrm': None, 'batch_size': None\}$",
    ):
        cotan.inputs(own, sphere)
    own.needs = {"spectrm": None}
    with pytest.raises(cotan.CotanError, match=r"\nTo keep its default: module.needs = \{'batch_size': None\}$"):
        cotan.inputs(own, sphere)
    own.needs = {"spectrm": None, "batch_size": None}
    assert cotan.inputs(own, sphere) == {}


def test_a_plan_goes_to_another_process(sphere):
    """With what was prepared, to the workers of a loader."""
    prepared = cotan.prepare(cotan.create_model("diffusion", 3, 2, task="classify"), [sphere], per=None)
    there = pickle.loads(pickle.dumps(prepared))
    for step, other in zip(prepared.plan.steps, there.plan.steps, strict=True):
        assert other.identity == step.identity
        assert step.definition is None or other.kin == step.kin
