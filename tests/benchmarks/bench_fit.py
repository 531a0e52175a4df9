"""Training by `cotan.fit` beside the loop that PyG's examples have, the same net, optimizer and number of epochs.

    COTAN_DATA=FOLDER python tests/benchmarks/bench_fit.py [--rounds 3] [--threads 1]

Both evaluate val after each epoch and start from the data in memory; what ours prepares is taken anew each time. The two
take turns; medians, with one thread of processor time. The peer keeps its normalised edges (`cached`) where it can.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

import cotan

PLAIN: dict[str, Any] = {"norm": "none", "residual": False, "lift": False}


class Peer(nn.Module):
    """Convolutions with an activation and dropout in between; with `pooled`, a sum over each graph and a last map."""

    def __init__(self, layers: list[nn.Module], activation: Any, rate: float, pooled: nn.Module | None = None):
        super().__init__()
        self.layers, self.activation, self.rate, self.pooled = nn.ModuleList(layers), activation, rate, pooled

    def forward(self, data: Any) -> Tensor:
        from torch_geometric.nn import global_add_pool

        x = data.x
        for place, layer in enumerate(self.layers):
            if self.pooled is None:
                x = dropout(x, self.rate, self.training)
            x = layer(x, data.edge_index)
            if place + 1 < len(self.layers) or self.pooled is not None:
                x = self.activation(x)
        return x if self.pooled is None else self.pooled(global_add_pool(x, data.batch))


def peer_fit(model: Peer, train: list[Any], val: list[Any], epochs: int, batch: int, recipe: dict[str, float]) -> None:
    from torch_geometric.loader import DataLoader

    optimizer = torch.optim.Adam(model.parameters(), **recipe)
    whole = model.pooled is None
    loaders = (train, val) if whole else (DataLoader(train, batch, shuffle=True), DataLoader(val, batch))
    for _ in range(epochs):
        model.train()
        for data in loaders[0]:
            optimizer.zero_grad()
            out, target = model(data), data.y
            (cross_entropy(out[data.mask], target[data.mask]) if whole else cross_entropy(out, target)).backward()
            optimizer.step()
        model.eval()
        right = 0
        with torch.no_grad():
            for data in loaders[1]:
                same = model(data).argmax(-1) == data.y
                right += int((same[data.mask] if whole else same).sum())


def cases(root: str) -> dict[str, Any]:
    """Of each: data, layer, its options, the peer, epochs, batch size, recipe."""
    from torch_geometric.nn import ChebConv, GATConv, GCNConv, GINConv

    cora = cotan.load_dataset("planetoid", name="Cora", root=f"{root}/planetoid/Cora/raw")
    mutag = cotan.load_dataset("tu", name="MUTAG", root=f"{root}/tu/MUTAG/raw")
    mutag.train, mutag.val = mutag.train[:150], mutag.train[150:]
    meshes = cotan.load_dataset("folder", root=f"{root}/shrec11")
    meshes.train, meshes.val = meshes.train[::5], meshes.train[1::25]
    for data in (*meshes.train, *meshes.val):
        data.edge_index, data.x = cotan.compute(data, "edge_index"), data.pos
    edges = [(3, 64), (64, 64), (64, 64)]
    gin_widths = [7, *[32] * 5]

    def mlp(a: int, b: int) -> nn.Module:
        return nn.Sequential(nn.Linear(a, b), nn.ReLU(), nn.Linear(b, b))

    relu, elu = torch.relu, nn.functional.elu
    dropped = {"dropout": 0.5, "input_dropout": 0.5, "depth": 2, **PLAIN}
    return {
        "gcn, Cora": (
            cora, "gcn", {"width": 16, **dropped, "last": {}},
            lambda: Peer([GCNConv(1433, 16, cached=True), GCNConv(16, 7, cached=True)], relu, 0.5),
            200, 1, {"lr": 0.01, "weight_decay": 5e-4},
        ),
        "gat, Cora": (
            cora, "gat", {"heads": 8, "width": 64, **dropped, "activation": "elu", "last": {"heads": 1}},
            lambda: Peer([GATConv(1433, 8, heads=8), GATConv(64, 7)], elu, 0.5),
            100, 1, {"lr": 0.005, "weight_decay": 5e-4},
        ),
        "gin, MUTAG": (
            mutag, "gin", {"width": 32, "depth": 5, "readout": "sum", **PLAIN},
            lambda: Peer([GINConv(mlp(a, b)) for a, b in pairwise(gin_widths)], relu, 0, nn.Linear(32, 2)),
            100, 32, {"lr": 0.01},
        ),
        "chebyshev, 96 meshes of SHREC 2011": (
            meshes, "chebyshev", {"order": 5, "width": 64, "depth": 3, "readout": "sum", **PLAIN},
            lambda: Peer([ChebConv(a, b, K=5) for a, b in edges], relu, 0, nn.Linear(64, 30)),
            20, 16, {"lr": 0.001},
        ),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if "COTAN_DATA" not in os.environ:
        print("COTAN_DATA is not set: expected the folder of planetoid, tu and shrec11")
        return
    torch.set_num_threads(args.threads)
    clock = time.process_time if args.threads == 1 else time.perf_counter

    def seconds(run: Callable[..., Any], *args: Any, **keywords: Any) -> float:
        start = clock()
        run(*args, **keywords)
        return clock() - start

    for what, (data, layer, options, peer, epochs, batch, recipe) in cases(os.environ["COTAN_DATA"]).items():
        own, theirs = [], []
        settings = {"epochs": epochs, "batch_size": batch, "progress": "none", **recipe}
        for round_ in range(args.rounds + 1):
            model, other = cotan.model_for(layer, data, seed=round_, **options), peer()
            with TemporaryDirectory() as folder, patch.dict(os.environ, {"COTAN_CACHE": folder}):
                own.append(seconds(cotan.fit, model, data, **settings))
            theirs.append(seconds(peer_fit, other, list(data.train), list(data.val), epochs, batch, recipe))
        sizes = [sum(p.numel() for p in m.parameters()) for m in (model, other)]
        ratio = median(b / a for a, b in zip(own[1:], theirs[1:], strict=True))
        print(
            f"{what:<36} {epochs:>3} epochs: ours {median(own[1:]):6.2f} s, PyG {median(theirs[1:]):6.2f} s, ratio {ratio:.1f} "
            f"(parameters {sizes[0]:,} and {sizes[1]:,})",
            flush=True,
        )


if __name__ == "__main__":
    main()
