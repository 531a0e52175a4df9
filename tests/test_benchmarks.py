"""The scripts of tests/benchmarks are run by hand; those that reach into training are run here on next to nothing."""

from importlib import import_module
from pathlib import Path

import pytest

import cotan


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent / "benchmarks"))
    return import_module


@pytest.fixture(scope="module")
def few():
    return cotan.load_dataset("poses", per_class=5, vertices=125)


def test_training(script, few):
    bare, over = script("bench_training").ratio("linear", few, {}, rounds=3)
    assert bare > 0
    assert over > 0


def test_an_epoch_of_diffusion_beside_the_published_loop(script, few):
    bench = script("bench_diffusion")
    few.train = few.train[:3]
    for epoch in (bench.our_epoch(few, 2), bench.peer_epoch(list(few.train), len(few.classes))):
        epoch()
