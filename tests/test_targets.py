"""Targets and masks: what counts, and what is refused before anything is computed."""

import re

import numpy as np
import pytest
import torch
import torch_geometric
from torch_geometric.data import Data

import cotan
from cotan.targets import check, counted, remarks, target, width
from cotan.testing import another_device
from cotan.training import model_for

QUICK = {"epochs": 1, "progress": "none", "device": "cpu"}
EDGES = torch.tensor([[0, 1, 2], [1, 2, 0]])
PARTS = [torch.arange(12) % 4 == part for part in range(3)]


def graph(y, **more) -> Data:
    return Data(x=torch.ones(3, 2), edge_index=EDGES, y=y, **more)


def many(make=lambda i: torch.tensor([i % 2]), count: int = 10) -> list[Data]:
    return [graph(make(i)) for i in range(count)]


def nodes(**changes) -> Data:
    y = torch.arange(12) % 3
    data = Data(x=torch.eye(12), edge_index=torch.stack([torch.arange(12), torch.arange(12).roll(1)]), y=y)
    for name, value in changes.items():
        data[name] = value
    return data


def fit(train, test, task="classify"):
    splits = cotan.Splits(train, [], test, task=task)
    return cotan.fit(model_for("gcn", splits, width=4, depth=1, seed=0), splits, **QUICK)


@pytest.mark.parametrize(
    "kind",
    [
        lambda i: torch.tensor([i % 2], dtype=torch.int32),
        lambda i: torch.tensor([i % 2 == 1]),
        lambda i: torch.tensor(i % 2, dtype=torch.uint8),
        lambda i: i % 2,
        lambda i: np.array([i % 2]),
    ],
)
def test_class_numbers_of_any_type(kind):
    assert target(graph(kind(3)), "shape").tolist() == [1]
    expected = fit(many(), many(count=2)).metrics["test_loss"]
    assert fit(many(kind), many(kind, 2)).metrics["test_loss"] == expected


def test_a_mask_of_vertices_leaves_out_no_class_of_a_shape():
    masked = [graph(torch.tensor([i % 2]), mask=torch.tensor([False, False, True])) for i in range(10)]
    assert fit(masked, masked[:2]).metrics == fit(many(), many(count=2)).metrics


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ("cat", r"train\[10\]: y is a str, expected numbers"),
        ([torch.ones(2)], r"train\[10\]: y is a list, expected numbers"),
        (torch.tensor([10**9]), "labels up to 1000000000, expected classes numbered from 0"),
        (torch.tensor([1.0]), r"y holds torch\.float32, expected class numbers"),
        (torch.tensor([-1]), r"train\[10\]: labels -1 to -1, but there are 2 classes \(0 to 1\)$"),
        (None, r"train\[10\] has no y"),
        (
            torch.tensor([0, 1]),
            r"train\[10\]: task 'classify' wants one class a shape; y has 2 values\. .* 'label', 'regress'",
        ),
    ],
)
def test_what_is_no_class(y, message):
    with pytest.raises(cotan.CotanError, match=message):
        fit([*many(), graph(y)], many(count=2))


def test_what_is_no_shape():
    for thing, name in (((torch.ones(3), 1), "tuple"), (3, "int")):
        with pytest.raises(cotan.CotanError, match=rf"train\[10\] is a {name}, expected a torch_geometric Data"):
            fit([*many(), thing], many(count=2))
        with pytest.raises(cotan.CotanError, match=f"expected a torch_geometric Data, got {name}"):
            cotan.predict(cotan.create_model("gcn", 2, 2, width=4, depth=1), [thing])
    with pytest.raises(cotan.CotanError, match="has no training shapes"):
        cotan.fit(cotan.create_model("gcn", 2, 2), cotan.Splits([], [], many()), **QUICK)
    with pytest.raises(cotan.CotanError, match="there are no shapes to evaluate on"):
        cotan.evaluate(cotan.create_model("gcn", 2, 2), [])
    with pytest.raises(
        cotan.CotanError, match=r"there are no shapes to evaluate on: 'val' of Splits\(.*val 0.* is empty"
    ):
        cotan.evaluate(cotan.create_model("gcn", 2, 2), cotan.Splits([], [], many()), split="val")


