"""The errors of a map to a template, and training for one."""

import importlib
import math

import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan import datasets
from cotan.map_error import geodesic_metrics
from cotan.operators.geodesic_distance import all_distances, geodesic_distance

pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")


def strip(squares: int = 12) -> Data:
    """A ladder of unit squares, cut into triangles: vertex 2 i lies at (i, 0), vertex 2 i + 1 above it."""
    i = torch.arange(squares + 1)
    pos = torch.stack([i.repeat_interleave(2), torch.arange(2 * squares + 2) % 2, 0 * i.repeat_interleave(2)], 1)
    a = 2 * torch.arange(squares)
    face = torch.cat([torch.stack([a, a + 2, a + 3]), torch.stack([a, a + 3, a + 1])], 1)
    return Data(pos=pos.float(), face=face)


def test_on_a_flat_strip_a_shift_by_one_vertex_costs_its_edge():
    shape = strip()
    splits = cotan.Splits([shape], template=shape, task="match")
    truth = torch.arange(len(shape.pos) - 2)
    assert geodesic_metrics(truth, truth, splits.distances) == {"geodesic_error": 0.0, "within_5_percent": 1.0}
    diameter = math.hypot(12, 1)
    error = cotan.geodesic_error(truth + 2, truth, splits.distances)  # one to the right
    torch.testing.assert_close(error, torch.full_like(error, 1 / diameter), rtol=1e-6, atol=1e-8)
    found = truth.clone()
    found[:8] += 2
    metrics = geodesic_metrics(found, truth, splits.distances)
    assert metrics["geodesic_error"] == pytest.approx(8 / 24 / diameter)
    assert metrics["within_5_percent"] == pytest.approx(16 / 24)  # one edge is 8% of the diameter


def test_the_curve_of_errors():
    error = torch.tensor([0.0, 0.0, 0.1, 0.3])
    assert cotan.share_within(error, torch.tensor([0.0, 0.09, 0.1, 1.0])).tolist() == [0.5, 0.5, 0.75, 1.0]
    assert cotan.share_within(error.numpy(), [0.2]).tolist() == [0.75]
    for wrong, radius in ((error.view(2, 2), [0.1]), (error, 0.1), (error[:0], [0.1])):
        with pytest.raises(cotan.CotanError, match=r"share_within: expected \(V,\) and radii \(R,\), got"):
            cotan.share_within(wrong, radius)


def test_what_would_be_a_wrong_error_is_refused():
    at, distances = torch.tensor([0, 3, 1]), torch.rand(4, 4)
    for found, truth in ((at, torch.tensor([0, -1, 1])), (torch.tensor([0, 4, 1]), at)):
        with pytest.raises(cotan.CotanError, match=r"out of range: vertex numbers -?[0-1] to [1-4], expected 0 to 3"):
            cotan.geodesic_error(found, truth, distances)
    for found, truth, far in ((at[:, None], at, distances), (at[:2], at, distances), (at, at, distances[:, :3])):
        with pytest.raises(cotan.CotanError, match=r"expected found and truth \(V,\) and distances \(T, T\)"):
            cotan.geodesic_error(found, truth, far)
    error = cotan.geodesic_error(at, at.flip(0), distances)
    assert torch.equal(cotan.geodesic_error(at.to(torch.uint8).numpy(), at.flip(0).numpy(), distances.numpy()), error)


@pytest.mark.parametrize("without", [["face"], ["pos", "face"]])
def test_a_template_that_is_no_mesh_is_refused(without):
    shape = strip()
    shape.y = torch.arange(26)
    template = Data(**{name: shape[name] for name in ("pos", "face", "y") if name not in without})
    splits = cotan.Splits([shape] * 5, template=template, task="match")
    for ask in (lambda: splits.distances, lambda: cotan.fit("linear", splits, epochs=1, progress="none", device="cpu")):
        with pytest.raises(cotan.CotanError, match=f"the template has no {' and no '.join(without)}, expected a mesh"):
            ask()


def test_distances_are_found_once_for_a_template():
    one, other = strip(), strip()
    splits = cotan.Splits([one] * 10, template=one)
    for shape in (one, other):
        shape.y = torch.arange(26)
    assert splits.with_val(1).distances is splits.with_val(2).distances
    assert cotan.Splits([other], template=other).distances is not splits.distances


