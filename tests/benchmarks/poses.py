"""The demo's models on ten times its test shapes of `poses`: 20 of them, as in `make demo`, rank nothing.

Train (60 shapes) and val (20) are the demo's, for each seed of the data; the test is 200 individuals of the same kind, the
first 2 of each class those of the demo.

    python tests/benchmarks/poses.py                        # all models: about half an hour
    python tests/benchmarks/poses.py voxel multiview toric  # by label
"""

from __future__ import annotations

import sys

import torch

import cotan
from cotan.suite import Suite
from cotan.training.recipe import node_of
from cotan_datasets.creatures import CLASSES
from cotan_datasets.poses import creature

DATA, SEEDS = range(3), range(3)


def load(seed: int, options: dict) -> object:
    data = cotan.load_dataset("poses", **options, seed=seed, stress=[])
    data.test = [
        creature(name, (seed, 2, i), vertices=options["vertices"], bend=(0.0, 0.5))
        for name in CLASSES
        for i in range(20)
    ]
    return data


def main(*labels: str) -> None:
    suite = Suite.read("demo").only(labels)
    dataset = next(entry for entry in suite.datasets if entry.name == "poses")
    loaded = [load(seed, dict(dataset.options)) for seed in DATA]
    for entry in suite.models_on(dataset):
        features = entry.features and [node_of(feature) for feature in entry.features]
        found = []
        for data in loaded:
            for seed in SEEDS:
                model = cotan.model_for(entry.name, data, features=features, seed=seed, **entry.options)
                run = cotan.fit(model, data, suite.recipe_of(entry, seed), progress="none")
                found.append(100 * run.metrics["test_accuracy"])
        mean = torch.tensor(found).view(len(DATA), len(SEEDS)).mean(1)
        shown = f"{torch.tensor(found).mean():.1f} ± {torch.tensor(found).std(correction=0):.1f}"
        print(f"{entry.label:18} {shown}; by data {mean.numpy().round(1)}; least {min(found):.1f}", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