def test_features_that_some_lack_or_that_differ():
    some = many()
    del some[7].x
    with pytest.raises(cotan.CotanError, match="9 of 10 shapes have x, number 7 has none"):
        cotan.apply(cotan.create_model("gcn", 2, 2), some)
    some = many()
    some[0].edge_weight = torch.ones(3)
    with pytest.raises(cotan.CotanError, match="1 of 10 shapes have edge_weight, number 1 has none"):
        cotan.apply(cotan.create_model("gcn", 2, 2), some)
    wide = graph(torch.tensor([1]))
    wide.x = torch.ones(3, 5)
    assert fit([wide, *many()], many(count=2)).model._made_for == 2  # wherever the odd one out stands
    run = fit([*many(), wide], many(count=2))
    assert run.status == "finished"  # as a shape that an operator refuses: left out and named
    with pytest.raises(
        cotan.CotanError, match="shape 0 of 1: the model was made for in_dim=2 channels; its features have 5"
    ):
        cotan.predict(run, wide)


def test_numbers_are_finite_and_as_many():
    def numbers(size):
        return many(lambda i: torch.full((1, size), i / 3))

    assert fit(numbers(3), numbers(3), "regress").metrics["test_mean_absolute_error"] > 0
    infinite = many(lambda i: torch.tensor([[1.0, float("inf") if i == 4 else i]]))
    with pytest.raises(cotan.CotanError, match=r"train\[4\]: y is .*inf.*, expected 2 finite numbers"):
        fit(infinite, numbers(2), "regress")
    with pytest.raises(cotan.CotanError, match=r"test\[0\]: y is .*, expected 3 finite numbers"):
        fit(numbers(3), numbers(2), "regress")
    # A val is cut by chance, not by class, where the model's task says so, and the data's does not.
    plain = cotan.Splits(many(lambda i: torch.tensor([i])), test=many())
    assert cotan.fit(model_for("gcn", plain, task="regress", width=4), plain, **QUICK).metrics["val_loss"] >= 0


def test_a_missing_number_is_as_one_that_a_mask_leaves_out(capsys):
    def vertices(**changes):
        return [Data(pos=torch.rand(3, 3), edge_index=EDGES, **changes) for _ in range(4)]

    known = torch.tensor([True, False, True])
    y = torch.tensor([1.0, torch.nan, 4.0])
    runs = []
    for changes in ({"y": y.where(known, 9.0), "mask": known}, {"y": y}, {"y": y, "mask": known}):
        torch.manual_seed(0)
        runs.append(fit(vertices(**changes), vertices(**changes), "regress-vertices"))
        assert runs[-1].model.target_mean.tolist() == [2.5]
        assert runs[-1].model.target_deviation.tolist() == [1.5]
    assert runs[0].metrics == runs[2].metrics == pytest.approx(runs[1].metrics, rel=1e-6)

    few = Data(pos=torch.rand(50, 3), edge_index=EDGES, y=torch.full((50,), torch.nan))
    few.y[:4] = torch.arange(4.0)
    cut = cotan.Splits([few], task="regress-vertices").with_val()
    assert [int(part[0].mask[:4].sum()) for part in (cut.train, cut.val)] == [
        3,
        1,
    ]  # of the four numbers that there are
    cut = cotan.Splits(many(lambda i: torch.tensor([i if i < 4 else torch.nan])), task="regress").with_val()
    assert [float(shape.y) < 4 for shape in cut.val] == [True]

    two = many(lambda i: torch.tensor([[i, torch.nan if i % 2 else 1.0]]))
    splits = cotan.Splits(two, [], two[1:2], task="regress")  # the one number of test is enough
    run = cotan.fit(model_for("gcn", splits, width=4, depth=1), splits, **{**QUICK, "progress": "lines"})
    said = capsys.readouterr().err
    assert re.search(r"numbers of y that are missing \(NaN\): \d of 16 in train", said)
    assert "error 0 " not in said  # one of several numbers is among the run's metrics, and in no line
    assert run.metrics["val_mean_absolute_error_0"] >= 0
    with pytest.raises(cotan.CotanError, match="test: y is NaN everywhere"):
        cotan.evaluate(run, many(lambda i: torch.full((1, 2), torch.nan)))
    for lacking, where in ((many(lambda i: torch.tensor([[i, torch.nan]])), "train: number 1 of y"), (two, "test: y")):
        tests = many(lambda i: torch.full((1, 2), torch.nan))
        with pytest.raises(cotan.CotanError, match=f"{where} is NaN everywhere"):
            fit(lacking, tests, "regress")