def test_distances_are_found_once_on_a_machine(fresh_store, monkeypatch):
    shape = strip()
    before = cotan.Splits([shape], template=shape).distances
    monkeypatch.setattr(importlib.import_module("cotan.operators.geodesic_distance"), "all_distances", None)
    datasets._distances.cache_clear()  # as another process
    assert torch.equal(cotan.Splits([shape], template=shape).distances, before)
    moved = cotan.Splits([shape], template=Data(pos=2 * shape.pos, face=shape.face))
    with pytest.raises(TypeError):
        _ = moved.distances


def test_another_piece_is_a_diameter_away():
    one, n = strip(), 26
    both = Data(pos=torch.cat([one.pos, one.pos + 5]), face=torch.cat([one.face, one.face + n], 1))
    distances = cotan.Splits([both], template=both).distances
    assert cotan.geodesic_error(torch.tensor([n]), torch.tensor([0]), distances).tolist() == [1.0]


def test_all_distances_are_those_of_single_sources(sphere):
    pos = sphere.pos.double()
    every = all_distances(pos, sphere.face)
    for source in (0, 17, len(pos) - 1):
        alone = geodesic_distance(pos, sphere.face, source=source)
        torch.testing.assert_close(every[source], alone, rtol=1e-12, atol=0)  # vectors of other lengths round otherwise


@pytest.fixture(scope="module")
def dogs():
    return cotan.load_dataset(
        "poses", task="match", creatures=["dog"], per_class=15, vertices=150, stress=["holes"], workers=1
    )


def test_the_truth_is_the_place_of_the_body(dogs):
    template = dogs.template
    assert cotan.model_for("linear", dogs).made["out_dim"] == len(template.pos)
    parts = [(template.part[s.y] == s.part).double().mean() for some in dogs.lists().values() for s in some]
    assert min(parts) > 0.9  # vertices at the seam of two parts may fall on either
    for shape in (*dogs.test, *dogs.stress["holes"]):
        off = (shape.body - template.body[shape.y]).norm(dim=1)
        nearest = torch.cdist(shape.body, template.body).min(1).values
        torch.testing.assert_close(off, nearest, rtol=0, atol=1e-3)  # cdist of float32 rounds
    again = cotan.load_dataset(
        "poses", task="match", creatures=["dog"], per_class=15, vertices=150, stress=["holes"], workers=1
    )
    assert torch.equal(again.template.face, template.face)  # from the store
    assert again.digest == dogs.digest


def test_a_short_training_is_far_better_than_chance(dogs):
    model = cotan.model_for("diffusion", dogs, width=32, depth=2, k=32, seed=0)
    run = cotan.fit(model, dogs, epochs=15, batch_size=2, lr=1e-2, schedule="cosine", progress="none", device="cpu")
    found = cotan.evaluate(run, dogs)
    chance = dogs.distances.mean() / dogs.distances.max()
    print(found, float(chance))
    assert found["accuracy"] > 20 / len(dogs.template.pos)
    assert found["geodesic_error"] < 0.3 * chance
    assert found["accuracy"] <= found["within_5_percent"]
    assert run.metrics["test_geodesic_error"] == found["geodesic_error"]
    assert run.metrics["stress_holes_geodesic_error"] > 0
    # From a prediction, by hand.
    labels = torch.cat([p.label for p in cotan.predict(run, dogs.test)])
    errors = cotan.geodesic_error(labels, torch.cat([s.y for s in dogs.test]), dogs.distances)
    assert float(errors.mean()) == pytest.approx(found["geodesic_error"])


def test_several_creatures_have_no_template():
    with pytest.raises(cotan.CotanError, match="task='match' is about one creature, got creatures=\\('dog', 'crab'\\)"):
        cotan.load_dataset("poses", task="match", creatures=["dog", "crab"])


def test_a_task_that_extends_match_has_its_template_and_its_errors(scratch, capsys):
    cotan.task("match-own")(type("Own", (cotan.tasks.Match,), {}))
    shape = strip()
    shape.y = torch.arange(26) // 2 * 2
    splits = cotan.Splits([shape], [shape], [shape], template=shape, task="match-own")
    run = cotan.fit("linear", splits, epochs=1, progress="lines", device="cpu")
    assert run.model.made["out_dim"] == 26
    assert run.metrics["test_geodesic_error"] == cotan.evaluate(run, splits)["geodesic_error"]
    assert "no target is of" not in capsys.readouterr().err  # not every vertex has to be met
