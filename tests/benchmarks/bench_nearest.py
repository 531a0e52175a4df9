"""One nearest neighbour on voxels: what a network that sees voxels has to beat.

    COTAN_DATA=FOLDER python tests/benchmarks/bench_nearest.py shrec11 resolution=24 fill=solid

The label of a test shape is that of the training shape with the fewest voxels of another value.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

import cotan


def main(name: str, *settings: str) -> None:
    options = {key: int(value) if value.isdigit() else value for key, value in (s.split("=") for s in settings)}
    data = cotan.load_dataset("folder", root=Path(os.environ["COTAN_DATA"]) / name)
    known, asked = (
        torch.stack([cotan.compute(shape, "voxels", **options).flatten() for shape in part])
        for part in (data.train, data.test)
    )
    label, truth = (torch.tensor([int(shape.y) for shape in part]) for part in (data.train, data.test))
    found = label[torch.cdist(asked, known, p=1).argmin(1)]
    print(f"{name} {options}: {(found == truth).double().mean():.1%} of {len(truth)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