def test_as_many_numbers_as_the_model_gives():
    two = many(lambda i: torch.tensor([[i / 3, 1.0]]))
    model = cotan.create_model("gcn", 2, 3, task="regress", width=4, depth=1)
    with pytest.raises(cotan.CotanError, match=r"train\[0\]: y is \[\[0.0, 1.0\]\], expected 3 finite numbers"):
        cotan.fit(model, cotan.Splits(two, [], two, task="regress"), **QUICK)
    with pytest.raises(cotan.CotanError, match="expected 3 finite numbers"):
        cotan.evaluate(model, two)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (
            [0, 1, 255],
            "no target is of 253 classes, the first 2, of 256; if 255 stands for no label, a mask leaves it out",
        ),
        ([1, 2, 3], "no target is of class 0 of 4"),
        ([0, 1, 2], ""),
    ],
)
def test_labels_that_may_stand_for_none_are_said(labels, said, capsys):
    shapes = many(lambda i: torch.tensor(labels), 5)
    splits = cotan.Splits(shapes[:4], shapes[4:], task="label")
    cotan.fit(model_for("gcn", splits, width=4, depth=1), splits, **{**QUICK, "progress": "lines"})
    err = capsys.readouterr().err
    assert said in err.splitlines() if said else "no target is of" not in err
    for shape in shapes:
        shape.mask = shape.y < 3
    assert width(splits, "label") == max(label for label in labels if label < 3) + 1
    splits.classes = ("a", "b", "c")
    assert cotan.fit("gcn", splits, **QUICK).metrics["val_accuracy"] >= 0
    if said:
        for shape in shapes:
            del shape.mask
        hint = "; a mask leaves out what has no label" if 255 in labels else ""
        with pytest.raises(cotan.CotanError, match=rf"there are 3 classes \(0 to 2\){hint}$"):
            cotan.fit("gcn", splits, **QUICK)


@pytest.mark.parametrize("per", ["shape", "vertex"])
def test_a_task_of_ones_own_needs_no_more_than_it_says(per):
    class Absolute:
        @staticmethod
        def loss(output, target):
            return (output - target.reshape(output.shape)).abs().mean()

        @classmethod
        def metrics(cls, output, target):
            return {"off": float(cls.loss(output, target))}

    Absolute.per = per
    cotan.task(f"absolute-{per}")(type(f"Absolute{per}", (Absolute,), {}))
    shapes = many(lambda i: torch.full((2 if per == "shape" else 3,), i / 3))
    splits = cotan.Splits(shapes, [], shapes, task=f"absolute-{per}")
    run = cotan.fit(model_for("gcn", splits, width=4, depth=1), splits, **QUICK)
    assert run.metrics["test_off"] > 0
    assert len(cotan.predict(run, shapes[0]).label) == len(shapes[0].y)
    shapes[0].y[0] = torch.nan
    with pytest.raises(cotan.CotanError, match=r"finite numbers.*; what is missing may be -1, say, where"):
        cotan.fit("gcn", splits, **QUICK)


