import subprocess
import sys
from functools import cached_property, lru_cache, partial, wraps

import pytest
import torch
from torch import nn
from torch_geometric.data import Data

import cotan
from cotan import CotanError, decorators, registry


def test_unknown_names_suggest_the_nearest_and_list_what_there_is():
    with pytest.raises(
        cotan.CotanError, match=r"unknown layer 'spectrall'. Did you mean 'spectral'\? There is: .*linear"
    ):
        cotan.create_layer("spectrall", 3, 4)
    with pytest.raises(cotan.CotanError, match=r"Did you mean 'chebyshev' \(ChebNet\)"):
        cotan.create_layer("ChebNet", 3, 4)
    with pytest.raises(cotan.CotanError, match=r"'GINEConv'. If it is PyG's, a module of yours may have it as it is"):
        cotan.create_layer("GINEConv", 3, 4)
    with pytest.raises(cotan.CotanError, match=r"unknown kind 'layers'. Did you mean 'layer'"):
        cotan.names("layers")


def test_the_shape_of_a_definition_is_checked_at_its_decorator(scratch):
    with pytest.raises(cotan.CotanError, match=r"operator 'a' .*parameter 'k' has a default, so it is an option"):

        @cotan.operator
        def a(pos, k=3): ...

    with pytest.raises(
        cotan.CotanError, match=r"operator 'drop' .*augments='rigid' is a motion of pos, .* the edge_index"
    ):

        @cotan.operator(gives=("edge_index",), augments="rigid")
        def drop(edge_index): ...

    with pytest.raises(cotan.CotanError, match=r"operator 'b' .*option 'k' has no default"):

        @cotan.operator
        def b(pos, *, k): ...

    with pytest.raises(cotan.CotanError, match=r"operator 'c' .*parameter 'c' is the node itself"):

        @cotan.operator
        def c(c): ...

    with pytest.raises(
        cotan.CotanError, match=r"unknown parameter of operator 'd' .*named in needs 'mas'. Did you mean 'mass'"
    ):

        @cotan.operator(needs={"mas": cotan.node("mass", kind="voronoi")})
        def d(pos, mass): ...

    with pytest.raises(cotan.CotanError, match=r"per='vertices', expected one of vertex, edge, face, shape"):
        cotan.operator(per="vertices")(lambda pos: pos)

    with pytest.raises(cotan.CotanError, match=r"layer 'd' .*takes in_dim and out_dim, .*it has \(width\)"):

        @cotan.layer("d")
        class D(nn.Module):
            def __init__(self, width): ...

            def forward(self, x): ...

    with pytest.raises(cotan.CotanError, match=r"layer 'e' .*no parameter 'x'"):

        @cotan.layer("e")
        class E(nn.Module):
            def __init__(self, in_dim, out_dim): ...

            def forward(self, mass): ...

    with pytest.raises(cotan.CotanError, match=r"task 'f' .*has no 'loss'"):

        @cotan.task("f")
        class F:
            per = "shape"


def test_a_name_defined_twice_names_both_origins(scratch):
    def first(pos): ...

    def second(pos): ...

    cotan.operator("twice")(first)
    cotan.operator("twice")(first)  # a notebook cell run again
    with pytest.raises(cotan.CotanError, match=r"'twice' is defined twice: by .*first and by .*second"):
        cotan.operator("twice")(second)


def test_a_missing_node_is_named_with_the_path_that_led_there(scratch, tetrahedron):
    @cotan.operator
    def needs_magic(magic_field): ...

    with pytest.raises(cotan.CotanError, match=r"'needs_magic' needs 'magic_field' \(needs_magic -> magic_field\)"):
        cotan.compute(tetrahedron, "needs_magic")


def test_a_cycle_is_named_with_its_path(scratch, tetrahedron):
    @cotan.operator
    def chicken(egg): ...

    @cotan.operator
    def egg(chicken): ...

    with pytest.raises(cotan.CotanError, match=r"'chicken' depends on itself: chicken -> egg -> chicken"):
        cotan.compute(tetrahedron, "chicken")


