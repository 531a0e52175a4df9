import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

import cotan
from cotan_views.retrieval import mean_average_precision, rank, retrieval_precision


def by_hand(hits):
    """Average precision of one ranking, literally."""
    found, total = 0, 0.0
    for place, hit in enumerate(hits, start=1):
        if hit:
            found += 1
            total += found / place
    return total / found


@given(
    st.lists(st.lists(st.booleans(), min_size=8, max_size=8), min_size=1, max_size=5).filter(lambda q: any(map(any, q)))
)
def test_mean_average_precision_is_the_mean_of_that_by_hand(hits):
    ranking = torch.stack([torch.randperm(8) for _ in hits])
    relevant = torch.zeros(len(hits), 8, dtype=torch.bool).scatter(1, ranking, torch.tensor(hits))
    expected = [by_hand(h) for h in hits if any(h)]
    assert mean_average_precision(ranking, relevant) == pytest.approx(sum(expected) / len(expected))


def test_ranking_is_by_angle_and_stable():
    gallery = torch.tensor([[0.0, 1], [5, 5], [1, 0], [3, 0], [-1, 0]])
    assert rank(torch.tensor([[0.1, 0.0]]), gallery).tolist() == [[2, 3, 1, 0, 4]]


def test_a_shape_does_not_find_itself():
    descriptors = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    assert retrieval_precision(descriptors, torch.tensor([0, 0, 1, 1])) == 1
    # Each finds the two of the other class first: its own comes third.
    assert retrieval_precision(descriptors, torch.tensor([0, 1, 1, 0])) < 0.6


def test_what_cannot_be_is_refused():
    with pytest.raises(cotan.CotanError, match=r"\(2, 3\) and \(2, 4\)"):
        rank(torch.ones(2, 3), torch.ones(2, 4))
    with pytest.raises(cotan.CotanError, match="no query"):
        mean_average_precision(torch.tensor([[0, 1]]), torch.tensor([[False, False]]))
