"""Finding shapes by their descriptors, and how well it went."""

import torch
from torch import Tensor

import cotan
from cotan.errors import said


def rank(queries: Tensor, gallery: Tensor) -> Tensor:
    """For each query (Q, D) the numbers of the gallery's shapes (S, D), most alike first: (Q, S).

    Alike is the cosine of the angle between descriptors; of equals the first comes first.
    """
    wrong = [not isinstance(d, Tensor) or d.dim() != 2 or not d.is_floating_point() for d in (queries, gallery)]
    if any(wrong) or queries.shape[1] != gallery.shape[1] or queries.dtype != gallery.dtype:
        raise cotan.CotanError(
            f"descriptors are (Q, D) and (S, D), of one floating dtype; got {said(queries)} and {said(gallery)}"
        )
    if not (queries.isfinite().all() and gallery.isfinite().all()):
        raise cotan.CotanError("descriptors are finite; got NaN or infinity")
    queries, gallery = _unit(queries), _unit(gallery)
    # The last digits of a product depend on its place: equal descriptors have theirs but once.
    distinct, place = gallery.unique(dim=0, return_inverse=True)
    return (queries @ distinct.T)[:, place].argsort(dim=1, descending=True, stable=True)


def _unit(descriptors: Tensor) -> Tensor:
    largest = descriptors.abs().amax(1, keepdim=True).clamp(min=torch.finfo(descriptors.dtype).tiny)
    return torch.nn.functional.normalize(descriptors / largest, dim=1)  # squares of any size are numbers


def mean_average_precision(ranking: Tensor, relevant: Tensor) -> float:
    """The mean over queries of the average precision, which is the mean over the relevant shapes of the share of
    relevant ones among those ranked up to it, 0 for those not ranked. Queries with no relevant shape do not count.

    ranking: (Q, K) numbers of different shapes, best first, of all or the K best; relevant: (Q, S) boolean, by number.
    """
    wrong = [not isinstance(t, Tensor) or t.dim() != 2 for t in (ranking, relevant)]
    if any(wrong) or (ranking.dtype, relevant.dtype) != (torch.int64, torch.bool) or len(ranking) != len(relevant):
        raise cotan.CotanError(
            f"a ranking is (Q, K) int64, and relevant (Q, S) bool; got {said(ranking)} and {said(relevant)}"
        )
    if ((ranking < 0) | (ranking >= relevant.shape[1])).any():
        raise cotan.CotanError(f"a ranking holds numbers of {relevant.shape[1]} shapes; got others")
    if (ranking.sort(1).values.diff(dim=1) == 0).any():
        raise cotan.CotanError("a ranking holds each shape once; got some twice")
    hit = relevant.gather(1, ranking)
    place = torch.arange(1, hit.shape[1] + 1, device=hit.device, dtype=torch.float64)
    precision = hit.cumsum(1) / place
    count = relevant.sum(1)
    if not count.any():
        raise cotan.CotanError("no query has a relevant shape in the gallery")
    average = (precision * hit).sum(1) / count
    return float(average[count > 0].mean())


def retrieval_precision(descriptors: Tensor, labels: Tensor) -> float:
    """Mean average precision when each shape (S, D) is looked for among the others, and its class (S,) is relevant."""
    ranking = rank(descriptors, descriptors)
    if not isinstance(labels, Tensor) or labels.shape != descriptors.shape[:1]:
        raise cotan.CotanError(f"labels are those of {len(descriptors)} shapes, (S,); got {said(labels)}")
    itself = torch.arange(len(labels), device=labels.device).unsqueeze(1)
    ranking = ranking[ranking != itself].view(len(labels), max(len(labels) - 1, 0))
    relevant = (labels.unsqueeze(1) == labels).scatter(1, itself, False)
    return mean_average_precision(ranking, relevant)
