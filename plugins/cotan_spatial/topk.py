"""Pooling to the vertices of the largest learned scores."""

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least, one_signal
from cotan.sparse import pointer, sorted_pattern

from .adjacency import normalized


class TopK(nn.Module):
    """y = x p / |p|; of each shape the ceil(ratio V) vertices of the largest y stay, with x tanh(y) (Cangea et al. 2018).

    Graph U-Nets (Gao and Ji 2019) have a sigmoid for tanh. ratio=1 keeps all, where PyG's `TopKPooling` takes 1 for a number
    and keeps one.

    Which vertices stay changes as the scores are learned, so the smaller graph is no node: the layer slices the matrix.

    Shape: x (V, C), matrix (V, V), batch (V,) -> (V', C), (V', V'), (V',) and those that stay (V',),
    shape by shape, the largest scores first.
    """

    def __init__(self, in_dim: int, ratio: float = 0.5):
        super().__init__()
        if not 0 < ratio <= 1:
            raise cotan.CotanError(f"topk: ratio={ratio}, expected a number above 0, at most 1")
        self.ratio = ratio
        self.weight = nn.Parameter(torch.randn(in_dim) * in_dim**-0.5)

    def forward(self, x: Tensor, matrix: cotan.Sparse, batch: Tensor) -> tuple[Tensor, cotan.Sparse, Tensor, Tensor]:
        score = x @ (self.weight / self.weight.norm())
        kept = largest(score.detach(), batch, self.ratio)
        x, score, batch = (each.index_select(0, kept) for each in (x, score, batch))
        return x * score.tanh()[:, None], part(matrix, kept), batch, kept


def largest(score: Tensor, batch: Tensor, ratio: float) -> Tensor:
    """(V',) the vertices of the ceil(ratio V) largest scores of each shape, equal ones in their order."""
    if score.dtype == torch.float64:
        order = score.argsort(descending=True, stable=True)
        order = order[batch[order].argsort(stable=True)]
    else:  # one sort of whole numbers, a third of the time: the bits of floats are in the floats' order, but for the sign
        bits = (score.float() + 0.0).view(torch.int32)  # -0 is 0
        order = (batch * 2**32 - (bits ^ (bits >> 31 & 0x7FFFFFFF))).argsort(stable=True)
    batch = batch[order]
    before = torch.cat([batch.new_full((1,), -1), batch])[:-1]
    number = (batch != before).cumsum(0)  # of each shape among those that have vertices, from 1 to at most V
    begin = pointer(number, len(batch) + 1)
    stay = (ratio * begin.diff().double() * (1 - 1e-12)).ceil().long()  # 0.55 of 100, which rounds to above 55, is 55
    end = begin[:-1] + stay
    return order[torch.arange(len(batch), device=batch.device) < end.index_select(0, number)]


def part(matrix: cotan.Sparse, kept: Tensor) -> cotan.Sparse:
    """The rows and columns `kept` of a matrix, in that order."""
    place = torch.full((matrix.shape[0],), -1, device=kept.device)
    place[kept] = torch.arange(len(kept), device=kept.device)
    row, col = place.index_select(0, matrix.row), place.index_select(0, matrix.col)
    inside = ((row | col) >= 0).nonzero()[:, 0]  # found once: a GPU is waited for
    row, col = row.index_select(0, inside), col.index_select(0, inside)
    pattern, order = sorted_pattern(row, col, (len(kept), len(kept)))
    return cotan.Sparse(pattern, matrix.values.index_select(0, inside.index_select(0, order)))


@cotan.model("topk")
class TopKNetwork(nn.Module):
    """Graph convolution (as gcn), relu and `TopK` pooling, `depth` times (Cangea et al. 2018; Gao and Ji 2019).

    After each, what is left is read out, and the sum of these is the output. A vertex whose weights sum to less than zero,
    with its self-loop, has no neighbours. For tasks per vertex the way back follows,
    each signal added to what was there before the pooling.

    Arguments:
        width: channels. depth: number of poolings. ratio: of the vertices that each leaves; 1 is all, in PyG one vertex.
        readout: mean, sum, max or attention. dropout: before the output.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        width: int = 64,
        depth: int = 3,
        ratio: float = 0.5,
        readout: str = "mean",
        dropout: float = 0.0,
    ):
        super().__init__()
        at_least(1, "topk", width=width, depth=depth)
        self.needs = {"adjacency": cotan.node("adjacency", self_loops=True)}
        self.layers = nn.ModuleList(nn.Linear(width if i else in_dim, width) for i in range(depth))
        self.pools = nn.ModuleList(TopK(width, ratio) for _ in range(depth))
        self.readout = cotan.Readout(width, out_dim, task=task, kind=readout)
        way_back = depth if self.readout.per == "vertex" else 0
        self.back = nn.ModuleList(nn.Linear(width, width) for _ in range(way_back))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, adjacency: cotan.Sparse, batch: Tensor, ptr: Tensor) -> Tensor:
        one_signal(x)
        readings, before = [], []
        for layer, pool in zip(self.layers, self.pools, strict=True):
            matrix = normalized(adjacency, adjacency.sum_rows())
            fine = layer(matrix @ x).relu()
            x, adjacency, batch, kept = pool(fine, adjacency, batch)
            before.append((fine, matrix, kept))
            if self.readout.per == "shape":
                readings.append(self.readout(self.dropout(x), batch, ptr))
        if self.readout.per == "shape":
            return torch.stack(readings).sum(0)
        for layer in self.back:
            fine, matrix, kept = before.pop()
            x = layer(matrix @ fine.index_add(0, kept, x)).relu()
        return self.readout(self.dropout(x), batch, ptr)
