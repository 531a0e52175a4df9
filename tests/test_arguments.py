"""What is handed to cotan's functions is of the kind that they take, or one error says what they expected."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch_geometric.data import Data

import cotan
from cotan.errors import at_least

WRONG = (["poses"], None, 3, 2.5, Path("no.file"), b"poses", {"a": 1}, object())
TETRAHEDRON = Data(
    pos=torch.tensor([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]),
    face=torch.tensor([[0, 0, 0, 1], [1, 3, 2, 3], [2, 1, 3, 2]]),
)
SUITE = {"models": ["linear"], "datasets": ["xor"]}


def model():
    return cotan.create_model("chebyshev", 3, 2)


def labelled():
    shapes = [TETRAHEDRON.clone() for _ in range(2)]
    for y, shape in enumerate(shapes):
        shape.y = torch.tensor([y])
    return cotan.Splits(train=shapes)


# A function of one argument, what it expects there, and those of WRONG that it takes.
CALLS = {
    "load_dataset(name)": (cotan.load_dataset, "unknown dataset", ()),
    "load_dataset(split)": (lambda a: cotan.load_dataset("xor", split=a), "unknown split", (None,)),
    "source(name)": (lambda a: cotan.source(a, per="vertex"), "expected the name of an attribute", ()),
    "node(name)": (cotan.node, "expected a node's name", ()),
    "compute(data)": (lambda a: cotan.compute(a, "mass"), "expected a torch_geometric Data", ()),
    "read(path)": (cotan.read, "read takes a file|no file", ()),
    "write(data)": (lambda a: cotan.write(a, "a.ply"), "expected a torch_geometric Data", ()),
    "write(path)": (lambda a: cotan.write(TETRAHEDRON, a), "expected a file|unknown kind of file", ()),
    "write(colors)": (lambda a: cotan.write(TETRAHEDRON, "a.ply", colors=a), "colours are|expected numbers", (None,)),
    "draw(path)": (lambda a: cotan.draw(TETRAHEDRON, a, TETRAHEDRON.pos[:, 0], size=32), "expected a file", (None,)),
    "draw(values)": (lambda a: cotan.draw(TETRAHEDRON, "a.png", a), "colours are|expected", ()),
    "needs(module)": (cotan.needs, "expected a layer or a model", ()),
    "inputs(module)": (lambda a: cotan.inputs(a, TETRAHEDRON), "expected a layer or a model", ()),
    "apply(model)": (lambda a: cotan.apply(a, TETRAHEDRON), "expected a layer or a model", ()),
    "on_domain(module)": (lambda a: cotan.on_domain(a, "coarsen"), "expected a layer or a model", ()),
    "make_plan(requests)": (lambda a: cotan.make_plan(a, ["pos"]), "expected requests|node's name", ()),
    "match(k)": (lambda a: cotan.match(TETRAHEDRON, TETRAHEDRON, k=a, start=2), "expected a whole number", (3,)),
    "match(start)": (lambda a: cotan.match(TETRAHEDRON, TETRAHEDRON, k=3, start=a), "expected a whole number", (3,)),
    "match(commute)": (
        lambda a: cotan.match(TETRAHEDRON, TETRAHEDRON, k=3, start=2, commute=a),
        "expected a number",
        (3, 2.5),
    ),
    "match(landmarks)": (
        lambda a: cotan.match(TETRAHEDRON, TETRAHEDRON, k=3, start=2, landmarks=a),
        "landmarks is a|expected landmarks",
        (None,),
    ),
    "shifted_solve(laplacian)": (
        lambda a: cotan.shifted_solve(a, torch.ones(4), 1.0, torch.ones(4, 1)),
        "expected a Sparse",
        (),
    ),
    "draw_filters(model)": (lambda a: cotan.draw_filters(a, TETRAHEDRON), "expected a model or a layer", ()),
    "draw_filters(data)": (lambda a: cotan.draw_filters(model(), a), "expected a torch_geometric Data", ()),
    "draw_filters(vertex)": (lambda a: cotan.draw_filters(model(), TETRAHEDRON, vertex=a), "expected a whole", (3,)),
    "draw_filters(curves)": (lambda a: cotan.draw_filters(model(), TETRAHEDRON, curves=a), "expected a whole", (3,)),
    "Splits(train)": (cotan.Splits, "expected a list of Data", (["poses"], b"poses")),
    "Splits(stress)": (lambda a: cotan.Splits([], stress=a), "expected lists of Data", ({"a": 1},)),
    "Splits(classes)": (lambda a: cotan.Splits([], classes=a), "expected names", (["poses"], b"poses")),
    "Splits(template)": (lambda a: cotan.Splits([], template=a), "expected a torch_geometric Data", (None,)),
    "fit(model)": (lambda a: cotan.fit(a, labelled(), epochs=1), "expected a model", ()),
    "fit(dataset)": (lambda a: cotan.fit(model(), a, epochs=1), "expected a dataset's name", ()),
    "fit(recipe)": (lambda a: cotan.fit(model(), labelled(), a), "recipe|unknown key", (None,)),
    "fit(out)": (lambda a: cotan.fit(model(), labelled(), out=a), "expected a folder", (None, Path("no.file"))),
    "fit(on_epoch)": (lambda a: cotan.fit(model(), labelled(), on_epoch=a), "expected a function", (None,)),
    "fit(prepared)": (lambda a: cotan.fit(model(), labelled(), prepared=a), "expected a mapping", (None, {"a": 1})),
    "prepare(models)": (lambda a: cotan.prepare(a, [TETRAHEDRON], per=None), "expected a layer or a model", ()),
    "prepare(shapes)": (
        lambda a: cotan.prepare(model(), a),
        "expected a list of Data|expected a torch_geometric Data",
        (),
    ),
    "prepare(a generator)": (lambda a: cotan.prepare(model(), iter([a])), "expected a list of Data", ()),
    "forward(values)": (lambda a: cotan.forward(model(), a), "expected batch.values", ({"a": 1},)),
    "predict(model)": (lambda a: cotan.predict(a, TETRAHEDRON), "expected a model|no run folder", ()),
    "evaluate(split)": (lambda a: cotan.evaluate(model(), labelled(), split=a), "unknown split", ()),
    "model_for(seed)": (lambda a: cotan.model_for("linear", labelled(), seed=a), "expected a whole number", (None, 3)),
    "Run.load(path)": (cotan.Run.load, "expected a run's folder|no run folder", ()),
    "Suite.read(path)": (cotan.Suite.read, "expected a Suite|cannot be read", ()),
    "Suite.of(content)": (cotan.Suite.of, "expected a mapping|unknown key", ()),
    "bench(suite)": (cotan.bench, "expected a Suite|cannot be read|unknown key", ()),
    "bench(out)": (lambda a: cotan.bench(SUITE, out=a), "expected a folder", (None, Path("no.file"))),
    "bench(models)": (lambda a: cotan.bench(SUITE, models=a), "expected a list of labels|unknown model", ()),
    "bench(seeds)": (lambda a: cotan.bench(SUITE, seeds=a), "expected a list of whole|has no seed", ()),
}


@pytest.mark.parametrize("call", CALLS)
def test_of_a_wrong_kind(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    function, words, taken = CALLS[call]
    for wrong in WRONG:
        if not any(wrong == right for right in taken):
            with pytest.raises(cotan.CotanError) as error:
                function(wrong)
            assert re.search(words, str(error.value)), (wrong, str(error.value))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("wrong", [1, -3, True, 2.0, "2", None, [2], float("nan")])
def test_numbers_that_are_too_small_or_no_whole_numbers(wrong):
    at_least(2, "here", least=2, numpy=np.int64(2), torch=torch.tensor(2))
    with pytest.raises(
        cotan.CotanError, match=rf"^here: b={re.escape(repr(wrong))}, expected a whole number of at least 2$"
    ):
        at_least(2, "here", a=2, b=wrong)


@pytest.mark.parametrize("time", [torch.tensor(0.1, requires_grad=True), [torch.nn.Parameter(torch.tensor(0.1))]])
def test_an_option_takes_no_derivatives(time):
    """Its gradient would be lost without a word."""
    with pytest.raises(
        cotan.CotanError, match=r"option 'time' of node 'laplacian': a tensor that requires grad.*Detach it"
    ):
        cotan.compute(TETRAHEDRON, "laplacian", kind="heat", time=time)