def test_a_decorator_without_a_name_says_how_it_is_written(scratch):
    class Mine(nn.Module): ...

    for decorator, kind in (
        (cotan.layer, "layer"),
        (cotan.model, "model"),
        (cotan.dataset, "dataset"),
        (cotan.task, "task"),
    ):
        with pytest.raises(CotanError, match=rf"@cotan.{kind}\('mine'\)"):
            decorator(Mine)


def test_a_name_with_variants_takes_no_definition_that_is_none_of_them(scratch):
    def mass(pos):
        return pos[:, 0]

    with pytest.raises(
        CotanError, match=r"'mass' is defined twice: .* Take another name; or, .* kind=\.\.\. of its own"
    ):
        cotan.operator(mass)


def test_a_variant_of_a_script_comes_after_those_of_cotan_though_it_is_defined_before_they_are_loaded(scratch):
    own = registry._state.definitions.pop(("operator", "mass"))

    @cotan.operator("mass", kind="mine", per="vertex")
    def mine(edge_index, num_nodes):
        return torch.full((num_nodes,), 7.0)

    for definition in own:
        registry.add(definition)
    graph = Data(edge_index=torch.tensor([[0, 1], [1, 0]]))
    assert cotan.compute(graph, "mass").tolist() == [1, 1]
    assert cotan.compute(graph, "mass", kind="mine").tolist() == [7, 7]


def test_text_for_a_number_is_named_with_the_default(scratch, tetrahedron):
    @cotan.operator(per="shape")
    def some(pos, *, limit: int | None = 3):
        return len(pos[:limit])

    with pytest.raises(CotanError, match=r"option k='x' of layer 'spectral': expected a number; the default is 64"):
        cotan.create_layer("spectral", 3, 4, k="x")
    with pytest.raises(CotanError, match=r"option k='x' of operator 'spectrum': expected a number"):
        cotan.compute(tetrahedron, "spectrum", k="x")
    with pytest.raises(
        CotanError, match=r"option source='0,5' of .*: expected a number or a list, \[1, 2\] say; the default"
    ):
        cotan.compute(tetrahedron, "geodesic_distance", source="0,5")
    with pytest.raises(
        CotanError, match=r"option k=2.5 of operator 'spectrum': expected a whole number; the default is"
    ):
        cotan.compute(tetrahedron, "spectrum", k=2.5)
    with pytest.raises(CotanError, match="option k=True of operator 'spectrum': expected a number; the default is 128"):
        cotan.compute(tetrahedron, "spectrum", k=True)
    with pytest.raises(CotanError, match="option k=None of operator 'spectrum': expected a number; the default is 128"):
        cotan.compute(tetrahedron, "spectrum", k=None)
    assert cotan.compute(tetrahedron, "some", limit=None) == 4
    for time in ("1", (1.0, 2.0), True):
        with pytest.raises(CotanError, match=r"option time=.* of operator 'heat_diffusion': expected a number$"):
            cotan.compute(tetrahedron, "heat_diffusion", x="pos", time=time)
    with pytest.raises(
        CotanError, match=r"option limit=2\.5 of operator 'radius_neighbours': expected a whole number$"
    ):
        cotan.compute(tetrahedron, "radius_neighbours", limit=2.5)
    with pytest.raises(CotanError, match="option residual='no' of model 'stack': expected true or false"):
        cotan.create_model("gcn", 3, 4, residual="no")
    with pytest.raises(CotanError, match="option per_class='x' of dataset 'poses'"):
        cotan.load_dataset("poses", per_class="x")
    with pytest.raises(
        CotanError, match=r"option dropout=\(0.1,\) of model 'stack': expected a number; the default is 0"
    ):
        cotan.create_model("gcn", 3, 4, dropout=(0.1,))


