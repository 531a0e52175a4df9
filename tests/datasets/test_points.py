"""Points: reproducible, of the stated geometry, and as hard as they are meant to be."""

import pytest
import torch

import cotan
from cotan.training import fit


@pytest.mark.parametrize("name", ["xor", "spiral", "blobs"])
def test_a_seed_says_all(name):
    a, b, c = (cotan.load_dataset(name, seed=seed) for seed in (1, 1, 2))
    assert a.digest == b.digest != c.digest
    assert [len(s[0].y) for s in (a.train, a.val, a.test)] == [400, 200, 200]
    assert not torch.equal(a.train[0].x[:200], a.test[0].x)
    assert set(a.train[0].y.tolist()) == set(range(len(a.classes)))


def test_points_without_noise_lie_where_they_should():
    shape = cotan.load_dataset("xor", noise=0.0).train[0]
    assert torch.equal((shape.x.prod(1) < 0).long(), shape.y)
    shape = cotan.load_dataset("blobs", noise=0.0, classes=3).train[0]
    angle = torch.atan2(shape.x[:, 1], shape.x[:, 0]) % (2 * torch.pi)
    assert torch.equal((angle / (2 * torch.pi) * 3).round().long() % 3, shape.y)
    shape = cotan.load_dataset("spiral", noise=0.0, turns=1.0, arms=3).train[0]
    r, angle = shape.x.norm(dim=1), torch.atan2(shape.x[:, 1], shape.x[:, 0]) / (2 * torch.pi)
    distance = (angle - r - shape.y / 3 + 0.5) % 1 - 0.5
    assert distance.abs().max() < 1e-3
    assert r.square().mean() == pytest.approx(1 / 2, abs=0.05)  # evenly over the disc


def test_noise_is_gaussian_and_as_wide_as_said():
    shape = cotan.load_dataset("xor", noise=0.2, points=4000).train[0]
    noise = shape.x - shape.x.sign()
    assert noise.mean() == pytest.approx(0, abs=0.01)
    assert noise.std() == pytest.approx(0.2, rel=0.03)
    assert (noise.abs() < 0.2).double().mean() == pytest.approx(0.683, abs=0.02)


def test_a_line_parts_the_blobs_but_not_xor():
    settings = {"epochs": 60, "lr": 0.1, "progress": "none", "device": "cpu"}
    line = {"depth": 1, "lift": False, "norm": "none", "activation": "none", "residual": False}
    scores = {}
    for name in ("blobs", "xor"):
        data = cotan.load_dataset(name)
        scores[name] = fit(cotan.training.model_for("linear", data, seed=0, **line), data, **settings).metrics[
            "test_accuracy"
        ]
    assert scores["blobs"] > 0.95
    assert scores["xor"] < 0.85  # three corners of four


def test_bad_options():
    with pytest.raises(cotan.CotanError, match="points >= 10"):
        cotan.load_dataset("xor", points=9)
    with pytest.raises(cotan.CotanError, match="arms=1"):
        cotan.load_dataset("spiral", arms=1)
    with pytest.raises(cotan.CotanError, match="blobs: classes=1, expected a whole number of at least 2"):
        cotan.load_dataset("blobs", classes=1)
