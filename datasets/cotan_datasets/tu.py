"""The TU collection (Morris et al. 2020): sets of small graphs with classes or numbers, evaluated by cross-validation."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cotan
from cotan.errors import one_of

from .raw import raw_folder
from .tu_files import Raw, one_hot, read_raw

NODES = ("labels", "attributes", "degree", "ones")
VALS = ("train", "test")


@cotan.dataset("tu")
def tu(
    *,
    name: str = "MUTAG",
    root: str = "",
    fold: int = 0,
    folds: int = 10,
    seed: int = 0,
    indices: str = "",
    nodes: str = "labels",
    val: str = "train",
) -> cotan.Splits:
    """One fold of a set of graphs: it is the test, all others train. edge_attr is the one-hot edge labels, if any.

    A set with graph_attributes and no graph_labels, such as ZINC_full, is for the task "regress".

    Arguments:
        name: MUTAG, PROTEINS, NCI1, IMDB-BINARY ...
        root: the folder of the raw files NAME_A.txt, ...; by default they are downloaded to the cache.
        fold, folds, seed: which of how many; graphs are dealt to folds by the seed, each class evenly.
        indices: instead of these, the numbers (from 0) of the graphs to test: a text file, or a folder of files
            test_idx-1.txt to test_idx-10.txt, of which `fold` names one, as Xu et al. 2019 give them.
        nodes: what x is. "labels": one-hot node labels; where a set has none, attributes, and without these degrees.
            "attributes": the numbers a node has, then its labels; edge_attr begins with those of edges, too. "degree":
            one-hot. "ones", as Xu et al. 2019 have it for the REDDIT sets, whose degrees are of many hundred values.
        val: "train" leaves it to training to cut one from train. "test" makes the test fold the val as well: for the
            protocol of Xu et al. 2019, where the epoch is the best of the mean over folds. It selects on test.
    """
    from torch_geometric.datasets import TUDataset

    one_of("nodes of tu", nodes, NODES)
    one_of("val of tu", val, VALS)
    files = [f"{name}_A.txt", f"{name}_graph_indicator.txt", f"{name}_graph_labels.txt or {name}_graph_attributes.txt"]
    folder = raw_folder("tu", name, files, root=root, fetch=lambda to: TUDataset(to, name), source=TUDataset.url)
    raw = read_raw(folder, name)
    names, y = raw.graph_labels.unique(return_inverse=True)  # (G, 1)
    task = "classify" if len(y) else "regress"
    if task == "classify" and y.shape[1] != 1:
        raise cotan.CotanError(f"tu: {name}_graph_labels.txt has {y.shape[1]} labels a graph, expected one")
    y = y[:, 0] if len(y) else raw.graph_attributes.float()
    graphs = _graphs(raw, y, nodes)
    classes_of = y if task == "classify" else torch.zeros(len(y))
    chosen = _listed(indices, fold, len(graphs)) if indices else stratified(classes_of, folds, seed, fold)
    within = set(chosen.tolist())
    test = [graphs[i] for i in chosen.tolist()]
    train = [graph for i, graph in enumerate(graphs) if i not in within]
    classes = tuple(f"{value:.17g}" for value in names.tolist())
    return cotan.Splits(train, test if val == "test" else [], test, classes=classes, task=task)


def stratified(y: Tensor, folds: int, seed: int, fold: int) -> Tensor:
    """Places of a fold of labels y (N,): a permutation by the seed, sorted by class, is dealt like cards."""
    if not (isinstance(folds, int) and 2 <= folds <= len(y) and isinstance(fold, int) and 0 <= fold < folds):
        raise cotan.CotanError(
            f"tu: fold={fold!r} of folds={folds!r}, expected 2 to {len(y)} folds and one of them, from 0"
        )
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    dealt = order[y[order].argsort(stable=True)]
    return dealt[fold::folds].sort().values


def _graphs(raw: Raw, y: Tensor, nodes: str) -> list[Any]:
    from torch_geometric.data import Data

    first = raw.sizes.cumsum(0) - raw.sizes
    graph = torch.repeat_interleave(torch.arange(len(first)), raw.sizes)[raw.edge_index[0]]
    edges = graph.bincount(minlength=len(first)).tolist()
    parts = {
        "x": _x(raw, nodes).float().split(raw.sizes.tolist()),
        "edge_index": (raw.edge_index - first[graph]).split(edges, 1),
        "y": y.split(1),
    }
    edge_attr = torch.cat([raw.edge_attributes, raw.edge_labels], 1) if nodes == "attributes" else raw.edge_labels
    if edge_attr.shape[1]:
        parts["edge_attr"] = edge_attr.float().split(edges)
    return [Data(**{key: part[i].clone() for key, part in parts.items()}) for i in range(len(first))]


def _x(raw: Raw, nodes: str) -> Tensor:
    attributes, labels = raw.node_attributes, raw.node_labels
    if nodes == "attributes":
        if not attributes.shape[1] and not raw.edge_attributes.shape[1]:
            there = [kind for kind in NODES if kind != nodes and (kind != "labels" or labels.shape[1])]
            raise cotan.CotanError(
                f"tu: nodes='attributes', but nodes and edges of this set have none; there is: {', '.join(there)}"
            )
        labels = torch.cat([attributes, labels], 1)
    if nodes == "ones":
        return torch.ones(len(labels), 1)
    if nodes in ("labels", "attributes") and (labels.shape[1] or attributes.shape[1]):
        return labels if labels.shape[1] else attributes
    degree = raw.edge_index[0].bincount(minlength=len(labels))
    return one_hot(degree)


def _listed(indices: str, fold: int, count: int) -> Tensor:
    path = Path(indices).expanduser()
    file = path / f"test_idx-{fold + 1}.txt" if path.is_dir() else path
    try:
        numbers = [int(word) for word in file.read_text("utf-8-sig").split()]
    except (OSError, ValueError) as reason:
        raise cotan.CotanError(f"tu: indices={indices!r}: {file} is no list of whole numbers: {reason}") from reason
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0 or max(numbers) >= count:
        raise cotan.CotanError(f"tu: {file} has {len(numbers)} numbers, expected different ones from 0 to {count - 1}")
    return torch.tensor(sorted(numbers))
