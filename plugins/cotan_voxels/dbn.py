"""The convolutional deep belief network of 3D ShapeNets (Wu et al. 2015)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

import cotan
from cotan.errors import at_least, said

from .rbm import ConvRBM, DenseRBM
from .turn import angle, turned
from .voxels import request


@cotan.model("voxel-dbn", tasks=("classify",))
class VoxelDBN(nn.Module):
    """The deep belief network of 3D ShapeNets: restricted Boltzmann machines on top of each other (Wu et al. 2015).

    The lower ones are convolutions with stride, then comes a dense one, and at the top one that sees the label too.
    Upwards, each layer gives the probability of its units given those below, and the top machine scores class y by its
    free energy, log sum_h exp(-E(x, y, h)): so all of it can be trained to classify. Downwards it makes shapes (`sample`).

    Arguments:
        resolution, fill, method, normalize, padding, samples: the voxels it asks for (see `voxels`).
        widths, kernels, strides: of the convolutions; hidden, top: units of the dense layer and of the top machine.
        turn: in training, each grid is turned by a random small rotation, up to about this angle (radians).
        mirror: in training, each grid is moved by a random symmetry of the cube: for shapes with no common up or front.
        pretraining: epochs of each stage by which `fit` first trains it without classes, by `cotan_voxels.pretrain`.

    The sizes of the paper: resolution 30, widths (48, 160, 512), kernels (6, 5, 4), strides (2, 2, 1), hidden 1200,
    top 4000.
    """

    def __init__(
        self,
        in_dim: int,
        out_dim: int,
        *,
        task: str = "classify",
        resolution: int = 24,
        fill: str = "solid",
        method: str = "auto",
        normalize: str = "box",
        padding: float = 1.0,
        samples: int = 1,
        widths: Sequence[int] = (24, 64),
        kernels: Sequence[int] = (6, 4),
        strides: Sequence[int] = (2, 2),
        hidden: int = 400,
        top: int = 500,
        turn: float = 0.25,
        mirror: bool = False,
        pretraining: int = 10,
    ) -> None:
        super().__init__()
        if fill == "tsdf":
            raise cotan.CotanError("voxel-dbn has binary units: fill must be solid, surface or union, got 'tsdf'")
        if not len(widths) == len(kernels) == len(strides) or not widths:
            raise cotan.CotanError(
                f"voxel-dbn needs as many widths as kernels and strides, got {widths}, {kernels} and {strides}"
            )
        at_least(1, "voxel-dbn", hidden=hidden, top=top)
        at_least(0, "voxel-dbn", pretraining=pretraining)
        place = {"resolution": resolution, "normalize": normalize, "padding": padding, "samples": samples}
        self.needs = {"voxels": request(fill=fill, method=method, **place)}
        self.turn, self.mirror, self.classes, self.pretraining = angle(turn), mirror, out_dim, pretraining
        layers: list[ConvRBM | DenseRBM] = []
        channels, side = 1, resolution
        for width, kernel, stride in zip(widths, kernels, strides, strict=True):
            at_least(1, "voxel-dbn", widths=width, kernels=kernel, strides=stride)
            if side < kernel:
                raise cotan.CotanError(f"voxel-dbn: a kernel of {kernel} does not fit a grid of {side} voxels")
            layers.append(ConvRBM(channels, width, side, kernel=kernel, stride=stride))
            channels, side = width, layers[-1].side
        layers.append(DenseRBM(channels * side**3, hidden))
        self.grid = (channels, side, side, side)
        self.layers = nn.ModuleList(layers)
        self.top = DenseRBM(hidden, top, classes=out_dim)

    def forward(self, voxels: Tensor) -> Tensor:
        return self.top.label_scores(self.up(self.moved(voxels) if self.training else voxels))

    def moved(self, voxels: Tensor) -> Tensor:
        """As training sees them."""
        return turned(voxels, self.turn, mirror=self.mirror) if self.turn or self.mirror else voxels

    def before_training(
        self, batches: Sequence[tuple[dict[str, Tensor], Tensor]], say: Callable[[str], object]
    ) -> None:
        """Pretrain without classes: `fit` calls this before its first epoch."""
        from .pretrain import pretrain

        if self.pretraining:
            voxels = torch.cat([values["voxels"] for values, _ in batches])
            label = torch.cat([y for _, y in batches])
            pretrain(self, voxels, label, epochs=self.pretraining, noise=0.0, say=say)

    def up(self, voxels: Tensor, layers: int | None = None) -> Tensor:
        """Voxels (B, R, R, R) as seen by the first so many layers (all), each unit its probability."""
        x = voxels[:, None]
        for layer in self.layers[:layers]:
            x = layer.up(x.flatten(1) if isinstance(layer, DenseRBM) else x)
        return x

    def down(self, x: Tensor) -> Tensor:
        """Probabilities of voxels (B, R, R, R) from units of the last layer (B, hidden)."""
        for layer in reversed(self.layers):
            x = layer.down(x)
            if isinstance(layer, DenseRBM):
                x = x.view(-1, *self.grid)
        return x[:, 0]

    @torch.no_grad()
    def sample(
        self,
        label: Tensor,
        *,
        steps: int = 200,
        given: Tensor | None = None,
        known: Tensor | None = None,
        seed: int = 0,
    ) -> Tensor:
        """Shapes of given classes (B,), as probabilities of voxels (B, R, R, R), by Gibbs sampling with the label held.

        Arguments:
            steps: of the chain; ten more, without draws, let it settle on what the units agree on.
            given, known: a partial view: voxels (B, R, R, R), and a mask of those that are known, which are held. Each step
                then passes through all layers; without a view the chain stays in the top machine and comes down once.
            seed: of the draws.

        Training for classes moves the weights away from what makes shapes: sample after `pretrain`.
        """
        if (
            not isinstance(label, Tensor)
            or label.dim() != 1
            or label.dtype != torch.int64
            or ((label < 0) | (label >= self.classes)).any()
        ):
            raise cotan.CotanError(f"label is (B,), numbers of classes from 0 to {self.classes - 1}; got {label}")
        at_least(1, "a chain", steps=steps)
        if given is not None or known is not None:
            self._check_view(label, given, known)
        with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
            torch.manual_seed(seed)
            return self._chain(label, steps, given, known)

    def _check_view(self, label: Tensor, given: Tensor | None, known: Tensor | None) -> None:
        shape = (len(label), *self.layers[0].visible.shape[1:])
        parts = (given, known)
        if not all(isinstance(p, Tensor) and p.shape == shape for p in parts) or known.dtype != torch.bool:
            got = " and ".join(map(said, parts))
            raise cotan.CotanError(
                f"a partial view is given, voxels {shape}, and known, booleans of that shape; got {got}"
            )
        if not ((given[known] >= 0) & (given[known] <= 1)).all():
            raise cotan.CotanError("the known voxels of a partial view are from 0 to 1; got others")

    def _chain(self, label: Tensor, steps: int, given: Tensor | None, known: Tensor | None) -> Tensor:
        weight = self.top.weight
        held = torch.nn.functional.one_hot(label, self.classes).to(weight)
        size = weight.shape[1] - self.classes

        def shape(p: Tensor) -> Tensor:
            voxels = self.down(p)
            return voxels if known is None else torch.where(known, given.to(voxels), voxels)

        # From the biases of the units, the label alone decides which way to go.
        x = p = self.top.visible[:size].sigmoid().expand(len(label), size)
        if known is not None:
            x = torch.bernoulli(self.up(shape(p)))
        for _ in range(steps):
            p = self.top.down(torch.bernoulli(self.top.up(torch.cat([x, held], 1))))[:, :size]
            x = torch.bernoulli(p)
            if known is not None:
                p = self.up(shape(x))
                x = torch.bernoulli(p)
        for _ in range(10):  # without draws, to what the units agree on
            p = self.top.down(self.top.up(torch.cat([p, held], 1)))[:, :size] if known is None else self.up(shape(p))
        return shape(p)
