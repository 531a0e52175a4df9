"""Dropout: its statistics, its gradient, and when it does nothing."""

import pytest
import torch

import cotan


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_each_entry_is_dropped_by_itself_and_the_mean_stays(p, dtype):
    n = 200
    torch.manual_seed(0)
    y = cotan.Dropout(p)(torch.ones(n, n, dtype=dtype))
    assert y.dtype == dtype
    dropped = (y == 0).double()
    error = (p * (1 - p)) ** 0.5  # of one entry; below, five deviations of each mean
    assert abs(dropped.mean() - p) < 5 * error / n
    for there, beside in ((dropped[1:], dropped[:-1]), (dropped[:, 1:], dropped[:, :-1])):
        assert abs(((there - p) * (beside - p)).mean()) < 5 * error**2 / n
    assert dropped.mean(0).sub(p).abs().max() < 5 * error / n**0.5
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - p)))


def test_the_gradient_is_that_of_a_product_with_the_mask():
    x = torch.randn(50, 3, requires_grad=True)
    y = cotan.Dropout(0.4)(x)
    (gradient,) = torch.autograd.grad(y.sum(), x)
    torch.testing.assert_close(gradient * x, y)
    assert 0 < (gradient == 0).sum() < 150


def test_masks_follow_the_seed_and_differ_between_calls():
    dropout, x = cotan.Dropout(0.5), torch.ones(1000)
    torch.manual_seed(3)
    first, second = dropout(x), dropout(x)
    torch.manual_seed(3)
    assert torch.equal(first, dropout(x))
    assert not torch.equal(first, second)


def test_what_leaves_nothing_to_chance():
    x = torch.tensor([1e30, -2.0, 0.0])
    assert torch.equal(cotan.Dropout(0.5).eval()(x), x)
    assert torch.equal(cotan.Dropout(0.0)(x), x)
    assert not cotan.Dropout(1.0)(x).any()
    for wrong in (1.5, -0.1, float("nan")):
        with pytest.raises(ValueError, match=f"between 0 and 1, but got {wrong}"):
            cotan.Dropout(wrong)


def test_in_place_is_in_place():
    x = torch.ones(1000)
    assert cotan.Dropout(0.5, inplace=True)(x) is x
    assert set(x.tolist()) == {0.0, 2.0}


def test_compiles_in_one_graph():
    compiled = torch.compile(cotan.Dropout(0.5), fullgraph=True, backend="aot_eager")
    y = compiled(torch.ones(1000))
    assert set(y.tolist()) == {0.0, 2.0}
