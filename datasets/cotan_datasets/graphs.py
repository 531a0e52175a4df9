"""Random graphs whose classes are known: the stochastic block model."""

import torch

import cotan


@cotan.dataset("blocks")
def blocks(
    *,
    nodes: int = 400,
    classes: int = 4,
    inside: float = 0.1,
    between: float = 0.01,
    features: int = 8,
    signal: float = 0.5,
    labelled: int = 10,
    seed: int = 0,
) -> cotan.Splits:
    """One graph: an edge has probability `inside` within a class and `between` across two; a class for each node.

    x (V, features) is a random direction of the class times `signal`, plus unit Gaussian noise: alone it says little.
    `labelled` nodes of each class are for training, the others half for val and half for test, as masks.
    """
    from torch_geometric.data import Data

    if classes < 2 or nodes < classes * (labelled + 2) or not 0 <= between <= 1 or not 0 <= inside <= 1:
        raise cotan.CotanError(
            "blocks: expected two classes or more, nodes >= classes * (labelled + 2) and probabilities in [0, 1], "
            f"got nodes={nodes}, classes={classes}, labelled={labelled}, inside={inside}, between={between}"
        )
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(nodes) % classes
    a, b = torch.triu_indices(nodes, nodes, offset=1)
    chance = torch.where(y[a] == y[b], inside, between)
    there = torch.rand(len(a), generator=generator) < chance
    edge = torch.stack([a[there], b[there]])
    edge_index = torch.cat([edge, edge.flip(0)], 1)
    edge_index = edge_index[:, (edge_index[0] * nodes + edge_index[1]).argsort()]
    directions = torch.nn.functional.normalize(torch.randn(classes, features, generator=generator), dim=1)
    x = signal * directions[y] + torch.randn(nodes, features, generator=generator)

    part = torch.empty(nodes, dtype=torch.long)
    for label in range(classes):
        own = (y == label).nonzero()[:, 0]
        own = own[torch.randperm(len(own), generator=generator)]
        part[own[:labelled]] = 0
        part[own[labelled : labelled + (len(own) - labelled) // 2]] = 1
        part[own[labelled + (len(own) - labelled) // 2 :]] = 2
    train, val, test = ([Data(x=x, edge_index=edge_index, y=y, mask=part == i, num_nodes=nodes)] for i in range(3))
    return cotan.Splits(train, val, test, classes=tuple(f"block {i}" for i in range(classes)), task="label")
