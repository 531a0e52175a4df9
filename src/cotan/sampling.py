"""Neighbours drawn about a few vertices at a time: training on graphs that are too large to take whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex

import numpy as np
import torch
from torch import Tensor, nn

from . import registry
from .application import collate_samples, common_sources, evaluate_plan, model_plan, place_of
from .batching import Batch, Prepared
from .data import check_data, check_source, number_of_vertices, sources_of
from .errors import CotanError, at_least
from .nodes import COUNTED, SOURCES
from .operators.factor import Array
from .pattern import grouped, sorted_order
from .plan import Plan
from .sparse import check_range
from .stack import Stack
from .targets import mask_of
from .values import move, numbers


class NeighbourSampler:
    """Draws parts of a graph: some vertices, with neighbours of theirs, neighbours of these, and so on.

    Arguments:
        data: a graph with edge_index (2, E), whose edges may be directed, be loops and join two vertices several times.
        sizes: for each hop, how many of the edges that come in at a vertex are drawn, without replacement; -1 for all.

    A part is a `Data` as PyG's NeighborLoader gives it. Its first `batch_size` vertices are the seeds, where `mask` is
    true; `n_id` and `e_id` are the numbers of its vertices and edges in the whole, and what the whole has for each vertex
    or edge is cut to these. Edges are drawn once at each vertex, by the hop that first reaches it; they are in the order of
    targets, then sources. A model of n layers that each look one hop far has the same outputs at the seeds as on the whole
    graph if `sizes` are n times -1.

    cotan's nodes are evaluated on the part, and not stored: degrees are those of the drawn edges, so that gcn wants one hop
    more for that. What is to be that of the whole, such as a signature, is put on it beforehand, as an attribute.

    >>> sampler = cotan.NeighbourSampler(data, (15, 10))
    >>> part = sampler.about([3, 7])
    >>> for part in sampler.batches(1024, data.train_mask, seed=epoch):
    ...     loss = cross_entropy(cotan.apply(model, part)[: part.batch_size], part.y[: part.batch_size])
    """

    def __init__(self, data: Any, sizes: Sequence[int]):
        self.data, self.sizes = data, check_sizes("NeighbourSampler: sizes", sizes)
        check_graph(data)
        self.names = sorted(sources_of(data) - COUNTED - {"edge_index"})
        self.vertices = number_of_vertices(data)
        source, target = data.edge_index.detach().cpu().long()
        begin, edge = grouped(target, self.vertices)
        self.begin, self.edge = begin.numpy(), edge.numpy()  # of the edges that come in at each vertex
        self.source = source.index_select(0, edge).numpy()

    def batches(self, size: int, seeds: Any = None, seed: int = 0) -> Iterator[Any]:
        """Parts about vertices in an order drawn by `seed`: ceil(N / size) of nearly one size.

        seeds: vertex numbers (N,) or a mask; all vertices by default.
        """
        at_least(1, "batches", size=size)
        at_least(0, "batches", seed=seed)
        rng = np.random.default_rng(seed)
        chosen = self._numbers(seeds)
        return (self._cut(some, rng) for some in shuffled(chosen, size, rng))

    def about(self, seeds: Any, seed: int = 0) -> Any:
        """The part about some vertices, given as in `batches`."""
        at_least(0, "about", seed=seed)
        return self._cut(self._numbers(seeds), np.random.default_rng(seed))

    def _numbers(self, seeds: Any = None) -> Array:
        chosen = torch.arange(self.vertices) if seeds is None else numbers("seeds", seeds).detach().cpu()
        if chosen.dtype == torch.bool and chosen.shape == (self.vertices,):
            chosen = chosen.nonzero()[:, 0]
        check_range("seeds", chosen, self.vertices)
        if chosen.ndim != 1 or len(chosen) != len(chosen.unique()):
            raise CotanError(f"seeds: expected different vertices (N,) or a mask ({self.vertices},), got {chosen}")
        return chosen.long().numpy()

    def _cut(self, seeds: Array, rng: np.random.Generator) -> Any:
        from torch_geometric.data import Data

        n_id, e_id, edge_index = self._draw(seeds, rng)
        data, part, rows = self.data, Data(), {"vertex": n_id, "edge": e_id}
        for name in self.names:
            value = torch.as_tensor(data[name]) if isinstance(data[name], np.ndarray) or name == "y" else data[name]
            per = self._per(name, value)
            part[name] = value.index_select(0, rows[per].to(value.device)) if per in rows else value
        device = data.edge_index.device
        part.edge_index, part.n_id, part.e_id = (t.to(device) for t in (edge_index, n_id, e_id))
        part.mask = torch.arange(len(n_id), device=device) < len(seeds)
        part.num_nodes, part.batch_size = len(n_id), len(seeds)
        return part

    def _draw(self, seeds: Array, rng: np.random.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """The vertices and edges of the whole that are drawn, and these edges between those vertices."""
        number = np.zeros(self.vertices, np.int64)  # of each vertex that is reached, from 1
        number[seeds] = np.arange(1, len(seeds) + 1)
        nodes, reached = [seeds], len(seeds)
        hops = []  # of each its edges: their places, their sources, and how many there are at each target
        for size in self.sizes:
            place, count = drawn(self.begin[nodes[-1]], self.begin[nodes[-1] + 1], size, rng)
            source = self.source[place]
            new = source[number[source] == 0]
            number[new] = each = np.arange(len(new))
            new = new[number[new] == each]  # of several the last
            number[new] = np.arange(reached + 1, reached + len(new) + 1)
            nodes, reached = [*nodes, new], reached + len(new)
            hops.append((place, number[source] - 1, count))
        place, source, count = map(np.concatenate, zip(*hops, strict=True))
        target = np.repeat(np.arange(len(count)), count)
        edges = torch.from_numpy(np.stack([source, target]))
        order = sorted_order(edges[1], edges[0], (reached, reached))
        e_id = torch.from_numpy(self.edge[place])[order]
        return torch.from_numpy(np.concatenate(nodes)), e_id, edges.index_select(1, order)

    def _per(self, name: str, value: Any) -> str | None:
        """Whether something is one a vertex or one an edge: as declared, else as PyG has it, by its length."""
        if name in SOURCES:
            return SOURCES[name].per
        if not isinstance(value, Tensor) or not value.ndim or value.layout != torch.strided:
            return None
        edges = len(self.source)
        if len(value) == edges and (edges != self.vertices or "edge" in name):
            return "edge"
        return "vertex" if len(value) == self.vertices else None


def drawn(begin: Array, end: Array, size: int, rng: np.random.Generator) -> tuple[Array, Array]:
    """Of each run of numbers `size` (-1 for all), one run's after the other's; and how many these are of each."""
    total = end - begin
    most = int(total.max(initial=0))
    size = most if size < 0 else min(size, most)
    count = np.minimum(total, size)
    start = count.cumsum() - count
    out = np.arange(count.sum()) + np.repeat(begin - start, count)
    more = np.flatnonzero(total > size)
    if len(more):
        out[start[more] + np.arange(size)[:, None]] = begin[more] + subsets(total[more], size, rng)
    return out, count


def subsets(total: Array, size: int, rng: np.random.Generator) -> Array:
    """(size, N) different numbers below each total (N,), each set of them as likely as another: Floyd's method."""
    out = np.empty((size, len(total)), np.int64)
    for i, chance in enumerate(rng.random(out.shape)):
        last = total - size + i
        one = (chance * (last + 1)).astype(np.int64)
        out[i] = np.where((out[:i] == one).any(0), last, one)
    return out


