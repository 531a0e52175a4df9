"""The TU collection (Morris et al. 2020): sets of small graphs, each with a class, evaluated by cross-validation."""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import cotan
from cotan.errors import unknown

from .raw import raw_folder

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

    Arguments:
        name: MUTAG, PROTEINS, NCI1, IMDB-BINARY ...
        root: the folder of the raw files NAME_A.txt, ...; by default they are downloaded to the cache.
        fold, folds, seed: which of how many; graphs are dealt to folds by the seed, each class evenly.
        indices: instead of these, the numbers (from 0) of the graphs to test: a text file, or a folder of files
            test_idx-1.txt to test_idx-10.txt, of which `fold` names one, as Xu et al. 2019 give them.
        nodes: what x is. "labels": one-hot node labels, or degrees where a set has none; "attributes": the numbers a node
            has, then its labels; "degree": one-hot; "ones".
        val: "train" leaves it to training to cut one from train. "test" makes the test fold the val as well: for the
            protocol of Xu et al. 2019, where the epoch is the best of the mean over folds. It selects on test.
    """
    from torch_geometric.datasets import TUDataset
    from torch_geometric.io import read_tu_data

    if nodes not in NODES:
        raise unknown("nodes of tu", nodes, NODES)
    if val not in VALS:
        raise unknown("val of tu", val, VALS)
    files = [f"{name}_{part}.txt" for part in ("A", "graph_indicator", "graph_labels")]
    folder = raw_folder("tu", name, files, root=root, fetch=lambda to: TUDataset(to, name), source=TUDataset.url)
    whole, slices, sizes = read_tu_data(str(folder), name)
    graphs = _graphs(whole, slices, sizes, nodes)
    y = whole.y
    chosen = _listed(indices, fold, len(graphs)) if indices else stratified(y, folds, seed, fold)
    within = set(chosen.tolist())
    test = [graphs[i] for i in chosen.tolist()]
    train = [graph for i, graph in enumerate(graphs) if i not in within]
    labels = set(re.findall(r"[^\s,]+", (folder / files[2]).read_text()))
    classes = tuple(sorted(labels, key=float))
    return cotan.Splits(train, test if val == "test" else [], test, classes=classes)


def stratified(y: Tensor, folds: int, seed: int, fold: int) -> Tensor:
    """Places of a fold of labels y (N,): a permutation by the seed, sorted by class, is dealt like cards."""
    if not (isinstance(folds, int) and 2 <= folds <= len(y) and isinstance(fold, int) and 0 <= fold < folds):
        raise cotan.CotanError(
            f"tu: fold={fold!r} of folds={folds!r}, expected 2 to {len(y)} folds and one of them, from 0"
        )
    order = torch.randperm(len(y), generator=torch.Generator().manual_seed(seed))
    dealt = order[y[order].argsort(stable=True)]
    return dealt[fold::folds].sort().values


def _graphs(whole: Any, slices: dict[str, Tensor], sizes: dict[str, int], nodes: str) -> list[Any]:
    """The graphs of PyG's one big graph, whose vertices are numbered within each already."""
    from torch_geometric.data import Data

    counts = torch.tensor(whole._num_nodes) if whole.x is None else slices["x"].diff()
    edges = slices["edge_index"].diff().tolist()
    first = torch.repeat_interleave(counts.cumsum(0) - counts, slices["edge_index"].diff())
    x = _x(whole, whole.edge_index + first, int(counts.sum()), sizes["num_node_attributes"], nodes)
    parts = {"x": x.split(counts.tolist()), "edge_index": whole.edge_index.split(edges, 1), "y": whole.y.split(1)}
    if sizes["num_edge_labels"]:
        parts["edge_attr"] = whole.edge_attr[:, sizes["num_edge_attributes"] :].split(edges)
    return [Data(**{key: part[i].clone() for key, part in parts.items()}) for i in range(len(counts))]


def _x(whole: Any, edge_index: Tensor, count: int, attributes: int, nodes: str) -> Tensor:
    if nodes == "attributes":
        if not attributes:
            raise cotan.CotanError("tu: nodes='attributes', but the nodes of this set have none; there is: labels, ...")
        return whole.x
    if nodes == "ones":
        return torch.ones(count, 1)
    if nodes == "labels" and whole.x is not None and whole.x.shape[1] > attributes:
        return whole.x[:, attributes:]
    degree = edge_index[0].bincount(minlength=count)
    values, place = degree.unique(return_inverse=True)
    return torch.nn.functional.one_hot(place, len(values)).float()


def _listed(indices: str, fold: int, count: int) -> Tensor:
    path = Path(indices).expanduser()
    file = path / f"test_idx-{fold + 1}.txt" if path.is_dir() else path
    try:
        numbers = [int(word) for word in file.read_text().split()]
    except (OSError, ValueError) as reason:
        raise cotan.CotanError(f"tu: indices={indices!r}: {file} is no list of whole numbers: {reason}") from reason
    if not numbers or len(set(numbers)) < len(numbers) or min(numbers) < 0 or max(numbers) >= count:
        raise cotan.CotanError(f"tu: {file} has {len(numbers)} numbers, expected different ones from 0 to {count - 1}")
    return torch.tensor(sorted(numbers))
