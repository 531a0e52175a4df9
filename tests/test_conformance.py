"""Every registered name goes through the test kit: a new plugin is tested with no new test."""

import pickle

import pytest
import torch

import cotan
from cotan import registry, testing
from cotan.testing.shapes import example
from cotan.values import map_tensors


def ours(kind: str) -> list[str]:
    """The registered names, without those that other test files register."""
    return sorted({d.name for d in registry.all_definitions() if d.kind == kind and d.origin.startswith("cotan")})


pytestmark = pytest.mark.cuda
LAYERS, OPERATORS, MODELS = ours("layer"), ours("operator"), ours("model")
VARIANTS = [
    *(
        cotan.node(d.name, **d.variant)
        for d in registry.all_definitions()
        if d.name in OPERATORS and d.kind == "operator"
    ),
    *(cotan.node("voxels", resolution=8, fill=fill) for fill in ("surface", "union", "tsdf")),
    cotan.node("views", size=16, outputs=("depth", "normals", "shaded", "silhouette", "position")),
]


def test_every_plugin_imports():
    assert registry.failures() == {}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name):
    assert testing.check_operator(name).passed


@pytest.mark.parametrize("request_", VARIANTS, ids=lambda n: n.key)
def test_no_operator_drops_a_derivative(request_):
    """What changes with pos by less than a jump has a derivative with respect to it, or an error says that there is none."""
    data = example("mesh").clone()
    data.x = torch.ones(data.num_nodes, 2)
    pos = data.pos.double()
    noise = torch.rand(len(pos), 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)

    def parts(pos):
        data.pos, found = pos, []
        map_tensors(lambda t: found.append(t) or t, cotan.compute(data, request_, dtype=torch.float64))
        return found

    def energy(pos):
        return 0 * pos.sum() + sum(t.square().sum() for t in parts(pos) if t.is_floating_point())

    before, after = parts(pos), parts(pos * (1 + 1e-6 * noise))
    changed = [not torch.equal(a, b) for a, b in zip(before, after, strict=True)]
    try:
        found = parts(pos.clone().requires_grad_())
    except cotan.CotanError as error:
        assert "has no derivative with respect to pos; detach it" in str(error)
        with pytest.raises(cotan.CotanError, match="has no derivative"):
            cotan.autodiff.forward(lambda pos: parts(pos)[0], pos, pos)
        with pytest.raises(cotan.CotanError, match="has no derivative"):
            torch.func.grad(energy)(pos)
    else:
        assert [value.requires_grad for value, moves in zip(found, changed, strict=True) if moves] == [True] * sum(
            changed
        )
        torch.testing.assert_close(torch.func.grad(energy)(pos), cotan.autodiff.reverse(energy, pos)[1])


SMALL = {  # defaults take minutes
    "appnp": {"hops": 2},
    "cayley": {"order": 2, "steps": 1},
    "topk": {"width": 16, "depth": 2},
    "toric": {"resolution": 16, "width": 8, "depth": 2},
    "multiview": {"size": 16},
    "voxel": {"resolution": 16, "width": 8},
}


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    assert testing.check_layer(name, **SMALL.get(name, {})).passed


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("task", ["classify", "label"])
def test_model(name, task):
    tasks = registry.lookup("model", name).tasks
    if tasks is not None and task not in tasks:
        pytest.skip(f"{name} does not do {task}")
    small = {"depth": 2} if name == "diffusion" else SMALL.get(name, {})  # its layer has no depth
    assert testing.check_model(name, task=task, **small).passed


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_a_model(layer):
    model = cotan.create_model(layer, in_dim=3, out_dim=4, width=8, depth=1)
    assert sum(p.numel() for p in model.parameters()) > 0
    again = pickle.loads(pickle.dumps(model))  # as to other processes
    assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))