def test_a_number_a_vertex():
    made = many(lambda i: torch.arange(3) * 1e4 + i)
    shapes = [Data(x=made.y[:, None] / 1e4, edge_index=EDGES, y=made.y) for made in made]
    lists = shapes[:6], shapes[6:8], shapes[8:]
    with pytest.raises(cotan.CotanError, match=r"as long as its shape has vertices; .* is the task 'regress-vertices'"):
        cotan.fit("linear", cotan.Splits(*lists, task="regress"), **QUICK)
    rows = [Data(x=shape.x, y=shape.x.expand(3, 2)) for shape in shapes]
    with pytest.raises(cotan.CotanError, match=r"as long as its shape has vertices; .* is the task 'regress-vertices'"):
        cotan.fit("linear", cotan.Splits(rows, [], rows, task="regress"), **QUICK)
    three = [Data(x=torch.ones(count, 1), y=torch.ones(3)) for count in (3, 4)]  # one has as many vertices by chance
    check(cotan.Splits(three, [], three, task="regress"), "regress", 3)
    for shape in shapes[:6]:
        shape.mask = torch.tensor([True, True, False])
    splits = cotan.Splits(*lists, task="regress-vertices")
    model = model_for("linear", splits, seed=0, width=8, depth=1)
    run = cotan.fit(model, splits, **{**QUICK, "epochs": 60}, lr=0.03)
    assert run.model.target_mean.item() == pytest.approx(5002.5)  # of what counts
    off = torch.stack([cotan.predict(run, shape).label - shape.y for shape in shapes[8:]])  # (shapes, V)
    assert off[:, :2].abs().max() < 2500
    assert run.metrics["test_mean_absolute_error"] == pytest.approx(off.abs().mean().item(), rel=1e-4)
    with pytest.raises(cotan.CotanError, match=r"train\[0\]: .* wants a number for each of 3 vertices; y has 1"):
        cotan.fit("linear", cotan.Splits(many(), task="regress-vertices"), **QUICK)


def test_numbers_a_vertex_are_in_one_or_two_axes():
    steps = [Data(x=torch.ones(3, 1), y=torch.ones(3, 4, 2))]
    with pytest.raises(cotan.CotanError, match=r"y has 24, \(3, 4, 2\): expected \(3,\) or \(3, D\)"):
        cotan.fit("linear", cotan.Splits(steps, [], steps, task="regress-vertices"), **QUICK)


def test_several_numbers_a_vertex():
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    y = torch.stack([x[:, 0] * 1e3, x.sum(1), 5 - x[:, 1]], 1)
    y[3, 1] = torch.nan
    part = torch.arange(60) < 40
    one = [Data(x=x, edge_index=EDGES, y=y, mask=mask) for mask in (part, ~part)]  # no val: cut from train's vertices
    splits = cotan.Splits(one[:1], [], one[1:], task="regress-vertices")
    model = model_for("linear", splits, seed=0, width=16, depth=1, norm="none")
    run = cotan.fit(model, splits, **{**QUICK, "epochs": 100}, lr=0.03)
    assert (splits.with_val().train[0].mask.sum(), splits.with_val().val[0].mask.sum()) == (32, 8)
    torch.testing.assert_close(model.target_mean, y[splits.with_val().train[0].mask].nanmean(0))
    found = cotan.predict(run, one[1]).label
    assert ((found - y)[~part].abs().mean(0) < torch.tensor([200.0, 0.3, 0.2])).all()  # a fifth of their deviations
    assert cotan.evaluate(run, splits)["mean_absolute_error"] == pytest.approx((found - y)[~part].abs().mean().item())
    with pytest.raises(
        cotan.CotanError, match=r"train\[0\]: y is of shape \(60, 3\), expected 2 finite numbers at each v"
    ):
        cotan.fit(cotan.create_model("linear", 2, 2, task="regress-vertices"), splits, **QUICK)
    torch.testing.assert_close(cotan.predict(run, Data(x=x[:1], edge_index=EDGES[:, :0])).label, found[:1])


