"""A suite: which models on which datasets with which seeds, from a TOML file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from . import registry
from .errors import CotanError, expect, one_of, shown
from .training import Recipe
from .training.make import check_model
from .training.recipe import node_of, read_toml
from .values import digest

MOST = 10_000  # folds of a dataset


def shipped() -> dict[str, Path]:
    """The files of the suites that come with cotan, by name."""
    return {file.stem: file for file in sorted(Path(__file__).with_name("suites").glob("*.toml"))}


@dataclass(frozen=True)
class Entry:
    """A model or a dataset of a suite.

    Attributes:
        name, options: as for `create_model` or `load_dataset`. label: what tables call it.
        features, recipe: of a model: its first signal (a name or a table {name, options...}, or a list of these), and
            what differs from the suite's recipe.
        datasets: of a model: labels of those that it is run on; all, if none are named.
        group: of one fold of a dataset: the label of all folds together, which are one table.
    """

    name: str
    label: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    features: Any = None
    recipe: Mapping[str, Any] = field(default_factory=dict)
    datasets: Sequence[str] = ()
    group: str = ""

    def __post_init__(self) -> None:
        if not self.label:
            object.__setattr__(self, "label", self.name)
        if not self.group:
            object.__setattr__(self, "group", self.label)
        if not isinstance(self.features, list | None):
            object.__setattr__(self, "features", [self.features])


@dataclass(frozen=True)
class Suite:
    """models x datasets x seeds, by one recipe.

    >>> Suite.read("demo")
    """

    models: Sequence[Entry]
    datasets: Sequence[Entry]
    name: str = "suite"
    seeds: Sequence[int] = (0,)
    recipe: Recipe = field(default_factory=Recipe)
    task: str | None = None

    def __post_init__(self) -> None:
        for entry in (*self.models, *self.datasets):
            expect("Suite", entry, Entry, "entries of its own kind; Suite.of, as bench, takes a mapping of all")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Suite:
        """From a TOML file: [[models]] and [[datasets]] with name, label, options..., seeds, and a table [recipe].

        Without `.toml`, one that comes with cotan, by its name.

        `folds = 10` in a dataset stands for ten, with the options fold = 0 to 9.
        """
        expect(
            "suite", path, str | os.PathLike, "a Suite, a mapping, a TOML file or the name of one that comes with cotan"
        )
        file = Path(path)
        if not file.suffix and not os.path.isfile(file):
            one_of("suite", str(path), known := shipped())
            file = known[str(path)]
        return cls.of({"name": file.stem, **read_toml(file, "suite")}, str(file))

    @classmethod
    def of(cls, content: Mapping[str, Any], where: str = "suite") -> Suite:
        """From a mapping with the keys of the file."""
        expect(where, content, Mapping, "a mapping")
        known = ("name", "seeds", "task", "recipe", "models", "datasets")
        for key in content:
            one_of(f"key of {where}", key, known)
        seeds = content.get("seeds", (0,))
        if not isinstance(seeds, list | tuple):
            raise CotanError(f"{where}: seeds={seeds!r}, expected a list of whole numbers, such as [0, 1, 2]")
        suite = cls(
            models=_entries(content.get("models"), "models", where),
            datasets=_entries(content.get("datasets"), "datasets", where),
            name=str(content.get("name", "suite")),
            seeds=tuple(seeds),
            recipe=Recipe.of(content.get("recipe")),
            task=content.get("task"),
        )
        suite.check(where)
        return suite

    def check(self, where: str = "suite") -> None:
        """Raise for what is not there, before anything is computed."""
        if Path(self.name).name != self.name:
            raise CotanError(f"{where}: name={self.name!r}, expected one word: it names the folder of the results")
        for label in (self.name, *(entry.label for entry in (*self.models, *self.datasets))):
            if shown(label) != label or "\n" in label:
                raise CotanError(f"{where}: {label!r} has control characters, and stands in tables")
        for kind, entries in (("models", self.models), ("datasets", self.datasets)):
            if not entries:
                raise CotanError(f"{where} has no {kind}")
        groups = {"datasets": self.datasets, **{f"models on {d.label}": self.models_on(d) for d in self.datasets}}
        for what, group in groups.items():
            labels = [entry.label for entry in group]
            twice = {label for label in labels if labels.count(label) > 1}
            if twice:
                raise CotanError(f"{where}: two {what} have the label {twice.pop()!r}")
        different = len(set(self.seeds)) == len(self.seeds) > 0
        if not different or not all(isinstance(seed, int) and seed >= 0 for seed in self.seeds):
            raise CotanError(f"{where}: seeds={list(self.seeds)}, expected different whole numbers, zero or more")
        for entry in self.models:
            check_model(entry.name, entry.options)
            for label in entry.datasets:
                one_of(f"dataset of {entry.label!r} in {where}", label, {dataset.group for dataset in self.datasets})
            if "val_share" in entry.recipe:
                raise CotanError(f"{where}: val_share is one for all models, in [recipe]; {entry.label!r} has its own")
            if "seed" in entry.recipe or self.recipe.seed:
                raise CotanError(f"{where}: the recipe has a seed of its own, where a suite has seeds = [0, 1, 2]")
            Recipe.of(self.recipe, **entry.recipe)
        for entry in self.datasets:
            registry.check_options(registry.lookup("dataset", entry.name), entry.options)
        if self.task is not None:
            registry.lookup("task", self.task)

    def only(self, models: Sequence[str] = (), seeds: Sequence[int] = ()) -> Suite:
        """The part with some models, by label, their datasets, and some seeds; all of them, if none are named."""
        expect("models", models, list | tuple, "a list of labels")
        expect("seeds", seeds, list | tuple, "a list of whole numbers")
        known = [entry.label for entry in self.models]
        for label in models:
            one_of(f"model of suite {self.name!r}", label, known)
        for seed in seeds:
            if seed not in self.seeds:
                raise CotanError(f"suite {self.name!r} has no seed {seed}; it has {', '.join(map(str, self.seeds))}")
        entries = [entry for entry in self.models if not models or entry.label in models]
        part = replace(self, models=entries)
        used = [dataset for dataset in self.datasets if part.models_on(dataset)]
        return replace(part, datasets=used, seeds=[seed for seed in self.seeds if not seeds or seed in seeds])

    def models_on(self, dataset: Entry) -> list[Entry]:
        return [model for model in self.models if not model.datasets or dataset.group in model.datasets]

    def each(self) -> list[tuple[Entry, Entry, int]]:
        """(dataset, model, seed) of every result."""
        return [(d, model, seed) for d in self.datasets for model in self.models_on(d) for seed in self.seeds]

    def recipe_of(self, model: Entry, seed: int) -> Recipe:
        return Recipe.of(self.recipe, **{**model.recipe, "seed": seed})

    def key(self, dataset: Entry, model: Entry, seed: int) -> str:
        """A result's address: of all that it depends on, but for the versions; of code only what a notebook or script defines."""
        parts = [dataset.name, dict(dataset.options), model.name, dict(model.options), model.features, self.task]
        layers = [("layer", model.name), ("layer", model.options.get("layer", ""))]
        features = [("operator", node_of(f).name) for f in model.features or ()]
        named = [("dataset", dataset.name), ("model", model.name), *layers, *features]
        found = [d for kind, name in named if registry.has(kind, name) for d in registry.variants(kind, name)]
        own = [d.code() for d in found if d.code is not None and d.origin.startswith("__main__.")]
        return digest([*parts, self.recipe_of(model, seed).record(), *own])[:16]

    def data_key(self, dataset: Entry, seed: int) -> str:
        """The address of what a dataset's splits depend on, but for the files that it reads."""
        return digest([dataset.name, dict(dataset.options), self.recipe.val_share, seed])[:16]