def test_a_truth_value_whose_default_is_none(scratch, tetrahedron):
    @cotan.operator(per="shape")
    def some(pos, *, flag: bool | None = None):
        return str(flag)

    for flag in (True, False, None):
        assert cotan.compute(tetrahedron, "some", flag=flag) == str(flag)
    with pytest.raises(CotanError, match=r"option flag='no' of operator 'some': expected true or false$"):
        cotan.compute(tetrahedron, "some", flag="no")


def test_a_number_or_text_for_a_list_is_named_with_the_default(scratch, tetrahedron):
    @cotan.operator(per="shape")
    def some(pos, *, rows=(0, 1), scales: "tuple[float, ...] | None" = None):
        return pos[list(rows)].sum() * sum(scales or (1,))

    for widths in (24, "ab", None):
        with pytest.raises(
            CotanError,
            match=rf"option widths={widths!r} of model 'pyramid': expected a list; the default is \(32, 64\)",
        ):
            cotan.create_model("pyramid", 3, 4, widths=widths)
    with pytest.raises(CotanError, match=r"option rows=2 of operator 'some': expected a list; the default is \(0, 1\)"):
        cotan.compute(tetrahedron, "some", rows=2)
    with pytest.raises(CotanError, match=r"option scales=0.5 of operator 'some': expected a list$"):
        cotan.compute(tetrahedron, "some", scales=0.5)
    plain = cotan.compute(tetrahedron, "some", scales=None)
    assert torch.equal(cotan.compute(tetrahedron, "some", rows=[0, 1], scales=torch.tensor([1.0])), plain)


@pytest.mark.parametrize(
    ("options", "hint"),
    [({"hidden_channels": 8}, "width"), ({"num_layers": 2}, "depth"), ({"pooling": "max"}, "readout")],
)
def test_options_are_known_by_pygs_names(options, hint):
    with pytest.raises(CotanError, match=rf"Did you mean {hint!r} \({next(iter(options))}\)\?"):
        cotan.create_model("gin", 3, 2, **options)


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        ("model", "3D ShapeNets", "voxel-dbn"),
        ("model", "3d-shapenets", "voxel-dbn"),
        ("model", "3DShapeNets", "voxel-dbn"),
        ("model", "ShapeNets", "voxel-dbn"),
        ("model", "belief_network", "voxel-dbn"),
        ("layer", "message passing", "aggregate"),
        ("layer", "MessagePassing", "aggregate"),
        ("layer", "graph convolution", "gcn"),
        ("layer", "Diffusion Net", "diffusion"),
        ("operator", "fourier-transform", "fourier"),
        ("operator", "eigenfunctions", "spectrum"),
        ("operator", "eigenvalues", "spectrum"),
        ("operator", "Fiedler vector", "spectrum"),
        ("operator", "GFT", "fourier"),
        ("operator", "normalized Laplacian", "laplacian"),
        ("operator", "log_map", "logarithmic_map"),
    ],
)
def test_the_usual_names_of_systems_are_known_in_any_spelling(kind, name, hint):
    with pytest.raises(CotanError, match=rf"Did you mean '{hint}' \({name}\)\?"):
        registry.lookup(kind, name)


def shipped_models():
    return [d for d in registry.all_definitions() if d.kind == "model" and d.origin.startswith("cotan")]


@pytest.mark.parametrize("option", ["norm", "residual", "readout", "activation", "pooling", "resolution"])
def test_an_option_of_several_models_takes_values_of_one_kind(option):
    models = [
        model for model in shipped_models() if option in model.options and (model.name, option) != ("mlp", "residual")
    ]
    assert len(models) > 1
    assert len({type(model.options[option]) for model in models}) == 1


def test_a_model_classifies_by_default():
    assert {model.options["task"] for model in shipped_models()} == {"classify"}


def test_a_layer_is_no_model_of_its_own():
    with pytest.raises(CotanError, match=r"unknown model 'gcn': it is a layer, which create_model and model_for stack"):
        registry.lookup("model", "gcn")


def test_a_list_is_no_name():
    with pytest.raises(CotanError, match=r"unknown task \['label'\]\. Did you mean 'label'\?"):
        cotan.create_model("gin", 2, 2, task=["label"])


