"""Losses and metrics of the tasks, by hand."""

import math

import pytest
import torch

from cotan.tasks import Classify, Regress


def test_accuracy_and_cross_entropy():
    output = torch.tensor([[2.0, 1, 0], [0, 1, 2], [0, 3, 1]])
    assert Classify.metrics(output, torch.tensor([0, 2, 2])) == {"accuracy": pytest.approx(2 / 3)}
    even, first = torch.zeros(1, 4), torch.tensor([0])
    assert Classify.loss(even, first).item() == pytest.approx(math.log(4))
    sure = torch.tensor([[100.0, 0]])
    assert Classify.loss(sure, first).item() == pytest.approx(0)
    assert Classify.loss(sure, first, smoothing=0.2).item() == pytest.approx(10)  # a tenth of the target is on class 1
    both = torch.tensor([[100.0, 0], [100.0, 0]])
    weight = torch.tensor([3.0, 1.0])
    assert Classify.loss(both, torch.tensor([0, 1]), weight).item() == pytest.approx(25)  # (3 x 0 + 1 x 100) / 4


def test_errors_of_numbers():
    output, target = torch.tensor([[1.0], [2], [3], [6]]), torch.tensor([1, 2, 3, 2])
    assert Regress.metrics(output, target) == {"mean_absolute_error": 1, "root_mean_square_error": 2}
    assert Regress.loss(output, target) == 4
    assert Regress.loss(output, target, deviation=torch.tensor([2.0])) == 1