def test_a_graph_with_the_masks_of_pyg():
    data = nodes(train_mask=PARTS[0], val_mask=PARTS[1], test_mask=PARTS[2])
    run = cotan.fit("gcn", data, **QUICK)
    row = nodes(y=data.y[None], train_mask=PARTS[0], val_mask=PARTS[1], test_mask=PARTS[2])
    assert cotan.fit("gcn", row, **QUICK).metrics == run.metrics
    own = [[nodes(mask=part)] for part in PARTS]
    same = cotan.fit("gcn", cotan.Splits(*own, task="label"), **QUICK)
    assert run.metrics == same.metrics
    assert run.dataset["digest"] == same.dataset["digest"]
    with pytest.raises(cotan.CotanError, match="has train_mask and no mask, so that all of it would count"):
        fit([data], [data], "label")
    data.mask = PARTS[0]
    check(cotan.Splits([data], [], [data], task="label"), "label", 3)
    with pytest.raises(cotan.CotanError, match=r"or a Data with train_mask, val_mask and test_mask; got a Data"):
        cotan.fit("gcn", nodes(), **QUICK)


@pytest.mark.parametrize(
    ("change", "way"),
    [
        (lambda mask: torch.stack([mask, ~mask], 1), "data.train_mask[:, 0] is the first of its 2 splits"),
        (lambda mask: mask.numpy(), "torch.as_tensor(data.train_mask)"),
        (lambda mask: mask.to(torch.uint8), "data.train_mask.bool()"),
        (lambda mask: mask.nonzero()[:, 0], "torch_geometric.utils.index_to_mask(data.train_mask, 12)"),
    ],
)
def test_masks_of_other_forms_are_told_the_way(change, way):
    data = nodes(train_mask=change(PARTS[0]), val_mask=PARTS[1], test_mask=PARTS[2])
    with pytest.raises(
        cotan.CotanError, match=r"train_mask is \(.* bool tensor \(12,\), .*: data.train_mask = "
    ) as refusal:
        cotan.fit("gcn", data, **QUICK)
    assert str(refusal.value).endswith(f"data.train_mask = {way}")
    assert torch.equal(
        eval(way.split(" is ")[0], {"data": data, "torch": torch, "torch_geometric": torch_geometric}), PARTS[0]
    )


def test_targets_of_several_columns_are_not_the_fault_of_a_mask():
    data = nodes(y=torch.rand(12, 3), train_mask=PARTS[0], val_mask=PARTS[1], test_mask=PARTS[2])
    with pytest.raises(
        cotan.CotanError, match=r"y has shape \(12, 3\), expected one target of task 'label' a row, \(12,\)"
    ):
        cotan.fit("gcn", data, **QUICK)


@pytest.mark.parametrize(
    ("mask", "got"),
    [
        (PARTS[0].long(), r"\(12,\) of torch\.int64"),
        (PARTS[0].nonzero()[:, 0], r"\(3,\) of torch\.int64"),
        (PARTS[0][:-1], r"\(11,\) of torch\.bool"),
        (PARTS[0][:, None].repeat(1, 10), r"\(12, 10\) of torch\.bool"),
        (PARTS[0].numpy(), "a ndarray"),
    ],
)
def test_a_mask_is_a_truth_value_for_each(mask, got):
    with pytest.raises(cotan.CotanError, match=rf"train\[0\]: mask is {got}, expected a bool tensor \(12,\)"):
        fit([nodes(mask=mask)], [nodes(mask=PARTS[2])], "label")