_KINDS = {
    "label": (str, "text"),
    "options": (Mapping, "a table { name = value }"),
    "recipe": (Mapping, "a table { name = value }"),
    "datasets": (list | tuple, "a list of labels"),
}


def _entries(content: Any, what: str, where: str) -> tuple[Entry, ...]:
    if content is None:
        return ()
    if not isinstance(content, list):
        raise CotanError(f"{where}: {what} is a list of names or of tables [[{what}]]")
    known = ("name", "label", "options", *(("features", "recipe", "datasets") if what == "models" else ("folds",)))
    out = []
    for given in content:
        if not isinstance(given, str | Mapping):
            raise CotanError(f"{where}: {what} is a list of names or of tables [[{what}]]; one is {given!r}")
        table: dict[str, Any] = {"name": given} if isinstance(given, str) else dict(given)
        for key, value in table.items():
            one_of(f"key of [[{what}]] in {where}", key, known)
            kind, words = _KINDS.get(key, (object, ""))
            if not isinstance(value, kind):
                raise CotanError(f"{where}: {key}={value!r} in [[{what}]], expected {words}")
        if not isinstance(table.get("name"), str):
            raise CotanError(f"{where}: an entry of {what} has no name")
        folds = table.pop("folds", None)
        if folds is None:
            out.append(Entry(**table))
            continue
        if not isinstance(folds, int) or not 2 <= folds <= MOST:
            raise CotanError(
                f"{where}: folds={folds!r} of {table['name']!r}, expected a whole number from 2 to {MOST:,}"
            )
        whole = Entry(**table)
        for fold in range(folds):
            options = {**whole.options, "folds": folds, "fold": fold}
            out.append(replace(whole, label=f"{whole.label} fold {fold}", options=options))
    return tuple(out)
