"""An epoch of `fit` with diffusion, in batches, beside the published procedure, one mesh at a time.

    COTAN_DATA=FOLDER python tests/benchmarks/bench_diffusion.py [--rounds 5] [--threads 1] [--meshes 480] [--batch 16]

SHREC 2011's 480 training meshes of 250 vertices from FOLDER/shrec11, or else generated ones; 4 blocks of 64 channels, 64
eigenpairs, heat kernel signatures, no dropout. Operators are ready on both sides. The two take turns. With one thread the
processor's time is taken.

The peer does, in the order of the published code (Sharp et al. 2022, github.com/nmwsharp/diffusion-net, its experiment on
SHREC 2011): a loader that hands out one mesh with its operators, under a progress bar, its signatures, a forward pass with a
batch axis of one that the sparse gradients are taken out of again, the smoothed loss, the count of right answers, Adam.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from tqdm import tqdm

import cotan
from cotan.batching import prepare
from cotan.training import Recipe, Run, model_for
from cotan.training.device import make_fabric
from cotan.training.epochs import Fit
from cotan.training.progress import Progress

WIDTH, DEPTH, K, TIMES, SMOOTHING = 64, 4, 64, 16, 0.2


class Block(nn.Module):
    """x (1, V, C), mass (1, V), values (1, K), vectors (1, V, K), g_x and g_y (1, V, V) sparse -> (1, V, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.time = nn.Parameter(torch.zeros(WIDTH))
        self.real, self.imaginary = (nn.Linear(WIDTH, WIDTH, bias=False) for _ in range(2))
        self.mlp = nn.Sequential(
            nn.Linear(3 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH)
        )

    def forward(self, x: Tensor, mass: Tensor, values: Tensor, vectors: Tensor, g_x: Tensor, g_y: Tensor) -> Tensor:
        with torch.no_grad():
            self.time.data = self.time.clamp(min=1e-8)
        coefficients = vectors.mT @ (x * mass[..., None])
        h = vectors @ (torch.exp(-values[..., None] * self.time[None]) * coefficients)
        one = [torch.stack((torch.mm(g_x[i], h[i]), torch.mm(g_y[i], h[i])), -1) for i in range(len(x))]
        w = torch.stack(one)  # (1, V, C, 2)
        a, b = w[..., 0], w[..., 1]
        real, imaginary = self.real(a) - self.imaginary(b), self.real(b) + self.imaginary(a)
        return self.mlp(torch.cat([x, h, torch.tanh(a * real + b * imaginary)], -1)) + x


class Published(nn.Module):
    def __init__(self, classes: int):
        super().__init__()
        self.first, self.last = nn.Linear(TIMES, WIDTH), nn.Linear(WIDTH, classes)
        self.blocks = nn.ModuleList(Block() for _ in range(DEPTH))

    def forward(self, *inputs: Tensor) -> Tensor:
        x, mass, *operators = (value.unsqueeze(0) for value in inputs)
        x = self.first(x)
        *operators, _ = operators  # the Laplacian, which only the other way of diffusing takes
        for block in self.blocks:
            x = block(x, mass, *operators)
        x = self.last(x)
        return ((x * mass[..., None]).sum(-2) / mass.sum(-1, keepdim=True)).log_softmax(-1)


def signature(values: Tensor, vectors: Tensor) -> Tensor:
    """(V, TIMES) the heat kernel signature, as published: a product for each vertex, time and pair, then their sum."""
    decay = torch.exp(-values * torch.logspace(-2, 0, TIMES)[:, None])
    return (decay * (vectors * vectors)[:, None]).sum(-1)


def smoothed(prediction: Tensor, label: Tensor) -> Tensor:
    target = torch.zeros_like(prediction).scatter(1, label[:, None], 1)
    target = target * (1 - SMOOTHING) + (1 - target) * SMOOTHING / (prediction.shape[1] - 1)
    return -(target * prediction).sum(1).mean()


def peer_epoch(shapes: list[Any], classes: int) -> Callable[[], None]:
    examples = []
    for shape in shapes:
        wanted = ["mass", cotan.node("spectrum", k=K), "gradient", "tangent_frames", "laplacian"]
        mass, spectrum, gradient, frames, laplacian = cotan.compute(shape, wanted).values()
        vectors = spectrum.vectors.T.contiguous().T  # a column after the other, as eigsh leaves them
        matrices = (
            torch.sparse_coo_tensor(torch.stack([m.row, m.col]), m.values, m.shape, check_invariants=False).coalesce()
            for m in (*gradient, laplacian)
        )
        unused = shape.pos, shape.face.T.contiguous(), frames
        examples.append((mass, spectrum.values, vectors, *matrices, shape.y.reshape(1), *unused))
    loader: Any = DataLoader(examples, batch_size=None, shuffle=True)  # type: ignore[arg-type]
    model, device = Published(classes), torch.device("cpu")
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def epoch() -> None:
        right = 0
        for example in tqdm(loader, file=StringIO()):
            mass, values, vectors, g_x, g_y, laplacian, label, *_ = (value.to(device) for value in example)
            prediction = model(signature(values, vectors), mass, values, vectors, g_x, g_y, laplacian)
            smoothed(prediction, label).backward()
            right += prediction.argmax(-1).eq(label).sum().item()
            optimizer.step()
            optimizer.zero_grad()

    return epoch


def our_epoch(data: cotan.Splits, batch: int) -> Callable[[], None]:
    features = ["heat_kernel_signature"]
    model = model_for("diffusion", data, seed=0, features=features, width=WIDTH, depth=DEPTH, k=K)
    train = prepare(model, data.train)
    recipe = Recipe(batch_size=batch, device="cpu", val_share=0, label_smoothing=SMOOTHING)
    fit = Fit(
        Run(model, recipe, classes=data.classes),
        data,
        {"train": train},
        Progress("none"),
        make_fabric(recipe),
    )
    return lambda: fit._train(fit._shuffled(train))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--meshes", type=int, default=480)
    parser.add_argument("--batch", type=int, default=16)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    root = Path(os.environ.get("COTAN_DATA", "")) / "shrec11"
    real = "COTAN_DATA" in os.environ and root.is_dir()
    data = cotan.load_dataset("folder", root=str(root)) if real else cotan.load_dataset("poses", per_class=120)
    data.train = data.train[: args.meshes]
    epochs = our_epoch(data, args.batch), peer_epoch(list(data.train), len(data.classes))
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(args.rounds + 1):
        for times, epoch in zip(took, epochs, strict=True):
            start = clock()
            epoch()
            times.append(clock() - start)
    ours, theirs = (times[1:] for times in took)  # the first round warms up
    ratio = statistics.median(p / o for o, p in zip(ours, theirs, strict=True))
    print(
        f"{'SHREC 2011' if real else 'poses'}: {len(data.train)} meshes, batches of {args.batch}, {args.threads} threads"
    )
    print(f"ours {statistics.median(ours):.2f} s, peer {statistics.median(theirs):.2f} s, ratio {ratio:.1f} (goal 4)")


if __name__ == "__main__":
    main()
