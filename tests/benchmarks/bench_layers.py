"""Layers beside PyG's of the same kind: forward, and backward to x and all parameters, 64 channels in and out.

    python tests/benchmarks/bench_layers.py [--threads 2] [--device cuda] [--only gat] [--graph mesh] [--no-memory] [--more]

Graphs: a triangulated square (100k vertices, 600k edges), a power-law graph (100k nodes, 2M edges), and Cora, or one of
its size without COTAN_DATA. The two of a pair take turns; the ratio is the median over the rounds of peer / ours. What
depends on the graph alone, cotan takes from its plan and PyG computes in each call, but for the GCNConv that is `cached`.
`dense` is what the products with the weights alone take by torch, as PyG does them; cotan's (`cotan.linear`) may take less.
Memory (Linux) is what one forward and backward add to the peak, each in a process of its own; on CUDA it is not taken.
There ours is also in GB/s: the bytes that its kernels read and write (`count_kernels.py`), and their share of what a copy has.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from bench_sparse import mesh_graph, power_graph, ratio, resident
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data

CHANNELS = 64
SIZES = ("mesh", "power", "cora")
ROUNDS = dict(zip(SIZES, (5, 3, 40), strict=True))
# name: layer, its options, PyG's layer, the goals on each graph, and how many dense products with 64 x 64 weights it has
LAYERS = {
    "gcn": ("gcn", {}, lambda c: pyg.GCNConv(c, c), (8, 4, 1), 1),
    "gcn, cached": ("gcn", {}, lambda c: pyg.GCNConv(c, c, cached=True), (None, None, 1), 1),
    "chebyshev, K=5": ("chebyshev", {"order": 5}, lambda c: pyg.ChebConv(c, c, K=5), (10, 4, 1), 5),
    "gaussian, 8 kernels": (
        "gaussian",
        {"kernels": 8, "coordinates": "degree"},
        lambda c: pyg.GMMConv(c, c, dim=2, kernel_size=8),
        (8, 4, 1),
        9,
    ),
    "gat, 4 heads": ("gat", {"heads": 4}, lambda c: pyg.GATConv(c, c // 4, heads=4), (3, 2, 1), 1),
    "sage": ("sage", {}, lambda c: pyg.SAGEConv(c, c), (1.5, 1, 1), 2),
    "gin": ("gin", {}, lambda c: pyg.GINConv(_mlp(c)), (3, 2, 1), 2),
}
SEVERAL = ["mean", "max", "min", "std"]
# --more: what has no goals. SAGEConv is `aggregate` with one linear map of what was gathered and one of x.
MORE = {
    "edgeconv": ("edgeconv", {}, lambda c: pyg.EdgeConv(_mlp(2 * c, c))),
    "edgeconv, hidden=0": ("edgeconv", {"hidden": 0}, lambda c: pyg.EdgeConv(nn.Linear(2 * c, c))),
    "gatv2, 4 heads": ("gatv2", {"heads": 4}, lambda c: pyg.GATv2Conv(c, c // 4, heads=4)),
    "transformer, 4 heads": ("transformer", {"heads": 4}, lambda c: pyg.TransformerConv(c, c // 4, heads=4)),
    "sgc": ("sgc", {}, lambda c: pyg.SGConv(c, c, K=2)),
    "appnp": (
        "appnp",
        {},
        lambda c: pyg.Sequential("x, edges", [(_mlp(c), "x -> x"), (pyg.APPNP(10, 0.1), "x, edges -> x")]),
    ),
    **{
        f"aggregate, {kind}": ("aggregate", {"aggregate": kind}, lambda c, kind=kind: pyg.SAGEConv(c, c, aggr=kind))
        for kind in ("sum", *SEVERAL)
    },
    "aggregate, 4 kinds": ("aggregate", {"aggregate": SEVERAL}, lambda c: pyg.SAGEConv(c, c, aggr=SEVERAL)),
}
MORE = {name: (*entry, (None,) * len(SIZES), 0) for name, entry in MORE.items()}


def _mlp(a: int, c: int | None = None) -> nn.Module:
    c = c or a
    return nn.Sequential(nn.Linear(a, c), nn.ReLU(), nn.Linear(c, c))


def graph(name: str) -> Data:
    if name == "cora" and "COTAN_DATA" in os.environ:
        import cotan

        root = Path(os.environ["COTAN_DATA"]) / "planetoid" / "Cora" / "raw"
        whole = cotan.load_dataset("planetoid", name="Cora", root=str(root)).train[0]
        return Data(edge_index=whole.edge_index, num_nodes=whole.num_nodes)
    if name == "power, quarter":
        return Data(edge_index=power_graph(25_000, 500_000)[0], num_nodes=25_000)
    makers = {"mesh": mesh_graph, "power": power_graph, "cora": lambda: power_graph(2708, 10556)}
    edges, nodes = makers[name]()
    return Data(edge_index=edges, num_nodes=nodes)


def pair(name: str, data: Data) -> tuple[Callable[[], object], Callable[[], object]]:
    """One forward and backward, ours and the peer's."""
    import cotan

    own, options, make_peer, *_ = (LAYERS | MORE)[name]
    torch.manual_seed(0)
    device = data.edge_index.device
    layer, peer = cotan.create_layer(own, CHANNELS, CHANNELS, **options).to(device), make_peer(CHANNELS).to(device)
    x = torch.randn(data.num_nodes, CHANNELS).to(device)
    nodes, extra = cotan.inputs(layer, data), []
    if own == "gaussian":
        extra = [cotan.compute(data, cotan.node("pseudo_coordinates", kind="degree"))]
    return (
        _both_ways(lambda x: layer(x, **nodes), layer, x),
        _both_ways(lambda x: peer(x, data.edge_index, *extra), peer, x),
    )