def test_masks_that_leave_nothing_and_labels_outside_of_them():
    none = torch.zeros(12, dtype=torch.bool)
    for train, test, name in ((none, PARTS[2], "train"), (PARTS[0], none, "test")):
        with pytest.raises(cotan.CotanError, match=f"{name}: no target counts, as mask is false everywhere"):
            fit([nodes(mask=train)], [nodes(mask=test)], "label")
    unknown = torch.where(PARTS[0], torch.arange(12) % 3, -1)
    with pytest.raises(cotan.CotanError, match=r"labels -1 to 2, .*; a mask leaves out what has no label"):
        fit([nodes(y=unknown)], [nodes(mask=PARTS[2])], "label")
    with pytest.raises(cotan.CotanError, match="no val, and its 3 training targets are too few to cut one"):
        fit([nodes(mask=PARTS[0])], [nodes(mask=PARTS[2])], "label")
    unknown = torch.where(PARTS[2], -1, torch.arange(12) % 3)
    data = nodes(y=unknown[:, None], mask=~PARTS[2])
    assert counted(data, "vertex").tolist() == unknown[unknown >= 0].tolist()
    assert width(cotan.Splits([data]), "label") == 3
    assert width(cotan.Splits([data], template=Data(pos=torch.rand(9, 3))), "label") == 3  # 9 to `match`
    assert fit([data], [nodes(mask=PARTS[2])], "label").status == "finished"
    with pytest.raises(cotan.CotanError, match=r"labels 0 to 2, but there are 2 classes"):
        check(cotan.Splits([nodes()], classes=("a", "b")), "label", None)


def test_targets_that_are_no_number_or_none_at_all():
    with pytest.raises(cotan.CotanError, match=r"train\[0\]: y holds torch.float32, expected class numbers"):
        fit(many(lambda i: torch.tensor([float("nan")])), [])
    with pytest.raises(cotan.CotanError, match="dataset 'own data' has no shapes"):
        model_for("gcn", cotan.Splits([]))
    shapes = [graph(torch.zeros(0).long(), y_index=torch.zeros(2, 0).long()) for _ in range(4)]
    with pytest.raises(cotan.CotanError, match="no target counts"):
        fit(shapes, [], "label")


def test_a_value_that_no_digest_can_be_made_of_is_named():
    shapes = many()
    shapes[3].owner = object()
    with pytest.raises(
        cotan.CotanError, match=r"a shape's 'owner' is a source of type object.*; del shape.owner drops it"
    ):
        fit(shapes, [])


def test_targets_on_two_devices_are_counted_together(tetrahedron):
    one, other = (tetrahedron.clone() for _ in range(2))
    one.y, other.y = torch.tensor([0]), torch.tensor([1])
    with another_device() as device:
        splits = cotan.Splits([one, other.to(device)], [one], [one])
        run = cotan.fit(cotan.create_model("sage", 3, 2), splits, epochs=1, progress="none")
    assert run.status == "finished"


def test_classes_that_nobody_trains_on_are_said():
    shapes, named = many(lambda i: torch.tensor([i % 4]), 8), ("a", "b", "c", "d")
    train, test = shapes[:2], shapes
    assert remarks(cotan.Splits(train, [], test, classes=named), "classify") == [
        "class 'c': no training shape, 2 in test; class 'd': no training shape, 2 in test"
    ]
    assert remarks(cotan.Splits(train, [], test[:3]), "classify") == ["class 2: no training shape, 1 in test"]
    assert remarks(cotan.Splits(test, [], train, classes=named), "classify") == []
    assert remarks(cotan.Splits(train, [], test), "regress") == remarks(cotan.Splits(train), "classify") == []
    first, every = nodes(mask=torch.arange(12) % 3 > 0), nodes(mask=torch.arange(12) < 10)
    assert remarks(cotan.Splits([first], [], [every]), "label") == ["class 0: no training target, 4 in test"]
    assert remarks(cotan.Splits([every], [], [first]), "label") == []
    assert remarks(cotan.Splits([first], [], [first]), "label") == ["no target is of class 0 of 3"]
    assert remarks(cotan.Splits([first], [], [every]), "match") == []


def test_fit_says_what_nobody_trains_on(capsys):
    splits = cotan.Splits(many(), [], [*many(count=2), graph(torch.tensor([2]))], classes=("a", "b", "c"))
    cotan.fit("linear", splits, **{**QUICK, "progress": "lines"})
    assert "class 'c': no training shape, 1 in test\n" in capsys.readouterr().err
