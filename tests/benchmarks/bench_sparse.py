"""Ours against PyG's and torch's own way, forward and backward, on a mesh-like and a power-law graph.

    python tests/benchmarks/bench_sparse.py [--threads 2] [--rounds 7] [--channels 64] [--graph mesh] [--memory]

The two of a pair take turns in one process; the ratio printed is the median over the rounds of peer / ours: it alone means
something on a shared machine. With one thread the processor's time is taken in place of the wall clock's, which
other programs do not disturb. `--memory` prints instead how much one run of each side raises the peak of resident
memory, each in a process of its own (Linux).
"""

import argparse
import statistics
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor
from torch_geometric.utils import scatter, softmax

from cotan.sparse import Sparse, adjacency, multiply_sum, neighbour_max, sampled, segment_softmax

KERNELS, HEADS = 8, 4
Pair = tuple[Callable[[], object], Callable[[], object]]


def mesh_graph(side: int = 316) -> tuple[Tensor, int]:
    """A triangulated square: about 100k vertices and 600k directed edges."""
    i = torch.arange(side * side).view(side, side)
    pairs = [(i[:, :-1], i[:, 1:]), (i[:-1], i[1:]), (i[:-1, :-1], i[1:, 1:])]
    a, b = (torch.cat([pair[k].flatten() for pair in pairs]) for k in (0, 1))
    return torch.stack([torch.cat([a, b]), torch.cat([b, a])]), side * side


def power_graph(nodes: int = 100_000, edges: int = 2_000_000) -> tuple[Tensor, int]:
    g = torch.Generator().manual_seed(0)
    ends = (torch.rand(2, edges, generator=g) ** 3 * nodes).long()
    return torch.randperm(nodes, generator=g)[ends], nodes


def with_backward(function: Callable[..., Tensor], *inputs: Tensor) -> Callable[[], object]:
    leaves = [x.clone().requires_grad_() for x in inputs]
    cotangent = torch.randn_like(function(*leaves))
    return lambda: torch.autograd.grad(function(*leaves), leaves, cotangent)


