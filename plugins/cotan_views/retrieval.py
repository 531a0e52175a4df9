"""Finding shapes by their descriptors, and how well it went."""

import torch
from torch import Tensor

import cotan


def rank(queries: Tensor, gallery: Tensor) -> Tensor:
    """For each query (Q, D) the numbers of the gallery's shapes (S, D), most alike first: (Q, S).

    Alike is the cosine of the angle between descriptors; of equals the first comes first.
    """
    if queries.dim() != 2 or gallery.dim() != 2 or queries.shape[1] != gallery.shape[1]:
        raise cotan.CotanError(
            f"descriptors are (Q, D) and (S, D); got shapes {tuple(queries.shape)} and {tuple(gallery.shape)}"
        )
    queries, gallery = (torch.nn.functional.normalize(d, dim=1) for d in (queries, gallery))
    return (queries @ gallery.T).argsort(dim=1, descending=True, stable=True)


def mean_average_precision(ranking: Tensor, relevant: Tensor) -> float:
    """The mean over queries of the average precision, which is the mean over the relevant shapes of the share of
    relevant ones among those ranked up to it. Queries with no relevant shape do not count.

    ranking: (Q, S) numbers of shapes, best first; relevant: (Q, S) boolean, by the shape's number.
    """
    hit = relevant.gather(1, ranking)
    place = torch.arange(1, hit.shape[1] + 1, device=hit.device, dtype=torch.float64)
    precision = hit.cumsum(1) / place
    count = hit.sum(1)
    if not count.any():
        raise cotan.CotanError("no query has a relevant shape in the gallery")
    average = (precision * hit).sum(1) / count.clamp(min=1)
    return float(average[count > 0].mean())


def retrieval_precision(descriptors: Tensor, labels: Tensor) -> float:
    """Mean average precision when each shape (S, D) is looked for among the others, and its class (S,) is relevant."""
    ranking = rank(descriptors, descriptors)
    itself = torch.arange(len(labels), device=labels.device).unsqueeze(1)
    ranking = ranking[ranking != itself].view(len(labels), -1)
    relevant = labels.unsqueeze(1) == labels
    return mean_average_precision(ranking, relevant)
