"""Losses and metrics of the tasks, by hand."""

import math

import pytest
import torch

from cotan.tasks import Classify, Regress


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


def test_errors_of_numbers():
    output, target = torch.tensor([[1.0], [2], [3], [6]]), torch.tensor([1, 2, 3, 2])
    assert Regress.metrics(output, target) == {"mean_absolute_error": 1, "root_mean_square_error": 2}
    assert Regress.loss(output, target) == 4
    assert Regress.loss(output, target, deviation=torch.tensor([2.0])) == 1


def test_numbers_that_are_missing_count_nowhere():
    output = torch.tensor([[1.0, 5], [2, 9], [7, 3]], requires_grad=True)
    target = torch.tensor([[2.0, torch.nan], [torch.nan, 8], [7, 6]])  # errors -1, 1, 0 and -3
    assert Regress.metrics(output.detach(), target) == {
        "mean_absolute_error": 1.25,
        "root_mean_square_error": 11**0.5 / 2,
    }
    loss = Regress.loss(output, target, deviation=torch.tensor([1.0, 2.0]))
    assert loss.item() == pytest.approx((1 + 0.25 + 0 + 2.25) / 4)
    loss.backward()
    assert (output.grad == 0).tolist() == [[False, True], [True, False], [True, False]]
    assert Regress.loss(torch.tensor([[torch.nan]]), torch.tensor([1.0])).isnan()  # what the model gives is not missing