def pairs(edge_index: Tensor, nodes: int, channels: int) -> dict[str, Callable[[], Pair]]:
    """Name -> the thing to time and its peer: PyG's gather and scatter unless the name says torch."""
    A, order = adjacency(edge_index, nodes, torch.rand(edge_index.shape[1]))
    P, (source, target) = A.pattern, edge_index[:, order]
    x, w = torch.randn(nodes, channels), A.values
    weights, many = torch.rand(len(w), KERNELS), torch.randn(nodes, KERNELS, channels // KERNELS)
    scores, several = torch.randn(len(w), HEADS), torch.randn(nodes, HEADS, channels // HEADS)

    def pyg(x: Tensor, w: Tensor) -> Tensor:
        return scatter(w.reshape(-1, *[1] * (x.ndim - 1)) * x[source], target, 0, nodes, "sum")

    def pyg_kernels(v: Tensor, x: Tensor) -> Tensor:
        return scatter(v[:, :, None] * x[source], target, 0, nodes, "sum").sum(1)

    def pyg_each(v: Tensor, x: Tensor) -> Tensor:
        return scatter(v[:, :, None] * x[source][:, None], target, 0, nodes, "sum")

    def csr() -> Callable[[Tensor], Tensor]:
        matrix = torch.sparse_csr_tensor(P.rowptr, P.col, w, A.shape, check_invariants=False)
        return lambda x: matrix @ x

    def attend(s: Tensor, x: Tensor) -> Tensor:
        p = segment_softmax(s, P)
        return torch.stack([A.with_values(p[:, h]) @ x[:, h] for h in range(HEADS)], 1)

    def pyg_attend(s: Tensor, x: Tensor) -> Tensor:
        return scatter(softmax(s, target, num_nodes=nodes)[:, :, None] * x[source], target, 0, nodes, "sum")

    both = with_backward
    return {
        "A x": lambda: (lambda: A @ x, lambda: pyg(x, w)),
        "A x, torch's CSR": lambda: (lambda: A @ x, partial(csr(), x)),
        "A x, backward": lambda: (both(lambda x: A @ x, x), both(lambda x: pyg(x, w), x)),
        "A x, backward, torch's CSR": lambda: (both(lambda x: A @ x, x), both(csr(), x)),
        "A(w) x, backward": lambda: (both(lambda x, w: A.with_values(w) @ x, x, w), both(pyg, x, w)),
        "A_j(w) x, 8 kernels, backward": lambda: (
            both(lambda v, x: A.with_values(v) @ x, weights, x[:, : channels // KERNELS]),
            both(pyg_each, weights, x[:, : channels // KERNELS]),
        ),
        "sum_j A_j(w) x_j, 8 kernels, backward": lambda: (
            both(lambda v, x: multiply_sum(A.with_values(v), x), weights, many),
            both(pyg_kernels, weights, many),
        ),
        "sampled, backward": lambda: (
            both(lambda a, b: sampled(P, a, b), x, x),
            both(lambda a, b: (a[target] * b[source]).sum(1), x, x),
        ),
        "softmax, 4 heads, backward": lambda: (
            both(lambda s: segment_softmax(s, P), scores),
            both(lambda s: softmax(s, target, num_nodes=nodes), scores),
        ),
        "attention, 4 heads, backward": lambda: (both(attend, scores, several), both(pyg_attend, scores, several)),
        "max over neighbours, backward": lambda: (
            both(lambda x: neighbour_max(x, P), x),
            both(lambda x: scatter(x[source], target, 0, nodes, "max"), x),
        ),
        "A x of 3 channels, backward": lambda: (
            both(lambda x: A @ x, x[:, :3].contiguous()),
            both(lambda x: pyg(x, w), x[:, :3].contiguous()),
        ),
    }


def ratio(ours: Callable[[], object], peer: Callable[[], object], rounds: int) -> tuple[float, float, float]:
    """The median over rounds of peer / ours, and the median milliseconds of each."""
    own = torch.get_num_threads() == 1 and not torch.cuda.is_initialized()  # a GPU's time is not the processor's
    clock = time.process_time if own else time.perf_counter
    took: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds + 1):
        for times, run in zip(took, (ours, peer), strict=True):
            start = clock()
            run()
            times.append(1e3 * (clock() - start))
    ours_ms, peer_ms = took[0][1:], took[1][1:]  # the first round warms up
    return (
        statistics.median(p / o for o, p in zip(ours_ms, peer_ms, strict=True)),
        statistics.median(ours_ms),
        statistics.median(peer_ms),
    )


def batches() -> dict[str, Callable[[], Pair]]:
    """Many small meshes at once, against PyG's way: their edges side by side, and pooling by scores."""
    from torch_geometric.data import Batch, Data
    from torch_geometric.nn import TopKPooling

    from cotan_spatial.topk import TopK

    def several(count: int, side: int) -> tuple[list[Sparse], list[Data]]:
        edges, nodes = mesh_graph(side)
        data = [Data(edge_index=edges, edge_weight=torch.ones(edges.shape[1]), num_nodes=nodes) for _ in range(count)]
        return [adjacency(edges, nodes)[0] for _ in range(count)], data

    def block_diagonal(count: int, side: int) -> Pair:
        blocks, data = several(count, side)
        return lambda: Sparse.block_diagonal(blocks), lambda: Batch.from_data_list(data)

    def topk(count: int, side: int) -> Pair:
        blocks, data = several(count, side)
        matrix, batch = Sparse.block_diagonal(blocks), Batch.from_data_list(data)
        x, ours, peer = torch.randn(len(batch.batch), 64), TopK(64), TopKPooling(64)
        return (
            lambda: ours(x, matrix, batch.batch)[0].sum().backward(),
            lambda: peer(x, batch.edge_index, batch=batch.batch)[0].sum().backward(),
        )

    return {
        "block diagonal, 32 of 256 vertices": partial(block_diagonal, 32, 16),
        "block diagonal, 128 of 25 vertices": partial(block_diagonal, 128, 5),
        "topk, 128 of 25 vertices": partial(topk, 128, 5),
        "topk, 32 of 256 vertices": partial(topk, 32, 16),
    }


def peak_of(name: str, side: int, graph: str, channels: int) -> float:
    """MiB that one run of one side adds to the peak of its own process."""
    command = [sys.executable, __file__, "--graph", graph, "--channels", str(channels), "--peak", name, str(side)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def resident(field: str) -> float:
    """MiB of this process: VmRSS now, VmHWM at the peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--channels", type=int, default=64)
    parser.add_argument("--graph", choices=["mesh", "power"], default="mesh")
    parser.add_argument("--only", default="", help="those whose name contains this")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--peak", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta state")
    edge_index, nodes = mesh_graph() if args.graph == "mesh" else power_graph()
    table = pairs(edge_index, nodes, args.channels)
    if args.peak:
        run = table[args.peak[0]]()[int(args.peak[1])]
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew from what is held now
        low = resident("VmRSS")
        run()
        print(resident("VmHWM") - low)
        return
    print(f"{args.graph}: {nodes} nodes, {edge_index.shape[1]} edges, {args.channels} channels, {args.threads} threads")
    for name in (name for name in table if args.only in name):
        if args.memory:
            ours_mb, peer_mb = (peak_of(name, side, args.graph, args.channels) for side in (0, 1))
            print(f"{name:40s} ours {ours_mb:7.0f} MiB   peer {peer_mb:7.0f} MiB", flush=True)
        else:
            times, ours_ms, peer_ms = ratio(*table[name](), args.rounds)
            print(f"{name:40s} {times:6.1f} x   ours {ours_ms:8.1f} ms   peer {peer_ms:8.1f} ms", flush=True)
    for name, pair in ({} if args.memory else batches()).items():
        if args.only in name:
            times, ours_ms, peer_ms = ratio(*pair(), 30 * args.rounds)
            print(f"{name:40s} {times:6.2f} x   ours {ours_ms:8.2f} ms   peer {peer_ms:8.2f} ms")


if __name__ == "__main__":
    main()
