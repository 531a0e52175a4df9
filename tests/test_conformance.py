"""Every registered name goes through the test kit: a new plugin is tested with no new test."""

import pickle

import pytest
import torch

import cotan
from cotan import registry, testing


def ours(kind: str) -> list[str]:
    """The registered names, without those that other test files register."""
    return sorted({d.name for d in registry.all_definitions() if d.kind == kind and d.origin.startswith("cotan")})


pytestmark = pytest.mark.cuda
LAYERS, OPERATORS, MODELS = ours("layer"), ours("operator"), ours("model")


def test_every_plugin_imports():
    assert registry.failures() == {}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name):
    assert testing.check_operator(name).passed


@pytest.mark.parametrize("name", LAYERS)
def test_layer(name):
    assert testing.check_layer(name).passed


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("task", ["classify", "label"])
def test_model(name, task):
    tasks = registry.lookup("model", name).tasks
    if tasks is not None and task not in tasks:
        pytest.skip(f"{name} does not do {task}")
    assert testing.check_model(name, task=task).passed


@pytest.mark.parametrize("layer", LAYERS)
def test_a_layer_is_a_model(layer):
    model = cotan.create_model(layer, in_dim=3, out_dim=4, width=8, depth=1)
    assert sum(p.numel() for p in model.parameters()) > 0
    again = pickle.loads(pickle.dumps(model))  # as to other processes
    assert all(map(torch.equal, again.state_dict().values(), model.state_dict().values()))
