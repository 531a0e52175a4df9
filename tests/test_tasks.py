"""Losses and metrics of the tasks, by hand."""

import math

import pytest
import torch
from scipy.stats import mannwhitneyu

import cotan
from cotan.tasks import Classify, Label, Regress


def test_accuracy_and_cross_entropy():
    output = torch.tensor([[2.0, 1, 0], [0, 1, 2], [0, 3, 1]])
    metrics = Classify.metrics(output, torch.tensor([0, 2, 2]))  # all of class 0, half of class 2, and there is no 1
    assert metrics == {"accuracy": pytest.approx(2 / 3), "mean_recall": 0.75}
    even, first = torch.zeros(1, 4), torch.tensor([0])
    assert Classify.loss(even, first).item() == pytest.approx(math.log(4))
    sure = torch.tensor([[100.0, 0]])
    assert Classify.loss(sure, first).item() == pytest.approx(0)
    assert Classify.loss(sure, first, smoothing=0.2).item() == pytest.approx(10)  # a tenth of the target is on class 1
    both = torch.tensor([[100.0, 0], [100.0, 0]])
    weight = torch.tensor([3.0, 1.0])
    assert Classify.loss(both, torch.tensor([0, 1]), weight).item() == pytest.approx(25)  # (3 x 0 + 1 x 100) / 4


def test_an_output_that_is_not_finite_is_no_answer():
    output = torch.tensor([[torch.nan, torch.nan], [2, torch.nan], [torch.inf, 0], [1, -torch.inf]])
    metrics = Classify.metrics(output, torch.zeros(4, dtype=torch.long))
    assert metrics == {"accuracy": 0.25, "mean_recall": 0.25}


def ranked(score, target) -> list[float]:
    return list(cotan.ranking_metrics(score, target).values())


def test_ranks_of_two_kinds():
    """scikit-learn's documentation has the first: 0.75 and 0.83."""
    target = torch.tensor([0, 0, 1, 1])
    assert ranked(torch.tensor([0.1, 0.4, 0.35, 0.8]), target) == [0.75, pytest.approx(5 / 6)]
    assert ranked(torch.zeros(4), target) == [0.5, 0.5]
    torch.manual_seed(0)
    score, target = torch.randint(9, (200,)).float(), torch.rand(200) < 0.2  # most scores are equal to others
    area = mannwhitneyu(score[target], score[~target]).statistic / (target.sum() * (~target).sum())
    precision = torch.stack([target[score >= s].double().mean() for s in score[target]]).mean()
    assert ranked(score, target) == pytest.approx([float(area), float(precision)])


def test_ranks_of_columns_that_lack_some():
    torch.manual_seed(0)
    score, target = torch.rand(30, 4), torch.randint(2, (30, 4)).double()
    target[:9, 0], target[5:9, 1], target[:, 2] = torch.nan, -1, 1  # no zeros
    rows = (slice(9, 30), [*range(5), *range(9, 30)], None, slice(30))
    apart = [ranked(score[rows[i], i], target[rows[i], i]) for i in (0, 1, 3)]
    assert ranked(score, target) == pytest.approx([sum(column) / 3 for column in zip(*apart)])
    assert ranked(score[:, 2], target[:, 2]) == ranked(score[:0], target[:0]) == []
    score[20, 0] = torch.nan  # no answer
    assert ranked(score, target) == []
    with pytest.raises(cotan.CotanError, match=r"scores of shape \(30, 4\), expected that of the targets, \(30,\)"):
        ranked(score, target[:, 0])


def test_two_classes_are_ranked_where_both_are_there():
    output, target = torch.tensor([[0.9, 0], [0.6, 0], [0.65, 0], [0.2, 0]]), torch.tensor([0, 0, 1, 1])
    metrics = Classify.metrics(output, target)
    assert metrics | {"roc_auc": 0.75, "average_precision": pytest.approx(5 / 6)} == metrics
    assert Classify.metrics(output, target * 0).keys() == Classify.metrics(output.repeat(1, 2), target).keys()
    assert Classify.metrics(output, target * 0).keys() == {"accuracy", "mean_recall"}


def test_intersections_over_unions():
    output = torch.eye(4)[[0, 0, 1, 3, 3]]
    output[4] = torch.nan
    metrics = Label.metrics(output, torch.tensor([0, 1, 1, 1, 3]))
    # Class 0 has 1 of 2, class 1 of 3, class 3 none of 2, and 2 is nowhere.
    assert metrics == {"accuracy": 0.4, "mean_recall": pytest.approx(4 / 9), "mean_iou": pytest.approx(5 / 18)}


def test_errors_of_numbers():
    output, target = torch.tensor([[1.0], [2], [3], [6]]), torch.tensor([1, 2, 3, 2])
    for shaped in (target, target[:, None]):
        assert Regress.metrics(output, shaped) == {"mean_absolute_error": 1, "root_mean_square_error": 2}
    assert Regress.loss(output, target) == 4
    assert Regress.loss(output, target.double()).dtype == output.dtype
    assert Regress.loss(output, target, deviation=torch.tensor([2.0])) == 1


def test_numbers_that_are_missing_count_nowhere():
    output = torch.tensor([[1.0, 5], [2, 9], [7, 3]], requires_grad=True)
    target = torch.tensor([[2.0, torch.nan], [torch.nan, 8], [7, 6]])  # errors -1, 1, 0 and -3
    assert Regress.metrics(output.detach(), target) == {
        "mean_absolute_error": 1.25,
        "root_mean_square_error": 11**0.5 / 2,
        "mean_absolute_error_0": 0.5,
        "mean_absolute_error_1": 2,
    }
    lacking = Regress.metrics(output[:1].detach(), target[:1])  # of the second there is none
    assert lacking == {"mean_absolute_error": 1, "root_mean_square_error": 1, "mean_absolute_error_0": 1}
    diverged = Regress.metrics(torch.full((3, 2), torch.nan), target)
    assert all(map(math.isnan, diverged.values()))
    assert [len(Regress.metrics(torch.zeros(2, n), torch.zeros(2, n))) for n in (100, 101)] == [102, 2]
    loss = Regress.loss(output, target, deviation=torch.tensor([1.0, 2.0]))
    assert loss.item() == pytest.approx((1 + 0.25 + 0 + 2.25) / 4)
    loss.backward()
    assert (output.grad == 0).tolist() == [[False, True], [True, False], [True, False]]
    assert Regress.loss(output, target * torch.nan) == 0
    assert Regress.loss(torch.tensor([[torch.nan]]), torch.tensor([1.0])).isnan()  # what the model gives is not missing
