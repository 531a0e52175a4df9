import torch
from hypothesis import given
from hypothesis import strategies as st

from cotan.operators.undirected import symmetric_pattern, undirected
from cotan.sparse import Pattern, grouped


@given(st.integers(2, 9), st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), max_size=30), st.booleans())
def test_the_pattern_is_that_of_the_dense_matrix(size, pairs, diagonal):
    pairs = [(i % size, j % size) for i, j in pairs if i % size != j % size]
    source, target = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    low, high, edge = undirected(source, target, size)
    assert [(int(low[e]), int(high[e])) for e in edge] == [(min(p), max(p)) for p in pairs]
    pattern, place = symmetric_pattern(low, high, size, diagonal=diagonal)
    dense = torch.eye(size) if diagonal else torch.zeros(size, size)
    dense[source, target] = dense[target, source] = 1
    row, col = dense.nonzero().T
    assert torch.equal(pattern.row, row)
    assert torch.equal(pattern.col, col)
    again = Pattern(pattern.rowptr, pattern.col, pattern.shape[1])
    for name in ("row", "t_rowptr", "t_col", "t_perm"):
        assert torch.equal(getattr(pattern, name), getattr(again, name)), name
    here = torch.arange(size)[: len(place) - 2 * len(low)]
    assert torch.equal(pattern.row[place], torch.cat([high, low, here]))
    assert torch.equal(pattern.col[place], torch.cat([low, high, here]))


def test_counting_is_sorting():
    key = torch.randint(300, (5000,), generator=torch.Generator().manual_seed(0))
    pointer, order = grouped(key, 302)
    assert torch.equal(order, torch.argsort(key, stable=True))
    assert torch.equal(pointer.diff(), torch.bincount(key, minlength=302))
