"""Training a deep belief network layer by layer, before it is trained for its classes."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.nn import functional

from .dbn import VoxelDBN
from .rbm import ConvRBM, DenseRBM, contrastive_loss
from .turn import turned

Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]


def pretrain(
    model: VoxelDBN,
    voxels: Tensor,
    label: Tensor,
    *,
    epochs: int = 20,
    together: int | None = None,
    top: int | None = None,
    batch_size: int = 32,
    lr: float = 3e-3,
    steps: int = 1,
    persistent: bool = False,
    sparsity: float = 0.15,
    seed: int = 0,
    say: Callable[[str], object] | None = None,
) -> list[list[float]]:
    """Contrastive divergence for each layer in turn, then all layers together, then the top machine.

    - voxels (N, R, R, R), label (N,): the training shapes. The label is a part of what the top machine learns.
    - epochs: of each layer; together: those in which all layers learn to bring voxels back (``epochs``); top: of the
      top machine (ten times ``epochs``).
    - steps: of Gibbs sampling for each update; persistent: the chains go on between updates (PCD). Those of the top
      machine always do.
    - sparsity: how often the units of the convolutions should be on (Lee et al. 2009); 0 leaves them free.
    - say: called with a line for each stage.

    Gives errors by stage and epoch: of a layer and of the top machine, the mean distance of its input from what one
    step up and down makes of it; of all layers together (last but one), the cross entropy of the voxels.
    """
    device = model.top.weight.device

    def batches() -> Iterable[tuple[Tensor, Tensor]]:
        for pick in torch.randperm(len(voxels)).split(batch_size):
            shapes = voxels[pick].to(device)
            yield (turned(shapes, model.turn) if model.turn else shapes), label[pick].to(device)

    history: list[list[float]] = []

    def done(stage: str, errors: list[float]) -> None:
        history.append(errors)
        if say is not None and errors:
            say(f"{stage}: error {errors[0]:.4f}, then {errors[-1]:.4f}")

    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        for number in range(len(model.layers)):
            done(f"layer {number + 1}", _one_layer(model, number, batches, epochs, lr, steps, persistent, sparsity))
        done("all layers", _all_layers(model, batches, epochs if together is None else together, lr))
        done("top machine", _top(model, batches, 10 * epochs if top is None else top, lr / 3))
    return history


def _one_layer(
    model: VoxelDBN,
    number: int,
    batches: Batches,
    epochs: int,
    lr: float,
    steps: int,
    persistent: bool,
    sparsity: float,
) -> list[float]:
    """The lower layers are fixed."""
    machine = model.layers[number]
    assert isinstance(machine, ConvRBM | DenseRBM)
    optimiser = torch.optim.Adam(machine.parameters(), lr, betas=(0.5, 0.999))
    _start(machine, [_seen(model, shapes, number) for shapes, _ in batches()], sparsity)
    chain: Tensor | None = None
    history, share = [], torch.zeros(())
    for epoch in range(epochs):
        _fade(optimiser, lr, epoch, epochs)
        errors, shares = [], []
        for shapes, _ in batches():
            v = _seen(model, shapes, number)
            here = v if chain is None or not persistent or len(chain) < len(v) else chain[: len(v)]
            loss, here = contrastive_loss(machine, v, here, steps=steps)
            if persistent and (chain is None or len(here) >= len(chain)):
                chain = here
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


def _all_layers(model: VoxelDBN, batches: Batches, epochs: int, lr: float) -> list[float]:
    """Voxels are brought back from a draw of the units of the last layer (Hinton and Salakhutdinov 2006).

    Weights stay the same up and down, and the gradient passes the draw as if it were its probability. Layers trained
    one by one lose a little each; 3D ShapeNets mends that by the wake-sleep algorithm, this is its plainer relative.
    """
    optimiser = torch.optim.Adam(model.layers.parameters(), lr)
    history = []
    for epoch in range(epochs):
        _fade(optimiser, lr, epoch, epochs)
        errors = []
        for shapes, _ in batches():
            p = model.up(shapes)
            h = p + (torch.bernoulli(p) - p).detach()
            loss = functional.binary_cross_entropy(model.down(h).clamp(1e-6, 1 - 1e-6), shapes)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            errors.append(loss.item())
        history.append(sum(errors) / len(errors))
    return history


def _top(
    model: VoxelDBN, batches: Batches, epochs: int, lr: float, *, passes: int = 10, chains: int = 100, steps: int = 5
) -> list[float]:
    """Persistent chains, as many of each label, which they keep: each class learns what to dream.

    For ten epochs the shapes are turned and seen by the layers below once.
    """
    machine, classes = model.top, model.classes
    optimiser = torch.optim.Adam(machine.parameters(), lr, betas=(0.5, 0.999))
    history: list[float] = []
    chain = torch.zeros(0)
    for epoch in range(epochs):
        _fade(optimiser, lr, epoch, epochs)
        if epoch % passes == 0:
            with torch.no_grad():
                pairs = [(model.up(shapes), functional.one_hot(y, classes)) for shapes, y in batches()]
                seen = torch.cat([torch.cat([p, y.to(p)], 1) for p, y in pairs])
        if epoch == 0:
            _start(machine, [seen], 0)
            held = functional.one_hot(torch.arange(max(chains, classes)) % classes, classes).to(seen)
            chain = torch.cat([torch.bernoulli(seen[torch.randint(len(seen), (len(held),)), :-classes]), held], 1)
        errors = []
        for pick in torch.randperm(len(seen)).split(50):
            v = torch.bernoulli(seen[pick])
            loss, chain = contrastive_loss(machine, v, chain, steps=steps, held=True)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            with torch.no_grad():
                errors.append(float((v - machine.down(machine.up(v))).abs().mean()))
        history.append(sum(errors) / len(errors))
    if epochs:
        _balance(machine, seen)
    return history


@torch.no_grad()
def _balance(machine: DenseRBM, seen: Tensor, *, rounds: int = 100) -> None:
    """Held labels have taught no bias of their own: set it so that each is expected as often as it is seen."""
    rest, label = seen[:, : -machine.classes], seen[:, -machine.classes :]
    for _ in range(rounds):
        expected = machine.label_scores(rest).softmax(1).mean(0)
        step = (label.mean(0) / expected).clamp(1e-2, 1e2).log()
        machine.visible[-machine.classes :] += step / machine.counts[-1]


def _fade(optimiser: torch.optim.Optimizer, lr: float, epoch: int, epochs: int) -> None:
    """Contrastive gradients are noisy: only small last steps average the noise out."""
    for group in optimiser.param_groups:
        group["lr"] = lr * (1 - epoch / epochs)


@torch.no_grad()
def _seen(model: VoxelDBN, voxels: Tensor, number: int) -> Tensor:
    """What layer ``number`` has for its visible units."""
    v = model.up(voxels, number)
    return v.flatten(1) if isinstance(model.layers[number], DenseRBM) else v


@torch.no_grad()
def _start(machine: ConvRBM | DenseRBM, seen: list[Tensor], sparsity: float) -> None:
    """Visible units begin at their mean, log(p / (1 - p)): the machine has to learn only what departs from it.

    Those of a convolution begin on for the share that is asked for: one that is never on would not learn.
    """
    mean = sum(v.sum(0) for v in seen) / sum(len(v) for v in seen)
    start = torch.logit(mean.clamp(1e-2, 1 - 1e-2))
    machine.visible.copy_(start / machine.counts if isinstance(machine, DenseRBM) else start)
    if sparsity and isinstance(machine, ConvRBM):
        field = machine.field(seen[0]).transpose(0, 1).flatten(1)
        machine.hidden -= field.quantile(1 - sparsity, dim=1).view_as(machine.hidden)
