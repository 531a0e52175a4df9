"""Training on parts of a large graph: what is drawn, what the model needs of it, and the step, beside PyG's SAGEConv on the
same parts and beside a step on the whole graph.

    python tests/benchmarks/bench_sampling.py [--threads 1] [--nodes 200000] [--edges 10000000] [--rounds 20]

Sage of two layers, 100 features, 64 hidden channels, 40 classes; (15, 10) neighbours about 1024 vertices. PyG has no
sampler here (pyg-lib and torch-sparse are not on PyPI), so it is given the parts. Medians; one thread by processor time.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from bench_sparse import power_graph
from torch import nn
from torch.nn.functional import cross_entropy
from torch_geometric.data import Data

import cotan
from cotan.application import forward
from cotan.batching import prepare
from cotan.sampling import Sampled
from cotan.training.device import keep_pages

FEATURES, HIDDEN, CLASSES, SIZES, SEEDS = 100, 64, 40, (15, 10), 1024


def power_law(nodes: int, edges: int) -> Data:
    edge_index, count = power_graph(nodes, edges)
    g = torch.Generator().manual_seed(0)
    x, y = torch.randn(count, FEATURES, generator=g), torch.randint(CLASSES, (count,), generator=g)
    return Data(x=x, y=y, edge_index=edge_index)


class Peer(nn.Module):
    def __init__(self) -> None:
        from torch_geometric.nn import SAGEConv

        super().__init__()
        self.first, self.second = SAGEConv(FEATURES, HIDDEN), SAGEConv(HIDDEN, CLASSES)

    def forward(self, data: Any) -> Any:
        return self.second(self.first(data.x, data.edge_index).relu(), data.edge_index)


def own() -> nn.Module:
    plain = {"norm": "none", "residual": False, "lift": False, "last": {}}
    return cotan.create_model("sage", FEATURES, CLASSES, task="label", width=HIDDEN, depth=2, **plain)


def stepper(model: nn.Module, output: Callable[[Any], Any]) -> Callable[[Any, Any], None]:
    optimizer = torch.optim.Adam(model.parameters(), fused=True)

    def step(values: Any, y: Any) -> None:
        optimizer.zero_grad(set_to_none=True)
        cross_entropy(output(values)[: len(y)], y).backward()
        optimizer.step()

    return step


def measured(data: Data, rounds: int, clock: Callable[[], float]) -> Iterator[tuple[str, float]]:
    """What was done, and its seconds, of each round."""
    names: dict[str, list[float]] = {}

    def timed(name: str, run: Callable[..., Any], *given: Any) -> Any:
        start = clock()
        out = run(*given)
        names.setdefault(name, []).append(clock() - start)
        return out

    model, peer = own(), Peer()
    ours, theirs = stepper(model, lambda values: forward(model, values)), stepper(peer, peer)
    sampler = timed("sampler, once", cotan.NeighbourSampler, data, SIZES)
    whole = timed("the whole prepared, once", lambda: prepare(model, [data], per="vertex"))
    batches = Sampled(model, [data], whole, SIZES).batches(SEEDS, 0)
    parts = sampler.batches(SEEDS, seed=1)
    for _ in range(rounds):
        batch = timed("a batch of fit: drawn, cut, evaluated", next, batches)
        timed("step of ours on it", ours, batch.values, batch.counted(batch.target)[1])
        part = timed("a part as Data: drawn and cut", next, parts)
        timed("step of PyG's on it", theirs, part, part.y[: part.batch_size])
        timed("cotan.apply on it, no backward", cotan.apply, model, part)
    for _ in range(3):
        timed("step of ours on the whole", ours, whole.values([0]), data.y)
        timed("step of PyG's on the whole", theirs, data, data.y)
    size = f"{part.num_nodes:,} vertices, {part.num_edges:,} edges"
    yield from (
        (f"{name} ({size})" if name.startswith("a part") else name, median(took)) for name, took in names.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, value in (("threads", 1), ("nodes", 200_000), ("edges", 10_000_000), ("rounds", 20)):
        parser.add_argument(f"--{name}", type=int, default=value)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    keep_pages(torch.device("cpu"))  # as `fit` does; PyG has it too
    clock = time.process_time if args.threads == 1 else time.perf_counter
    with TemporaryDirectory() as folder, patch.dict(os.environ, {"COTAN_CACHE": folder}):
        for name, seconds in measured(power_law(args.nodes, args.edges), args.rounds, clock):
            print(f"{1e3 * seconds:9.1f} ms  {name}", flush=True)


if __name__ == "__main__":
    main()
