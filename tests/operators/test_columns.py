import numpy as np
import pytest

from cotan.operators.columns import LEAST, Columns


@pytest.fixture(params=[1, 3])
def columns(request, monkeypatch):
    monkeypatch.setattr("cotan.operators.columns.threads", lambda: request.param)
    made = Columns(3 * LEAST + 5)
    assert len(made.ranges) == request.param
    return made


@pytest.mark.parametrize("rows", [0, 1, 21])
def test_products(columns, rows):
    random, size = np.random.default_rng(0), 3 * LEAST + 5
    x, y = random.standard_normal((5, size)), random.standard_normal((rows, size))
    c = columns.dot(x, y)
    np.testing.assert_allclose(c, x @ y.T, atol=1e-9)
    np.testing.assert_allclose(columns.times(c, y), c @ y, atol=1e-9)
    less = x.copy()
    columns.subtract(less, c, y)
    np.testing.assert_allclose(less, x - c @ y, atol=1e-9)


def test_precision_is_that_of_the_second(columns):
    random, size = np.random.default_rng(0), 3 * LEAST + 5
    x, y = random.standard_normal((9, size)), random.standard_normal((3, size)).astype(np.float32)
    c = columns.dot(x, y)
    assert c.dtype == np.float32
    np.testing.assert_allclose(c, x @ y.T, atol=1e-2)
    less = x.copy()
    columns.subtract(less, c.astype(np.float64), y)
    np.testing.assert_allclose(less, x - c @ y, atol=1e-3)


def test_an_error_of_any_range_is_raised(columns):
    with pytest.raises(ValueError, match="last"):
        columns.each(lambda r: (_ for _ in ()).throw(ValueError("last")) if r == columns.ranges[-1] else None)


def test_few_columns_are_left_to_one_thread():
    assert Columns(2 * LEAST - 1).pool is None
