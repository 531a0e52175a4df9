import numpy as np
import pytest

from cotan.operators.columns import LEAST, Columns


@pytest.fixture(params=[1, 3])
def columns(request, monkeypatch):
    monkeypatch.setattr("cotan.operators.columns.threads", lambda: request.param)
    made = Columns(3 * LEAST + 5)
    assert (made.pool is None) == (request.param == 1)
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
        columns.each(lambda r: (_ for _ in ()).throw(ValueError("last")) if r.stop == 3 * LEAST + 5 else None)


def test_few_columns_are_left_to_one_thread():
    assert Columns(2 * LEAST - 1).pool is None


def test_digits_do_not_depend_on_the_number_of_threads(monkeypatch):
    random = np.random.default_rng(0)
    x, y = random.standard_normal((2, 8, 5 * LEAST))
    found = []
    for count in (1, 2, 5):
        monkeypatch.setattr("cotan.operators.columns.threads", lambda count=count: count)
        found.append(Columns(x.shape[1]).dot(x, y))
    assert all(np.array_equal(found[0], each) for each in found)
