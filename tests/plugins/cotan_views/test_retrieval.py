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


def test_what_a_short_ranking_leaves_out_is_not_found():
    relevant = torch.tensor([[True, True, True, True, False]])
    for ranking, expected in (
        ([0], 1 / 4),
        ([4, 1], 1 / 2 / 4),
        ([0, 4, 1, 2, 3], (1 + 2 / 3 + 3 / 4 + 4 / 5) / 4),
        ([4], 0),
    ):
        assert mean_average_precision(torch.tensor([ranking]), relevant) == pytest.approx(expected)


def test_ranking_is_by_angle_and_stable():
    gallery = torch.tensor([[0.0, 1], [5, 5], [1, 0], [3, 0], [-1, 0]])
    assert rank(torch.tensor([[0.1, 0.0]]), gallery).tolist() == [[2, 3, 1, 0, 4]]
    nothing = torch.tensor([[-1.0, 0], [0, 0], [1, 0]])  # zero is as good as at a right angle
    assert rank(torch.tensor([[0.1, 0.0]]), nothing).tolist() == [[2, 1, 0]]


def test_of_equals_the_first_comes_first():
    generator = torch.Generator().manual_seed(0)
    for size in range(5, 45):
        gallery = torch.randn(size, 3 * size, generator=generator)
        gallery[size - 2] = gallery[1]
        place = rank(torch.randn(8, 3 * size, generator=generator), gallery).argsort(1)
        assert (place[:, size - 2] == place[:, 1] + 1).all()


@pytest.mark.parametrize("size", [1e-200, 1e-30, 1e200])
def test_length_does_not_matter(size):
    queries, gallery = torch.randn(2, 6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rank(queries * size, gallery), rank(queries, gallery))
    gallery = torch.cat([gallery[:3] * size, gallery[3:]])
    assert torch.equal(rank(queries, gallery / size), rank(queries, gallery))


def test_a_shape_does_not_find_itself():
    descriptors = torch.tensor([[1.0, 0], [1, 0.1], [0, 1], [0.1, 1]])
    assert retrieval_precision(descriptors, torch.tensor([0, 0, 1, 1])) == 1
    # Each finds the two of the other class first: its own comes third.
    assert retrieval_precision(descriptors, torch.tensor([0, 1, 1, 0])) < 0.6
    alone = torch.tensor([0, 0, 1, 2])  # a class of one shape has no other to find
    assert retrieval_precision(descriptors, alone) == 1


def test_what_cannot_be_is_refused():
    for queries, got in (
        (torch.ones(2, 3), r"torch.float32 of shape \(2, 3\) and torch.float32 of shape \(2, 4\)"),
        (torch.ones(2, 4).double(), r"torch.float64 of shape \(2, 4\) and"),
        (torch.ones(2, 4).long(), r"torch.int64 of shape \(2, 4\) and"),
        (None, "NoneType and torch.float32"),
    ):
        with pytest.raises(cotan.CotanError, match=f"of one floating dtype; got {got}"):
            rank(queries, torch.ones(2, 4))
    with pytest.raises(cotan.CotanError, match="finite; got NaN or infinity"):
        rank(torch.tensor([[1.0, torch.nan]]), torch.eye(2))
    for ranking, relevant, message in (
        (None, torch.ones(1, 2).bool(), r"\(Q, K\) int64.*got NoneType and torch.bool of shape \(1, 2\)"),
        (torch.tensor([[0, 1]]), torch.ones(1, 2), "relevant .* bool; .* and torch.float32"),
        (
            torch.tensor([[0, 1]]),
            torch.ones(2, 2).bool(),
            r"got torch.int64 of shape \(1, 2\) and torch.bool of shape \(2",
        ),
        (torch.tensor([[0, 2]]), torch.ones(1, 2).bool(), "numbers of 2 shapes"),
        (torch.tensor([[0, -1]]), torch.ones(1, 2).bool(), "numbers of 2 shapes"),
        (torch.tensor([[1, 0, 1]]), torch.ones(1, 2).bool(), "each shape once; got some twice"),
    ):
        with pytest.raises(cotan.CotanError, match=message):
            mean_average_precision(ranking, relevant)
    for labels, got in (([0, 1], "list"), (torch.zeros(3), r"torch.float32 of shape \(3,\)")):
        with pytest.raises(cotan.CotanError, match=rf"labels are those of 2 shapes, \(S,\); got {got}"):
            retrieval_precision(torch.eye(2), labels)
    with pytest.raises(cotan.CotanError, match="no query"):
        retrieval_precision(torch.ones(0, 4), torch.zeros(0))
    with pytest.raises(cotan.CotanError, match="no query"):
        mean_average_precision(torch.tensor([[0, 1]]), torch.tensor([[False, False]]))
