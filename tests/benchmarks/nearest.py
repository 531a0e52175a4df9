"""One nearest neighbour on voxels: what a network that sees voxels has to beat.

    COTAN_DATA=FOLDER python tests/benchmarks/nearest.py shrec11 resolution=12 samples=4 normalize=sphere padding=-2

The label of a test shape is that of the training shape whose voxels differ least: in the sum of the differences, and of
their squares (for voxels that are 0 or 1 both count those of another value).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import torch

import cotan


def main(name: str, *settings: str) -> None:
    options = {
        key: int(value) if value.lstrip("-").isdigit() else value for key, value in (s.split("=") for s in settings)
    }
    data = cotan.load_dataset("folder", root=Path(os.environ["COTAN_DATA"]) / name)
    known, asked = (
        torch.stack([cotan.compute(shape, "voxels", **options).flatten() for shape in part])
        for part in (data.train, data.test)
    )
    label, truth = (torch.tensor([int(shape.y) for shape in part]) for part in (data.train, data.test))
    for p in (1, 2):
        found = label[torch.cdist(asked, known, p=p).argmin(1)]
        print(f"{name} {options}, p = {p}: {(found == truth).double().mean():.1%} of {len(truth)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
