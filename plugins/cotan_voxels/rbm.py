"""Restricted Boltzmann machines: two layers of binary units, each independent given the other.

    p(v, h) = exp(-E(v, h)) / Z

A machine gives its energy E and the two conditionals; learning needs no more (`contrastive_loss`).
The energy takes v less its mean m, which `pretrain` sets. That only shifts the biases of h, but without it units that are
rarely on teach the weights little more than that they are off (Montavon and Müller 2012).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvRBM(nn.Module):
    r"""E = -sum h (W * (v - m)) - b sum h - c v, where * is a convolution with stride over a grid.

    v (B, C, r, r, r) and h (B, D, s, s, s) with s = (r - kernel) / stride + 1; b is one number a channel of h, c one a
    unit of v.
    """

    def __init__(self, in_dim: int, out_dim: int, side: int, *, kernel: int, stride: int) -> None:
        super().__init__()
        self.stride, self.side = stride, (side - kernel) // stride + 1
        spread = 2 / (in_dim * kernel**3) ** 0.5  # a sigmoid needs more than the half of it to pass a signal on
        self.weight = nn.Parameter(spread * torch.randn(out_dim, in_dim, kernel, kernel, kernel))
        self.hidden = nn.Parameter(torch.full((out_dim, 1, 1, 1), -1.0))
        self.visible = nn.Parameter(torch.zeros(in_dim, side, side, side))
        self.register_buffer("mean", torch.zeros(in_dim, side, side, side))
        used = (self.side - 1) * stride + kernel  # a rest of the grid that no window reaches
        self.rest = side - used

    def field(self, v: Tensor) -> Tensor:
        return functional.conv3d(v - self.mean, self.weight, stride=self.stride) + self.hidden

    def up(self, v: Tensor) -> Tensor:
        """p(h = 1 | v)."""
        return self.field(v).sigmoid()

    def down(self, h: Tensor) -> Tensor:
        """p(v = 1 | h)."""
        field = functional.conv_transpose3d(h, self.weight, stride=self.stride)
        return (functional.pad(field, [0, self.rest] * 3) + self.visible).sigmoid()

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """(B,)"""
        return -(self.field(v) * h).flatten(1).sum(1) - (self.visible * v).flatten(1).sum(1)


class DenseRBM(nn.Module):
    r"""E = -h W (v - m) - b h - c v. The last `classes` units of v, if any, are a choice of one: the label.

    The label counts `copies` times, as if its units were repeated: one among hundreds is else not heard.
    """

    def __init__(self, in_dim: int, out_dim: int, *, classes: int = 0, copies: int = 10) -> None:
        super().__init__()
        self.classes = classes
        counts = torch.ones(in_dim + classes)
        counts[in_dim:] = copies
        self.weight = nn.Parameter(2 / in_dim**0.5 * torch.randn(out_dim, in_dim + classes) / counts)
        self.hidden = nn.Parameter(torch.zeros(out_dim))
        self.visible = nn.Parameter(torch.zeros(in_dim + classes))
        self.register_buffer("mean", torch.zeros(in_dim + classes))
        self.register_buffer("counts", counts, persistent=False)

    def field(self, v: Tensor) -> Tensor:
        return functional.linear((v - self.mean) * self.counts, self.weight, self.hidden)

    def up(self, v: Tensor) -> Tensor:
        """p(h = 1 | v)."""
        return self.field(v).sigmoid()

    def down(self, h: Tensor) -> Tensor:
        """p(v = 1 | h)."""
        field = (h @ self.weight + self.visible) * self.counts
        if not self.classes:
            return field.sigmoid()
        rest, label = field[:, : -self.classes], field[:, -self.classes :]
        return torch.cat([rest.sigmoid(), label.softmax(1)], 1)

    def energy(self, v: Tensor, h: Tensor) -> Tensor:
        """(B,)"""
        return -(self.field(v) * h).sum(1) - (v * self.counts) @ self.visible

    def label_scores(self, v: Tensor) -> Tensor:
        r"""log p(v, y) up to a constant, for each label y, summed over h: (B, classes) from v (B, in_dim).

        n c_y + sum_j log(1 + exp(b_j + n W_jy + (W (v - m))_j)), n the number of copies
        """
        rest = self.field(functional.pad(v, [0, self.classes]))  # (B, J)
        weight, bias = self.weight * self.counts, self.visible * self.counts
        label = weight[:, -self.classes :].T  # (classes, J)
        return functional.softplus(rest[:, None] + label).sum(2) + bias[-self.classes :]


def contrastive_loss(machine: ConvRBM | DenseRBM, v: Tensor, chain: Tensor, *, steps: int = 1) -> tuple[Tensor, Tensor]:
    """Contrastive divergence (Hinton 2002): the energy of data less that of what the machine makes of `chain`.

    Its gradient is that of the log-likelihood, with the model's expectation taken after `steps` of Gibbs sampling. A
    chain that starts at the data each time is CD; one that goes on from call to call is PCD (Tieleman 2008). A chain
    keeps its label, if it has one: the likelihood is that of the other units given it.

    Returns: the loss, and where the chain has come.
    """
    classes = getattr(machine, "classes", 0)
    with torch.no_grad():
        positive = machine.up(v)
        for _ in range(steps):
            label = chain[:, len(chain[0]) - classes :]
            chain = torch.bernoulli(machine.down(torch.bernoulli(machine.up(chain))))
            chain[:, len(chain[0]) - classes :] = label
        negative = machine.up(chain)
    units = positive[0].numel() / positive.shape[1]  # positions that share weights
    loss = (machine.energy(v, positive).mean() - machine.energy(chain, negative).mean()) / units
    return loss, chain
