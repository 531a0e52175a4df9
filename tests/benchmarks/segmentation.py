"""Runs of the suite human_seg on its test bodies, by the three protocols whose numbers are not the same thing.

vertices: the share of vertices with the label that most of the edges around them have.
edges: the share of edges with their label; the output at an edge is the mean of that at its ends.
soft: as Hanocka et al. 2019 count. An edge is right if its label is among those of the faces around it, and weighs the area
    of a third of each of these; the mean over shapes of the share that is right.

python tests/benchmarks/segmentation.py [runs/human_seg]: the folder of `cotan bench`; needs COTAN_DATA.
"""

import json
import os
import sys
from pathlib import Path

import torch
from torch import Tensor

import cotan
from cotan_datasets.labels import edges_of, read_soft

PROTOCOLS = ("vertices", "edges", "soft")


def edge_shares(pos: Tensor, face: Tensor) -> Tensor:
    """(E,) a third of the area of the faces around each edge, over the whole."""
    a, b, c = pos[face].double()
    area = torch.linalg.cross(b - a, c - a).norm(dim=1)
    size = len(pos)
    low, high = edges_of(face)
    number = torch.full((size * size,), -1)
    number[low * size + high] = torch.arange(len(low))
    shares = area.new_zeros(len(low))
    for i, j in zip(face, face.roll(-1, 0)):
        shares.index_add_(0, number[torch.minimum(i, j) * size + torch.maximum(i, j)], area / 3)
    return shares / area.sum()


def judge(model: torch.nn.Module, root: Path, by_vertex: list, by_edge: list) -> dict[str, float]:
    right: dict[str, list[Tensor]] = {name: [] for name in PROTOCOLS}
    for shape, other in zip(by_vertex, by_edge, strict=True):
        assert shape.path == other.path
        with torch.no_grad():
            output = cotan.apply(model, shape)
        label = output[other.y_index].mean(0).argmax(1)
        right["vertices"].append((output.argmax(1) == shape.y).double())
        right["edges"].append((label == other.y).double())
        soft = read_soft(Path(shape.path), root, len(label))
        there = (soft > 0).gather(1, label[:, None])[:, 0]
        right["soft"].append((there * edge_shares(shape.pos, shape.face)).sum()[None])
    return {name: float(torch.cat(found).mean()) for name, found in right.items()}


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/human_seg")
    root = Path(os.environ["COTAN_DATA"]) / "human_seg"
    shapes = [cotan.load_dataset("folder", root=str(root), votes=votes, split="test") for votes in (True, False)]
    rows = [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]
    for name in dict.fromkeys(row["model"] for row in rows):
        found = [
            judge(cotan.Run.load(folder / row["run"]).model, root, *shapes) for row in rows if row["model"] == name
        ]
        print(name, f"({len(found)} seeds)", end="")
        for protocol in PROTOCOLS:
            values = 100 * torch.tensor([f[protocol] for f in found], dtype=torch.float64)
            print(f"  {protocol}: {values.mean():.2f} ± {values.std(correction=0):.2f}", end="")
        print()


if __name__ == "__main__":
    main()
