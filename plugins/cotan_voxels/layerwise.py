"""One layer of a deep belief network, trained by contrastive divergence on what the layers below make of the shapes."""

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor

from .dbn import VoxelDBN
from .rbm import ConvRBM, DenseRBM, contrastive_loss

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


def one_layer(
    model: VoxelDBN,
    number: int,
    batches: Batches,
    epochs: int,
    lr: float,
    steps: int,
    persistent: bool,
    sparsity: float,
) -> list[float]:
    """Train layer `number` on what the layers below it, which stay as they are, make of the shapes.

    Returns: the error of each epoch.
    """
    machine = model.layers[number]
    optimiser = torch.optim.Adam(machine.parameters(), lr, betas=(0.5, 0.999))
    start(machine, [_seen(model, shapes, number) for shapes, _ in batches()], sparsity)
    chain: Tensor | None = None
    history, share = [], torch.zeros(())
    for epoch in range(epochs):
        fade(optimiser, lr, epoch, epochs)
        errors, shares = [], []
        for shapes, _ in batches():
            v = _seen(model, shapes, number)
            loss, here = contrastive_loss(machine, v, v if chain is None else chain[: len(v)], steps=steps)
            if persistent:
                chain = here if chain is None else torch.cat([here, chain[len(v) :]])
            with torch.no_grad():
                h = machine.up(v)
                on = h.transpose(0, 1).flatten(1).mean(1)
                errors.append(float((v - machine.down(h)).abs().mean()))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            shares.append(on)
            if sparsity and isinstance(machine, ConvRBM):
                with torch.no_grad():  # not through a penalty: its gradient would die with the unit
                    machine.hidden += (sparsity - on).view_as(machine.hidden)
        history.append(sum(errors) / len(errors))
        share = torch.stack(shares).mean(0)
    idle = int(((share < 1e-3) | (share > 1 - 1e-3)).sum())
    if epochs and idle:
        warnings.warn(
            f"voxel-dbn: {idle} of {len(share)} units of layer {number + 1} are the same for all shapes; "
            f"fewer units, or another sparsity than {sparsity}, may help",
            stacklevel=3,
        )
    return history


def fade(optimiser: torch.optim.Optimizer, lr: float, epoch: int, epochs: int) -> None:
    """Lower the rate to zero over the epochs: contrastive gradients are noisy, and small last steps average the noise out."""
    for group in optimiser.param_groups:
        group["lr"] = lr * (1 - epoch / epochs)


@torch.no_grad()
def _seen(model: VoxelDBN, voxels: Tensor, number: int) -> Tensor:
    """What layer `number` has for its visible units."""
    v = model.up(voxels, number)
    return v.flatten(1) if isinstance(model.layers[number], DenseRBM) else v


@torch.no_grad()
def start(machine: ConvRBM | DenseRBM, seen: list[Tensor], sparsity: float) -> None:
    """Set where a machine begins, from what its visible units have seen.

    Visible biases begin at log(p / (1 - p)), p the mean of each unit: only what departs from it is left to learn.
    Weights begin so large that shapes tell hidden units apart, however faint the shapes are. Hidden units of a convolution
    begin on at the share `sparsity` of places: one that is never on would not learn.
    """
    mean = sum(v.sum(0) for v in seen) / sum(len(v) for v in seen)
    machine.mean.copy_(mean)
    spread = machine.field(seen[0]).var(0, correction=0).mean().sqrt()
    machine.weight *= 1.5 / spread.clamp(min=0.01)
    field = torch.logit(mean.clamp(1e-2, 1 - 1e-2))
    machine.visible.copy_(field / machine.counts if isinstance(machine, DenseRBM) else field)
    if sparsity and isinstance(machine, ConvRBM):
        above = machine.field(seen[0]).transpose(0, 1).flatten(1)
        machine.hidden -= above.quantile(1 - sparsity, dim=1).view_as(machine.hidden)