def test_capitals_are_no_other_name():
    with pytest.raises(CotanError, match=r"unknown layer 'GIN'\. Did you mean 'gin'\?"):
        cotan.create_layer("GIN", 3, 4)


def test_threads_that_ask_first_all_wait_for_the_plugins():
    code = """
import sys, threading, cotan
sys.setswitchinterval(1e-5)
def ask(): made.append(cotan.create_layer("chebyshev", 3, 4))
made, threads = [], [threading.Thread(target=ask) for _ in range(4)]
for each in threads: each.start()
for each in threads: each.join()
print(len(made))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "4\n"


def test_the_address_of_an_operator_sees_which_name_is_which_and_what_is_enclosed(monkeypatch):
    def minus(a, b):
        return a - b

    def times(factor):
        return lambda pos: pos * factor

    before = decorators._code(minus)

    def minus(b, a):
        return b - a

    assert decorators._code(minus) != before
    assert decorators._code(times(2)) == decorators._code(times(2)) != decorators._code(times(3))

    def big(pos):
        return pos.size(0)

    before = decorators._code(big)
    monkeypatch.setitem(globals(), "size", 5)  # which is not what big asks for
    assert decorators._code(big) == before

    def again(pos):
        return later(again, pos)

    decorators._code(again)
    later = max


def test_the_address_of_an_operator_is_not_moved_by_what_it_counts():
    """Neither in its module nor around it: the value would be computed again each time."""
    text = """
def around():
    times = 0
    def count(pos):
        nonlocal times
        global total
        times, total = times + 1, total + 1
        return pos
    return count