def _both_ways(function: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> Callable[[], object]:
    leaves = [x.clone().requires_grad_(), *module.parameters()]
    cotangent = torch.randn(len(x), CHANNELS).to(x.device)
    return finished(lambda: torch.autograd.grad(function(leaves[0]), leaves, cotangent), x.device)


def finished(run: Callable[[], object], device: torch.device) -> Callable[[], object]:
    """On CUDA, which works on while Python goes on, the run with the wait for its end."""
    return (lambda: (run(), torch.cuda.synchronize())) if device.type == "cuda" else run


def dense(products: int, nodes: int, device: torch.device) -> Callable[[], object]:
    """The products with the weights by torch, forward and backward, and nothing else: no memory is asked for."""
    (x, g), w = torch.randn(2, nodes, CHANNELS).to(device), torch.eye(CHANNELS, device=device)
    y = torch.empty_like(x)
    g_w = torch.empty_like(w)

    def run() -> None:
        for _ in range(products):
            torch.mm(x, w, out=y)
            torch.mm(g, w.T, out=y)
            torch.mm(x.T, g, out=g_w)

    return finished(run, device)


def bandwidth(run: Callable[[], object], ms: float) -> str:
    from count_kernels import counting

    with counting() as found:
        run()
    source = torch.empty(2**28, device="cuda")
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / ratio(finished(lambda: target.copy_(source), source.device), lambda: None, 20)[1]
    reached = sum(kernel.bytes for kernel in found) / ms
    return f"   {len(found)} kernels, {reached / 1e6:.0f} GB/s, {reached / copied:.0%} of a copy"


def peak(name: str, size: str, side: int, threads: int) -> float:
    """MiB that one call of one side adds to the peak of its own process."""
    command = [sys.executable, __file__, "--threads", str(threads), "--peak", name, size, str(side)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def print_peak(name: str, size: str, side: int) -> None:
    run = pair(name, graph(size))[side]
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
    low = resident("VmRSS")
    run()
    print(resident("VmHWM") - low)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--graph", choices=SIZES, action="append")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument(
        "--more", action="store_true", help="the other layers: edgeconv, gatv2, transformer, aggregate ..."
    )
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--peak", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak:
        print_peak(args.peak[0], args.peak[1], int(args.peak[2]))
        return
    layers = MORE if args.more else LAYERS
    for size in args.graph or SIZES:
        data = graph(size).to(args.device)
        print(
            f"\n{size}: {data.num_nodes} vertices, {data.num_edges} edges, {CHANNELS} channels, {args.threads} threads"
        )
        print(
            f"{'':22}{'ours ms':>9}{'PyG ms':>9}{'ratio':>7}{'goal':>6}{'dense ms':>10}{'ours MiB':>12}{'PyG MiB':>9}"
        )
        for name in (name for name in layers if args.only in name):
            goal = layers[name][3][SIZES.index(size)]
            used = data
            if size == "power" and (args.more or "gaussian" in name):  # PyG's would need some 20 GB
                used = graph("power, quarter").to(args.device)
            rounds = ROUNDS[size] if args.device == "cpu" else 100
            both = pair(name, used)
            times, ours, theirs = ratio(*both, rounds)
            run = dense(layers[name][4], used.num_nodes, data.edge_index.device)
            products = ratio(run, lambda: None, rounds)[1]
            digits = 1 if args.device == "cpu" else 3
            line = f"{name:22}{ours:9.{digits}f}{theirs:9.{digits}f}{times:7.1f}{goal or '':>6}{products:10.{digits}f}"
            line += "" if args.device == "cpu" else bandwidth(both[0], ours)
            line += "" if used is data else f"   on {used.num_nodes} vertices, {used.num_edges} edges"
            if size == "mesh" and args.device == "cpu" and not args.no_memory:
                line += "".join(
                    f"{peak(name, size, side, args.threads):{width}.0f}" for side, width in ((0, 12), (1, 9))
                )
            print(line, flush=True)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="cotan-bench-") as cache:  # children share it
        os.environ.setdefault("COTAN_CACHE", cache)
        main()
