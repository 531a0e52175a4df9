"""A convolutional network on the flat torus (Maron et al. 2017)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

import cotan

from .torus import HANDLES, Torus


class CircularBlock(nn.Module):
    r"""y = s(x + norm(K2 * s(norm(K1 * x)))), * a convolution with periodic boundary and no stride, s(x) = x sigmoid(x).

    x and y are (B, C, R, R). A shift of x by whole pixels, across the boundary, is the same shift of y.
    """

    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        options = {"padding": dilation, "dilation": dilation, "padding_mode": "circular", "bias": False}
        self.first = nn.Conv2d(width, width, 3, **options)
        self.second = nn.Conv2d(width, width, 3, **options)
        self.norm1, self.norm2 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm2(self.second(silu(self.norm1(self.first(x)))))
        return silu(x + y)


PER_VERTEX = ("label", "regress-vertices")


@cotan.model("toric", tasks=("classify", "regress", *PER_VERTEX))
class Toric(nn.Module):
    """Signals pulled back to the torus, convolved there, and pushed back to the vertices (as Maron et al. 2017).

    A map shows limbs far smaller than they are. The image therefore has one more channel, the logarithm of how much
    larger than its share of the surface a point is drawn; and a shape's features are the mean over its surface, not
    over the torus, and the maximum over its vertices.

    Arguments:
        maps: how many maps of each shape; training draws one for each shape and step, otherwise all are averaged.
        resolution: pixels along each side of an image; width: channels; depth: blocks, with dilations 1, 2, 4, 8, 1 ...
        weights, balance, seed, handles: how the shape is flattened, and how many handles may be cut for it (see
            `torus`).

    Tasks `classify` and `regress` give (B, out_dim), `label` and `regress-vertices` (V, out_dim).
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        maps: int = 3,
        resolution: int = 32,
        width: int = 48,
        depth: int = 4,
        dropout: float = 0.0,
        weights: str = "cotan",
        balance: int = 2,
        seed: int = 0,
        handles: int = HANDLES,
    ) -> None:
        super().__init__()
        options = {"maps": maps, "resolution": resolution, "weights": weights, "balance": balance, "seed": seed}
        options["handles"] = handles
        self.needs = {"torus": cotan.node("torus", **options)}
        self.task, self.maps, self.resolution = task, maps, resolution
        self.norm = nn.BatchNorm1d(in_dim)
        self.lift = nn.Conv2d(in_dim + 1, width, 1)
        # A dilation of half the torus or more would meet itself.
        dilations = [d for d in (1, 2, 4, 8) if 4 * d <= resolution]
        self.blocks = nn.Sequential(*(CircularBlock(width, dilations[i % len(dilations)]) for i in range(depth)))
        pooled = width + in_dim if task in PER_VERTEX else 2 * width
        self.head = nn.Sequential(nn.Linear(pooled, width), nn.SiLU(), nn.Dropout(dropout), nn.Linear(width, out_dim))

    def forward(self, x: Tensor, torus: Torus, mass: Tensor, batch: Tensor) -> Tensor:
        maps, uv, scale = self.maps, torus.uv, torus.scale
        shapes = torus.pull.shape[0] // (maps * self.resolution**2)
        part = mass / mass.new_zeros(shapes).index_add(0, batch, mass)[batch]  # (V,)
        x = self.norm(x)
        image = self.pulled(x, torus, part)
        if self.training and maps > 1:
            pick = torch.randint(maps, (shapes,), device=x.device)
            image = image[torch.arange(shapes, device=x.device), pick][:, None]
            vertex = torch.arange(len(x), device=x.device)
            uv, scale = uv[vertex, pick[batch]][:, None], scale[vertex, pick[batch]][:, None]
            maps = 1
        image = self.blocks(self.lift(image.flatten(0, 1))).unflatten(0, (-1, maps))  # (B, M, C, R, R)
        y = torch.stack([push(image[:, m], uv[:, m], batch) for m in range(maps)], 1)  # (V, M, C)
        if self.task in PER_VERTEX:
            logits = self.head(torch.cat([y, x[:, None].expand(-1, maps, -1)], 2))
            share = scale + torch.finfo(scale.dtype).tiny
            return (logits * (share / share.sum(1, keepdim=True))[..., None]).sum(1)
        empty = y.new_zeros(shapes, *y.shape[1:])
        mean = empty.index_add(0, batch, y * part[:, None, None])
        peak = empty.scatter_reduce(0, batch[:, None, None].expand_as(y), y, "amax", include_self=False)
        return self.head(torch.cat([mean, peak], 2)).mean(1)

    def pulled(self, x: Tensor, torus: Torus, part: Tensor) -> Tensor:
        """(B, M, C + 1, R, R) the images of a signal (V, C), and of how much larger than its share each map shows it."""
        growth = (torus.scale.log() - part[:, None].log()).clamp(-20.7, 20.7) / 4  # (V, M), of about the size of x
        r, width = self.resolution, x.shape[1]
        image = (torus.pull @ torch.cat([x, growth], 1)).view(-1, self.maps, r, r, width + self.maps).movedim(-1, 2)
        own = image[:, :, width:].diagonal(dim1=1, dim2=2).movedim(-1, 1)  # (B, M, R, R)
        return torch.cat([image[:, :, :width], own[:, :, None]], 2)


def push(image: Tensor, uv: Tensor, batch: Tensor) -> Tensor:
    """Images (B, C, R, R) read at the four places (V, 4, 2) of each vertex, between pixels, and averaged: (V, C)."""
    r = image.shape[-1]
    pixels = image.movedim(1, -1).flatten(0, 2)  # (B R R, C)
    at = uv * r - 0.5
    low = at.floor()
    far, low = at - low, low.long()
    total = image.new_zeros(len(uv), image.shape[1])
    for a in (0, 1):
        for b in (0, 1):
            i, j = (low[..., 0] + a) % r, (low[..., 1] + b) % r
            share = (far[..., 0] if a else 1 - far[..., 0]) * (far[..., 1] if b else 1 - far[..., 1])  # (V, 4)
            total = total + (pixels[(batch[:, None] * r + i) * r + j] * share[..., None]).sum(1)
    return total / 4
