"""Training a deep belief network layer by layer, before it is trained for its classes."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .dbn import VoxelDBN
from .rbm import ConvRBM, DenseRBM, contrastive_loss
from .turn import turned


def pretrain(
    model: VoxelDBN,
    voxels: Tensor,
    label: Tensor,
    *,
    epochs: int = 20,
    batch_size: int = 32,
    lr: float = 3e-3,
    steps: int = 1,
    persistent: bool = False,
    sparsity: float = 0.0,
    seed: int = 0,
    say: Callable[[str], object] | None = None,
) -> list[list[float]]:
    """Contrastive divergence for each machine in turn, the lower ones fixed; gives the errors by layer and epoch.

    - voxels (N, R, R, R), label (N,): the training shapes. The label is a part of what the top machine learns.
    - steps: of Gibbs sampling for each update; persistent: the chains go on between updates (PCD).
    - sparsity: how often the units of the convolutions should be on (Lee et al. 2009); 0 leaves them free.
    - say: called with a line for each machine.

    An error is the mean distance of a layer's input from what one step up and down makes of it.
    """
    device = model.top.weight.device
    parts = torch.arange(len(voxels)).split(batch_size)
    history: list[list[float]] = []
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for number, machine in enumerate([*model.layers, model.top]):
            history.append([])
            optimiser = torch.optim.Adam(machine.parameters(), lr, betas=(0.5, 0.999))
            _start(machine, [_seen(model, voxels[i].to(device), label[i].to(device), number) for i in parts])
            chain: Tensor | None = None
            for _ in range(epochs):
                errors = []
                for pick in torch.randperm(len(voxels)).split(batch_size):
                    shapes = voxels[pick].to(device)
                    if model.turn:
                        shapes = turned(shapes, model.turn)
                    v = _seen(model, shapes, label[pick].to(device), number)
                    here = v if chain is None or not persistent else chain[: len(v)]
                    loss, here = contrastive_loss(machine, v, here, steps=steps)
                    if persistent and len(here) == batch_size:
                        chain = here
                    if sparsity and isinstance(machine, ConvRBM):
                        on = machine.up(v).mean((0, 2, 3, 4))
                        loss = loss + ((on - sparsity) ** 2).sum()
                    optimiser.zero_grad()
                    loss.backward()
                    optimiser.step()
                    with torch.no_grad():
                        errors.append(float((v - machine.down(machine.up(v))).abs().mean()))
                history[-1].append(sum(errors) / len(errors))
            if say is not None:
                say(
                    f"machine {number + 1} of {len(model.layers) + 1}: error {history[-1][0]:.4f}, then {history[-1][-1]:.4f}"
                )
    return history


@torch.no_grad()
def _seen(model: VoxelDBN, voxels: Tensor, label: Tensor, number: int) -> Tensor:
    """What machine ``number`` has for its visible units: the layers below, and for the top one the label."""
    v = model.up(voxels, number)
    if number < len(model.layers):
        return v.flatten(1) if isinstance(model.layers[number], DenseRBM) else v
    return torch.cat([v, torch.nn.functional.one_hot(label, model.classes).to(v)], 1)


@torch.no_grad()
def _start(machine: ConvRBM | DenseRBM, seen: list[Tensor]) -> None:
    """Visible units begin at their mean, log(p / (1 - p)): the machine has to learn only what departs from it."""
    mean = sum(v.sum(0) for v in seen) / sum(len(v) for v in seen)
    machine.visible.copy_(torch.logit(mean.clamp(1e-2, 1 - 1e-2)))
