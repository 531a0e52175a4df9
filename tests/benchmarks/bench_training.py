"""An epoch of `fit` beside the bare forward, backward and step on batches that are there already.

python tests/benchmarks/bench_training.py; seconds of processor time, median of interleaved epochs.
"""

import statistics
import time

import torch
from torch.nn.functional import cross_entropy

import cotan
from cotan.application import forward
from cotan.batching import prepare
from cotan.training import Recipe, Run, model_for
from cotan.training.device import make_fabric
from cotan.training.epochs import Fit
from cotan.training.progress import Progress

MODELS = {
    "linear": {},
    "spectral": {"k": 32},
    "smooth-spectral": {"k": 32},
    "chebyshev": {},
    "multiview": {"count": 6, "size": 32, "width": 8},
    "voxel": {"resolution": 16, "width": 8},
}


def ratio(name: str, data: cotan.Splits, options: dict, rounds: int = 9) -> tuple[float, float]:
    """(bare seconds, ours over bare)."""
    model = model_for(name, data, seed=0, **options)
    train, val = prepare(model, data.train), prepare(model, data.val)
    run = Run(model, Recipe(batch_size=12, device="cpu"), classes=data.classes)
    ours = Fit(run, data, {"train": train, "val": val}, Progress("none"), make_fabric(run.recipe))
    batches = list(train.batches(12))
    optimizer = torch.optim.Adam(model.parameters())

    def bare_epoch() -> None:
        model.train()
        for batch in batches:
            optimizer.zero_grad(set_to_none=True)
            cross_entropy(forward(model, batch.values), batch.target).backward()
            optimizer.step()

    times: dict = {"bare": [], "ours": []}
    for _ in range(rounds):
        for key, epoch in (("bare", bare_epoch), ("ours", lambda: ours._train(ours._shuffled(train)))):
            start = time.process_time()
            epoch()
            times[key].append(time.process_time() - start)
    bare, own = (values[2:] for values in times.values())
    return statistics.median(bare), statistics.median(a / b for a, b in zip(own, bare))


if __name__ == "__main__":
    poses = cotan.load_dataset("poses", per_class=10)
    for name, options in MODELS.items():
        seconds, over = ratio(name, poses, options)
        print(f"{name:16} bare {seconds:.3f} s/epoch, fit {over:.2f} times that")
