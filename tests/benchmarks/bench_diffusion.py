"""An epoch of `fit` with diffusion, batches of 8, beside the published procedure, one mesh at a time.

    COTAN_DATA=FOLDER python tests/benchmarks/bench_diffusion.py [--rounds 5] [--threads 1] [--meshes 480]

SHREC 2011's 480 training meshes of 250 vertices from FOLDER/shrec11, or else generated ones; 4 blocks of 64 channels, 64
eigenpairs, heat kernel signatures, which both sides are given. The two take turns. With one thread the processor's time
is taken.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import cotan
from cotan.batching import prepare
from cotan.training import Recipe, Run, model_for
from cotan.training.loop import _Fit
from cotan.training.progress import Progress

WIDTH, DEPTH, K = 64, 4, 64


class Block(nn.Module):
    """One block as published (Sharp et al. 2022): dense eigenvectors, sparse COO gradients, one mesh."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Parameter(torch.zeros(WIDTH))
        self.real, self.imaginary = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.mlp = nn.Sequential(
            nn.Linear(3 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, mass: Tensor, values: Tensor, vectors: Tensor, g_x: Tensor, g_y: Tensor) -> Tensor:
        with torch.no_grad():
            self.time.clamp_(min=1e-8)
        coefficients = vectors.T @ (x * mass[:, None])
        h = vectors @ (torch.exp(-values[:, None] * self.time) * coefficients)
        a, b = torch.mm(g_x, h), torch.mm(g_y, h)
        real, imaginary = self.real(a) - self.imaginary(b), self.real(b) + self.imaginary(a)
        return self.mlp(torch.cat([x, h, torch.tanh(a * real + b * imaginary)], -1)) + x


class Published(nn.Module):
    def __init__(self, in_dim: int, classes: int):
        super().__init__()
        self.first, self.last = nn.Linear(in_dim, WIDTH), nn.Linear(WIDTH, classes)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))

    def forward(self, x: Tensor, mass: Tensor, *operators: Tensor) -> Tensor:
        x = self.first(x)
        for block in self.blocks:
            x = block(x, mass, *operators)
        return self.last((x * mass[:, None]).sum(0) / mass.sum())


def peer_epoch(shapes: list[Any], classes: int) -> Callable[[], None]:
    nodes = [cotan.node("heat_kernel_signature"), "mass", cotan.node("spectrum", k=K), "gradient"]
    examples = []
    for shape in shapes:
        hks, mass, spectrum, gradient = cotan.compute(shape, nodes).values()
        sparse = (torch.sparse_coo_tensor(torch.stack([g.row, g.col]), g.values, g.shape).coalesce() for g in gradient)
        examples.append(((hks, mass, spectrum.values, spectrum.vectors, *sparse), shape.y.reshape(1)))
    model = Published(examples[0][0][0].shape[1], classes)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def epoch() -> None:
        for i in torch.randperm(len(examples)).tolist():
            inputs, label = examples[i]
            optimizer.zero_grad()
            cross_entropy(model(*inputs)[None], label, label_smoothing=0.2).backward()
            optimizer.step()

    return epoch


def our_epoch(data: cotan.Splits) -> Callable[[], None]:
    features = ["heat_kernel_signature"]
    model = model_for("diffusion", data, seed=0, features=features, width=WIDTH, depth=DEPTH, k=K)
    train = prepare(model, data.train)
    recipe = Recipe(batch_size=8, device="cpu", val_share=0, label_smoothing=0.2)
    fit = _Fit(Run(model, recipe, classes=data.classes), "classify", data, {"train": train}, Progress("none"))
    return lambda: fit._train(fit._shuffled(train))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--meshes", type=int, default=480)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    root = Path(os.environ.get("COTAN_DATA", "")) / "shrec11"
    real = "COTAN_DATA" in os.environ and root.is_dir()
    data = cotan.load_dataset("folder", root=str(root)) if real else cotan.load_dataset("poses", per_class=120)
    data.train = data.train[: args.meshes]
    epochs = our_epoch(data), peer_epoch(list(data.train), len(data.classes))
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(args.rounds + 1):
        for times, epoch in zip(took, epochs, strict=True):
            start = clock()
            epoch()
            times.append(clock() - start)
    ours, theirs = (times[1:] for times in took)  # the first round warms up
    ratio = statistics.median(p / o for o, p in zip(ours, theirs, strict=True))
    print(f"{'SHREC 2011' if real else 'poses'}: {len(data.train)} meshes, {args.threads} threads")
    print(f"ours {statistics.median(ours):.2f} s, peer {statistics.median(theirs):.2f} s, ratio {ratio:.1f} (goal 4)")


if __name__ == "__main__":
    main()
