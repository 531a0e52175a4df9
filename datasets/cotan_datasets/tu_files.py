"""The raw files of the TU collection (Morris et al. 2020): lists of numbers, a line for each node, edge or graph."""

import warnings
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

import cotan


class Raw(NamedTuple):
    """All graphs of a set, G of them with V vertices and E edges; what a set has no file for has no columns.

    Attributes:
        sizes: (G,) vertices of each. edge_index: (2, E), numbered through all graphs, each edge once and no self-loops.
        node_labels, edge_labels: one-hot, (V, L) and (E, L). node_attributes, edge_attributes: (V, A), (E, A).
        graph_labels: (G, 1); graph_attributes: (G, D).
    """

    sizes: Tensor
    edge_index: Tensor
    node_labels: Tensor
    node_attributes: Tensor
    edge_labels: Tensor
    edge_attributes: Tensor
    graph_labels: Tensor
    graph_attributes: Tensor


def read_raw(folder: Path, name: str) -> Raw:
    """The files NAME_A.txt, NAME_graph_indicator.txt ... of a folder."""
    from torch_geometric.utils import coalesce, remove_self_loops

    def part(what: str, rows: int | None = None) -> Tensor:
        return _numbers(folder / f"{name}_{what}.txt", rows)

    graph = _whole(part("graph_indicator"), f"{name}_graph_indicator.txt")[:, 0] - 1
    edges = _whole(part("A"), f"{name}_A.txt")
    if len(edges) and edges.shape[1] != 2:
        raise cotan.CotanError(
            f"tu: {name}_A.txt has {edges.shape[1]} numbers a line, expected the two nodes of an edge"
        )
    edges = edges.reshape(-1, 2) - 1
    if len(graph) and (int(graph[0]) < 0 or bool((graph.diff() < 0).any())):
        raise cotan.CotanError(f"tu: {name}_graph_indicator.txt: expected graphs from 1, the nodes of each together")
    if len(edges) and (int(edges.min()) < 0 or int(edges.max()) >= len(graph)):
        raise cotan.CotanError(
            f"tu: {name}_A.txt: nodes {int(edges.min()) + 1} to {int(edges.max()) + 1}, expected 1 to {len(graph)}"
        )
    across = (graph[edges[:, 0]] != graph[edges[:, 1]]).nonzero()[:, 0]
    if len(across):
        raise cotan.CotanError(
            f"tu: {name}_A.txt: {len(across)} edges join two graphs, the first in line {across[0] + 1}"
        )
    labels, attributes = part("graph_labels"), part("graph_attributes")
    count = int(graph[-1]) + 1 if len(graph) else 0
    for file, of in {"graph_labels": labels, "graph_attributes": attributes}.items():
        if len(of) != count and (of.shape[1] or not max(len(labels), len(attributes))):
            raise cotan.CotanError(f"tu: {name} has nodes of {count} graphs, but {name}_{file}.txt has {len(of)} lines")
    edge_labels = _one_hot(part("edge_labels", len(edges)), f"{name}_edge_labels.txt")
    both = torch.cat([part("edge_attributes", len(edges)), edge_labels], 1)
    edge_index, both = remove_self_loops(edges.T.contiguous(), both)
    edge_index, both = coalesce(edge_index, both, len(graph), reduce="mean")
    own = both.shape[1] - edge_labels.shape[1]
    return Raw(
        graph.bincount(minlength=count),
        edge_index,
        _one_hot(part("node_labels", len(graph)), f"{name}_node_labels.txt"),
        part("node_attributes", len(graph)),
        both[:, own:],
        both[:, :own],
        labels,
        attributes,
    )


def _numbers(path: Path, rows: int | None) -> Tensor:
    """(N, D) in float64; no columns where there is no such file. `rows` is how many there should be."""
    path = path if path.exists() else path.with_name(f"{path.name}.gz")
    if not path.exists():
        return torch.zeros(rows or 0, 0, dtype=torch.float64)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*input contained no data")  # a set without edges
            values = np.loadtxt(path, delimiter=",", ndmin=2, comments=None, encoding="utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as reason:  # the others of .gz
        raise cotan.CotanError(f"tu: {path} is no table of numbers: {reason}") from reason
    if rows is not None and len(values) != rows:
        raise cotan.CotanError(f"tu: {path} has {len(values)} lines, expected {rows}")
    return torch.from_numpy(values)


def _whole(values: Tensor, name: str) -> Tensor:
    if bool((values != values.round()).any()):
        raise cotan.CotanError(f"tu: {name} holds something else than whole numbers")
    return values.long()


def _one_hot(values: Tensor, name: str) -> Tensor:
    """(N, L) side by side for the columns of labels (N, D), each as wide as it has different values."""
    columns = [one_hot(column) for column in _whole(values, name).unbind(1)]
    return torch.cat([values[:, :0].float(), *columns], 1)


def one_hot(labels: Tensor) -> Tensor:
    """(N, L) for labels (N,), a column for each different value."""
    values, place = labels.unique(return_inverse=True)
    return torch.zeros(len(labels), len(values)).scatter_(1, place[:, None], 1)