def shuffled(seeds: Array, size: int, rng: np.random.Generator) -> list[Array]:
    """In an order drawn, and in ceil(N / size) parts."""
    return np.array_split(rng.permutation(seeds), -(-len(seeds) // size)) if len(seeds) else []


class Sampled:
    """Training graphs that are taken in parts about the vertices that count, drawn anew each epoch.

    Of what a model needs, what is one a vertex is cut out of that of the whole; all else is evaluated on the part.
    """

    def __init__(self, model: nn.Module, graphs: Sequence[Any], whole: Prepared, sizes: Sequence[int]):
        self.whole, self.plan, self.dtype = whole, whole.plan, place_of(model)[0]
        self.cut, self.rest = split(self.plan)
        needed = {"edge_index"}.union(*(step.reaches for step in self.rest.roots.values()))
        self.samplers = [NeighbourSampler(_only(needed, graph), sizes) for graph in graphs]
        self.seeds = [mask_of(graph).cpu().nonzero()[:, 0].numpy() for graph in graphs]

    def batches(self, size: int, seed: int) -> Iterator[Batch]:
        """One epoch's; each is of one graph."""
        rng = np.random.default_rng(seed)
        cuts = [(i, some) for i, seeds in enumerate(self.seeds) for some in shuffled(seeds, size, rng)]
        return (self._batch(*cuts[number], rng) for number in rng.permutation(len(cuts)))  # type: ignore[call-arg]

    @torch.no_grad()  # as what `fit` prepares
    def _batch(self, place: int, seeds: Array, rng: np.random.Generator) -> Batch:
        whole, y = self.whole.samples[place], self.whole.targets[place]
        part = self.samplers[place]._cut(seeds, rng)
        try:
            sample, rows = evaluate_plan(self.rest, part, self.dtype), move(part.n_id, y.device)
        except CotanError as reason:  # of what the whole has passed
            raise CotanError(
                f"sample: of a part, whose vertices are numbered anew, {reason}. -1 draws all neighbours, as the whole has"
            ) from reason
        sample.update({name: whole[name].index_select(0, rows) for name in self.cut})
        values = {name: move(value, y.device) for name, value in collate_samples(self.plan, [sample]).items()}
        return Batch(values, y.index_select(0, rows), torch.arange(len(seeds), device=y.device), len(seeds))


def check_sizes(what: str, sizes: Any) -> tuple[int, ...]:
    """How many neighbours each hop draws, as plain numbers."""
    listed = isinstance(sizes, Sequence) and not isinstance(sizes, str) and len(sizes) > 0
    if not listed or any(
        isinstance(s, bool) or not isinstance(s, SupportsIndex) or int(s) < -1 or s == 0 for s in sizes
    ):
        raise CotanError(f"{what}={sizes!r}, expected how many neighbours each hop draws, as (15, 10); -1 for all")
    return tuple(map(int, sizes))


def split(plan: Plan) -> tuple[list[str], Plan]:
    """The roots that are cut out of those of the whole, and a plan of the rest. Raise for what is not to be had of a part."""
    cut = [name for name, step in plan.roots.items() if step.per == "vertex" and not (step.index or step.vertices_of)]
    rest = Plan({name: step for name, step in plan.roots.items() if name not in cut})
    for step in rest.steps:
        if step.name == "spectrum":
            raise CotanError(
                "sample: a part's eigenvectors are not the graph's; of node 'spectrum' only features can be made"
            )
        if step.definition is not None and "pos" in step.reaches and "edge_index" not in step.reaches:
            raise CotanError(f"sample: node {step.label!r} is made of all points, and a part has only some of them")
    return cut, rest


def check_sampled(model: nn.Module, task: str, graphs: Sequence[Any], augment: Sequence[Any]) -> None:
    """Raise for what `fit` cannot take in parts, before anything is prepared."""
    if registry.lookup("task", task).target.per != "vertex":
        raise CotanError(f"sample is for tasks with targets at vertices; task {task!r} has one a shape")
    if augment:
        raise CotanError("sample and augment do not go together: neighbours are drawn anew each epoch in any case")
    for graph in graphs:
        check_graph(graph)
    split(model_plan(model, common_sources(graphs)))


def too_deep(model: nn.Module, sizes: Sequence[int]) -> str:
    """That a stack's layers look further than neighbours are drawn, in a line."""
    own = registry.unwrapped(model)
    if not sizes or not isinstance(own, Stack) or len(own.layers) <= len(sizes):
        return ""
    seen = f"sample={sizes} draws {len(sizes)} hops: training sees less than val and test"
    return f"the model has {len(own.layers)} layers, and {seen}"


def check_graph(data: Any) -> None:
    """Raise for what has no neighbours to draw, and for vertex numbers, which would be wrong in a part."""
    check_data(data)
    have = sources_of(data)
    if "face" in have or "edge_index" not in have:
        what = "a mesh" if "face" in have else f"has {', '.join(sorted(have - COUNTED)) or 'nothing'}"
        raise CotanError(f"neighbours are drawn along the edges of a graph, its edge_index; this is {what}")
    for name in have - COUNTED:
        check_source(name, data[name], data)
        declared = SOURCES.get(name)
        numbered = declared.index == "vertex" if declared else isinstance(data[name], Tensor) and "index" in name
        if numbered and name != "edge_index":
            raise CotanError(
                f"{name} holds vertex numbers, and a part of the graph has others: neighbours cannot be drawn"
            )
        if declared and declared.per == "edge" and name != "edge_index" and len(data[name]) != data.edge_index.shape[1]:
            raise CotanError(
                f"{name} has {len(data[name])} rows, expected one for each of {data.edge_index.shape[1]} edges"
            )


def _only(names: set[str], graph: Any) -> Any:
    from torch_geometric.data import Data

    return Data(num_nodes=number_of_vertices(graph), **{name: graph[name] for name in names - COUNTED})
