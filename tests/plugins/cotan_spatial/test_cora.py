"""The Cora suite: its models are as published, and one of them learns."""

import dataclasses

import pytest

import cotan

SUITE = cotan.Suite.read("cora")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("gcn", 1433 * 16 + 16 + 16 * 7 + 7),
        ("chebyshev", 3 * 1433 * 16 + 16 + 3 * 16 * 7 + 7),
        ("gat", 1433 * 64 + 3 * 64 + 64 * 7 + 3 * 7),
        ("sgc", 1433 * 7 + 7),
        ("appnp", 1433 * 64 + 64 + 64 * 7 + 7),
    ],
)
def test_models_have_the_published_number_of_parameters(name, parameters):
    (entry,) = [entry for entry in SUITE.models if entry.name == name]
    model = cotan.create_model(name, 1433, 7, task="label", **entry.options)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_a_result(real_data, tmp_path):
    """Wu et al. 2019 report 81.0 +- 0.0 for sgc, the simplest of them."""
    models = [entry for entry in SUITE.models if entry.name == "sgc"]
    table = cotan.bench(dataclasses.replace(SUITE, models=models, seeds=(0,)), out=tmp_path, progress="none")
    assert table.failures == []
    assert table.rows[0]["test_accuracy"] > 0.79
