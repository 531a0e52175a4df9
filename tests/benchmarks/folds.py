"""A suite of folds by two protocols, whose numbers are not the same thing.

nested: each fold's epoch is chosen on a val that is cut from its train; its test fold is used once.
paper: as in Xu et al. 2019, all other folds train, and one epoch for all folds is chosen: that of the best mean accuracy
    over the folds that are tested. It is chosen on what is reported, so it is an upper bound.

python tests/benchmarks/folds.py [SUITE.toml [EPOCHS]], mutag's by default; results are kept in runs/, as by `cotan bench`.
"""

import json
import sys
import tomllib
from pathlib import Path

import torch

import cotan
from cotan.suite import shipped


def of(content: dict, val: str) -> cotan.Table:
    """The suite's table with the option `val` of each dataset."""
    datasets = [{**entry, "options": {**entry["options"], "val": val}} for entry in content["datasets"]]
    name = f"{content['name']}-{'nested' if val == 'train' else 'paper'}"
    return cotan.bench({**content, "name": name, "datasets": datasets})


def paper(curves: torch.Tensor) -> tuple[int, float, float]:
    """The first epoch, from 1, with the best mean of the curves (folds, epochs); mean and deviation over folds there."""
    best = int(curves.mean(0).argmax())
    return best + 1, float(curves[:, best].mean()), float(curves[:, best].std(correction=0))


def curves(table: cotan.Table, rows: list[dict]) -> torch.Tensor:
    files = [(table.folder / row["run"] / "metrics.jsonl").read_text().splitlines() for row in rows]
    return torch.tensor([[json.loads(line)["val_accuracy"] for line in lines] for lines in files], dtype=torch.float64)


def main() -> None:
    content = tomllib.loads((Path(sys.argv[1]) if len(sys.argv) > 1 else shipped()["mutag"]).read_text())
    if len(sys.argv) > 2:
        content["recipe"]["epochs"] = int(sys.argv[2])
    one, two = of(content, "train"), of(content, "test")
    for model in dict.fromkeys(row["model"] for row in one.rows):
        own = [[row for row in table.rows if row["model"] == model] for table in (one, two)]
        mean, deviation = one.cell(own[0][0]["dataset"], model, "test_accuracy")
        print(f"{model}  nested: {mean:.3f} ± {deviation:.3f} over {len(own[0])} folds")
        epoch, mean, deviation = paper(curves(two, own[1]))
        print(f"{model}  paper (chosen on test): {mean:.3f} ± {deviation:.3f} at epoch {epoch}")


if __name__ == "__main__":
    main()