total = 0
count = around()
def made(pos): return count(pos)
"""
    space = {"__name__": "some"}
    exec(text, space)
    before = decorators._code(space["made"])
    space["made"](1)
    assert space["total"] == 1
    assert decorators._code(space["made"]) == before


def test_the_address_of_an_operator_is_the_same_in_a_script_and_in_a_module_elsewhere():
    found = set()
    for name in ("__main__", "some.module"):
        space = {"__name__": name, "__file__": f"/{name}.py"}
        exec("def said(pos): return __file__, __name__, pos\ndef made(pos): return said(pos)", space)
        found.add(decorators._code(space["made"]))
    assert len(found) == 1


def test_the_address_of_an_operator_compares_no_things_that_it_names():
    class Odd:
        __hash__ = None

        def __call__(self, pos):
            return pos

        def __eq__(self, other):
            return torch.ones(2)

    first, second = Odd(), Odd()
    assert decorators._code(lambda pos: first(second(pos)))


@pytest.mark.parametrize(
    "text",
    [
        "SIGMA = {}\ndef made(pos): return pos * SIGMA",
        "SIGMA = (1, ('a', {}))\ndef made(pos): return pos * SIGMA[1][1]",
        "SIGMA = {}\ndef made(pos): return [[p * SIGMA for p in row] for row in pos]",
        "SIGMA = {}\ndef made(pos): return (lambda: pos * SIGMA)()",
        "def of(scales): return lambda pos: pos * scales[0]\nmade = of(({},))",
        "SIGMA = {}\n@cached\n@scaled(1.0)\ndef made(pos): return pos * SIGMA",
        "@cached\n@scaled({})\ndef made(pos): return pos",
        "@scaled(1.0)\n@scaled({})\n@scaled(1.0)\ndef made(pos): return pos",
        "def made(pos): return called(pos)\ndef called(pos): return pos * {}",
        "def called(pos, *, by={}): return pos * by\ndef made(pos): return called(pos)",
        "def called(pos, by={}): return pos * by\ndef made(pos): return [called(p) for p in pos]",
        "SIGMA = {}\ndef deeper(pos): return pos * SIGMA\n@cached\ndef called(pos): return deeper(pos)\n"
        "def made(pos): return called(pos)",
        "class Scaled:\n    by = {}\n    def __call__(self, x): return x * self.by\ndef made(pos): return Scaled()(pos)",
        "class Base:\n    def __call__(self, x): return x * {}\nclass Scaled(Base): pass\ndef made(pos): return Scaled()(pos)",
        "class Scaled:\n    @property\n    def by(self): return {}\ndef made(pos): return pos * Scaled().by",
        "class Scaled:\n    @classmethod\n    def by(cls): return {}\ndef made(pos): return pos * Scaled.by()",
        "class Scaled:\n    @staticmethod\n    def by(): return {}\ndef made(pos): return pos * Scaled.by()",
        "class Scaled:\n    @cached_property\n    def by(self): return {}\ndef made(pos): return pos * Scaled().by",
        "def either(pos, n): return other(pos, n - 1) if n else pos * {}\ndef other(pos, n): return either(pos, n)\n"
        "def made(pos): return either(pos, 3)",
    ],
)
def test_the_address_of_an_operator_sees_the_constants_that_it_names(scratch, text):
    def scaled(factor):
        return lambda function: wraps(function)(lambda pos: factor * function(pos))

    def address(value, rest="OTHER = 1\n"):
        module = {"scaled": scaled, "cached": lru_cache, "cached_property": cached_property, "__name__": "made"}
        exec(rest + text.format(value), module)
        cotan.operator("made", per="vertex")(module["made"])
        return registry.lookup("operator", "made").edition

    assert address(2.0) == address(2.0, rest="OTHER = 2\n") != address(5.0)


def test_the_address_of_an_operator_sees_how_it_is_evaluated_on_many(scratch):
    def address(many):
        cotan.operator("made", per="vertex", many=many)(plain)
        return registry.lookup("operator", "made").edition

    def plain(pos):
        return pos

    assert address(lambda pos: [2 * p for p in pos]) != address(lambda pos: [3 * p for p in pos])


def test_motions_and_tasks_are_checked():
    with pytest.raises(
        CotanError, match=r"layer 'mine' .* invariant_to='rotation', expected some of permutation, rigid"
    ):
        cotan.layer("mine", invariant_to=("rotation",))(nn.Linear)
    with pytest.raises(CotanError, match=r"task 'mine' .* per='face', expected 'shape' or 'vertex'"):
        cotan.task("mine")(type("Mine", (), {"per": "face", "loss": None, "metrics": None}))
    with pytest.raises(CotanError, match=r"source 'mine': index='verts', expected 'vertex'"):
        cotan.source("mine", per="edge", index="verts")


def _module(forward, **options):
    """A class with a forward method, made without a file."""
    made = {}
    rest = "".join(f", {name}={value!r}" for name, value in options.items())
    text = f"class Made(Module):\n    def __init__(self, in_dim, out_dim{', *' if options else ''}{rest}): ...\n"
    exec(text + (f"    def forward(self, {forward}): ...\n" if forward else ""), {"Module": object}, made)
    return made["Made"]


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda: cotan.operator(index="face")(lambda pos: pos), r"index='face', expected 'vertex'"),
        (lambda: cotan.operator("no-name")(lambda pos: pos), r"'no-name' .*name is a Python identifier"),
        (lambda: cotan.operator("made")(lambda pos, **rest: pos), r"options are named one by one, not \*\*rest"),
        (lambda: cotan.operator("made")(lambda *nodes: nodes), r"parameter \*nodes: nodes are named one by one"),
        (lambda: cotan.dataset("made")(lambda size: size), r"dataset 'made' .*'size' must be keyword-only"),
        (
            lambda: cotan.layer("made", signal="face")(nn.Linear),
            r"signal='face', expected one of vertex, image, volume",
        ),
        (lambda: cotan.layer("made")(_module(None)), r"layer 'made' .* has no forward method"),
        (
            lambda: cotan.layer("made")(_module("x", k=3, width=8)),
            r"layer 'made' .*option 'width' is one of the stack's, .* expected another name \(dropout alone is for both\)",
        ),
        (lambda: cotan.layer("made")(_module("x, *, k=3")), r"forward takes nodes only; 'k' is keyword-only"),
        (lambda: cotan.model("made")(_module("x")), r"model 'made' .*no keyword-only option 'task'"),
        (lambda: cotan.source("made", per="vertices"), r"source 'made': per='vertices', expected one of vertex, edge"),
        (lambda: cotan.source("pos", per="edge"), r"source 'pos' is declared already: .*per='vertex'"),
        (lambda: cotan.node("spectrum", k=object()), r"option 'k' of node 'spectrum': expected numbers, .* got object"),
    ],
)
def test_definitions_of_another_form_are_refused(scratch, register, message):
    with pytest.raises(CotanError, match=message):
        register()
    assert not registry.has("layer", "made")


def test_what_has_no_name_of_its_own_is_no_definition():
    class Halve:
        def __call__(self, pos):
            return pos / 2

    for target, kind in ((Halve(), "Halve"), (partial(max, 2.0), "partial")):
        for decorator in (cotan.operator("made", per="vertex"), cotan.operator, cotan.dataset("made")):
            with pytest.raises(
                CotanError, match=f"expected a function or a class, got a {kind}: define one that calls it"
            ):
                decorator(target)


def test_every_option_of_a_layer_is_reached_through_a_model_of_it():
    models = [registry.lookup("model", name) for name in ("stack", "pyramid")]
    for model in models:
        for name in registry.names("layer"):
            both = {*model.options} & {*registry.lookup("layer", name).options}
            assert both <= ({"dropout"} if model.name == "stack" else set()), (model.name, name)


def test_an_option_that_a_model_and_its_layer_have_is_refused(scratch):
    class Pair(cotan.Network):
        def __init__(self, in_dim, out_dim, *, task="classify", layer="spectral", k=3, **options): ...

        def forward(self, x, **nodes): ...

    cotan.model("pair")(Pair)
    with pytest.raises(
        CotanError, match="option 'k' of a pair of 'spectral': both have one, so the layer's wants another"
    ):
        cotan.create_model("pair", 3, 2, k=4)


def test_options_that_are_arrays_are_those_that_are_numbers():
    import torch

    plain = cotan.node("spectrum", k=3, sources=(0, 1))
    assert cotan.node("spectrum", k=torch.tensor(3), sources=torch.tensor([0, 1])) == plain


def test_a_definition_without_a_file_is_told_by_its_name(scratch):
    """As in an interactive session."""
    cotan.layer("made")(_module("x", k=3))
    definition = registry.lookup("layer", "made")
    assert definition.source == definition.origin == "builtins.Made"
    assert definition.line == ""


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        (OSError("no such library"), "OSError: no such library"),
        (SystemExit(3), "SystemExit: 3"),
        (BaseException(), "BaseException: "),
    ],
)
def test_a_plugin_that_fails_leaves_nothing_behind(scratch, monkeypatch, reason, told):
    from types import SimpleNamespace

    def half_of_it():
        cotan.operator("left_behind")(lambda pos: pos)
        cotan.layer("left-behind")(_module("x"))
        raise reason

    entries = [SimpleNamespace(name="half", value="half", dist=None, load=half_of_it)]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    monkeypatch.setattr(registry._state, "failures", {})
    monkeypatch.setattr(registry._state, "plugins", {})
    registry._load()
    assert registry.plugins() == {"half": "?"}
    assert registry.failures() == {"half": told}
    assert not registry.has("operator", "left_behind")
    assert not registry.has("layer", "left-behind")
    registry._state.plugins.clear()
    monkeypatch.setenv("COTAN_PLUGINS", "off")
    registry._load()
    assert registry.plugins() == {}


def test_who_interrupts_while_plugins_load_is_obeyed(scratch, monkeypatch):
    from types import SimpleNamespace

    def interrupted():
        raise KeyboardInterrupt

    entries = [SimpleNamespace(name="slow", value="slow", dist=None, load=interrupted)]
    monkeypatch.setattr(registry, "entry_points", lambda group: entries)
    monkeypatch.setattr(registry._state, "plugins", {})
    monkeypatch.setattr(registry._state, "loaded", False)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            registry.load()
