"""Plans: the smallest part of the graph that some requests need.

Resolving turns requests into steps: a variant is chosen, options are filled in, inputs are found by parameter name.
Steps with the same identity are one step, however many models ask for it; each is evaluated once.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cached_property
from typing import Any

from . import registry
from .errors import CotanError, expect, unknown
from .nodes import COUNTED, SOURCES, Node, Request, as_node, as_nodes, of_one_basis


@dataclass(frozen=True, eq=False)
class Step:
    """A resolved node. `definition` is None for a source; `domain` is the step whose `Data` the sources come from."""

    name: str
    definition: registry.Definition | None
    options: Mapping[str, Any]
    inputs: Mapping[str, Step]
    domain: Step | None
    identity: str
    vertices_of: Step | None  # the domain that the value's vertices belong to: `domain` but for augmentations
    transient: bool  # below a random augmentation: stays in memory

    def __repr__(self) -> str:
        return f"<step {self.label}>"

    @property
    def per(self) -> str | None:
        return getattr(self.definition or SOURCES.get(self.name), "per", None)

    @property
    def index(self) -> str | None:
        return getattr(self.definition or SOURCES.get(self.name), "index", None)

    @property
    def recounts(self) -> bool:
        """Whether it is an augmentation after which there are other vertices."""
        return self.definition is not None and bool(self.definition.augments) and "num_nodes" in self.definition.gives

    @property
    def parents(self) -> list[Step]:
        return [*self.inputs.values(), *([self.domain] if self.domain is not None and self.definition is None else [])]

    @cached_property
    def reaches(self) -> frozenset[str]:
        """The sources of the data itself that the value depends on."""
        if self.definition is None and self.domain is None:
            return frozenset([self.name])
        return frozenset().union(*(parent.reaches for parent in self.parents))

    @cached_property
    def kin(self) -> str:
        """A digest that is the same for steps which differ in options alone."""
        assert self.definition is not None
        inputs = {name: parent.identity for name, parent in self.inputs.items()}
        return digest_of([self.name, dict(self.definition.variant), self.definition.edition, inputs])

    def cut_from(self, other: Step) -> Callable[[Any], Any] | None:
        """The function that cuts this value out of that of another of its kin; None if it is no part of it."""
        assert self.definition is not None
        assert self.definition.covers is not None
        return self.definition.covers(other.options, self.options)

    @cached_property
    def label(self) -> str:
        """The node in writing, with the options that are not the defaults."""
        if self.definition is None:
            return self.name
        changed = {**self.definition.variant}
        changed |= {k: v for k, v in self.options.items() if v != self.definition.options[k]}
        inside = ", ".join(f"{k}={v}" for k, v in changed.items())
        return f"{self.name}({inside})" if inside else self.name


class MissingSource(CotanError):
    """A source that the data lacks: another variant may do without."""


@dataclass(frozen=True)
class _Domain:
    sources: frozenset[str]
    step: Step | None = None
    outer: _Domain | None = None
    moves: str | None = None  # of an augmentation

    @property
    def owner(self) -> Step | None:
        """The domain that the vertices belong to: most augmentations have none of their own, but move those of another."""
        return self.outer.owner if self.outer and not self.recounted else self.step

    @property
    def recounted(self) -> bool:
        return self.step is not None and self.step.recounts


@dataclass
class Plan:
    """Steps in topological order, sources first; `roots` are what was asked for, by name.

    keeps_integers: whether a model's first signal stays in whole numbers where the data has them.
    """

    roots: dict[str, Step] = field(default_factory=dict)
    keeps_integers: bool = field(default=False, init=False)

    def __repr__(self) -> str:
        return f"Plan({', '.join(step.label for step in self.steps)})"

    @classmethod
    def of(cls, plans: Iterable[Plan]) -> Plan:
        """One plan for several."""
        return cls({step.identity: step for plan in plans for step in plan.roots.values()})

    @property
    def identities(self) -> dict[str, str]:
        """The identity of each root, by name."""
        return {name: step.identity for name, step in self.roots.items()}

    @cached_property
    def steps(self) -> list[Step]:
        order: dict[str, Step] = {}

        def visit(step: Step) -> None:
            if step.identity not in order:
                for parent in step.parents:
                    visit(parent)
                order[step.identity] = step

        for root in self.roots.values():
            visit(root)
        return list(order.values())

    @cached_property
    def wider(self) -> dict[str, Step]:
        """For each step (by identity) whose value is a part of that of another step of this plan (`covers`): that step."""
        kin: dict[str, list[Step]] = {}
        for step in self.steps:
            if step.definition is not None and step.definition.covers is not None:
                kin.setdefault(step.kin, []).append(step)
        return {
            step.identity: other
            for group in kin.values()
            for step in group
            for other in group
            if other is not step and step.cut_from(other) is not None and other.cut_from(step) is None
        }


def make_plan(
    requests: Mapping[str, Request],
    have: Iterable[str],
    *,
    on: Request | Iterable[Request] = (),
    instead: Mapping[str, Request] | None = None,
) -> Plan:
    """The plan of some requests for data that has the sources `have`, all of it below the domains `on`.

    `instead` are nodes that stand for sources, whether the data has these or not; where one stands for edge_index, edge_weight
    and edge_attr of the data no longer count. Optional requests (`Node.optional`) that the data cannot answer are left out.
    """
    expect("make_plan", requests, Mapping, "requests by name")
    registry.load()
    instead = instead or {}
    resolver = _Resolver(_Domain(beside(have, instead).union(instead)), instead)
    domain = resolver.root
    for below in as_nodes(on):
        domain = resolver.domain(below, domain, ())
    plan = Plan()
    failed: dict[str, CotanError] = {}
    for name, request in requests.items():
        wanted = as_node(request)
        try:
            plan.roots[name] = resolver.resolve(wanted, domain, ())
        except CotanError as reason:
            if not wanted.optional:
                raise
            if not isinstance(reason, MissingSource):
                failed[name] = reason
    if failed:
        reasons = "\n".join(map(str, failed.values()))
        what = "its default" if len(failed) == 1 else "their defaults"
        raise CotanError(f"{reasons}\nTo keep {what}: module.needs = {dict.fromkeys(failed)}")
    return plan


def beside(have: Iterable[str], instead: Mapping[str, Request]) -> frozenset[str]:
    """The sources that are left where nodes stand for some: where one stands for edge_index, none of those per edge."""
    edges = "edge_index" in instead
    return frozenset(name for name in have if not (edges and name in SOURCES and SOURCES[name].per == "edge"))


Path = tuple[tuple[str, _Domain], ...]  # the requests on the way, each with its domain


class _Resolver:
    def __init__(self, root: _Domain, instead: Mapping[str, Request]):
        self.root, self.instead = root, instead
        self.steps: dict[str, Step] = {}
        self.found: dict[tuple[str, _Domain], Step] = {}

    def resolve(self, wanted: Node, domain: _Domain, path: Path) -> Step:
        if wanted.on is not None:
            inner = self.domain(wanted.on, domain, (*path, (wanted.key, domain)))
            return self.resolve(Node(wanted.name, wanted.settings), inner, path)
        memo = (wanted.key, domain)
        if memo not in self.found:
            if memo in path:
                loop = [key for key, _ in (*path[path.index(memo) :], memo)]
                raise CotanError(f"node {wanted.name!r} depends on itself: {' -> '.join(loop)}")
            self.found[memo] = self._find(wanted, domain, (*path, memo))
        return self.found[memo]

    def domain(self, wanted: Node, outer: _Domain, path: Path) -> _Domain:
        step = self.resolve(wanted, outer, path)
        if step.definition is None:  # a source that is itself a Data, as the other shape of a pair
            return _Domain(frozenset(SOURCES), step, None)
        if step.definition.augments:
            given = frozenset(name for name in step.definition.gives if self._in_outer(name, outer))
            given |= COUNTED if step.recounts else frozenset()
            return _Domain(given, step, outer, step.definition.augments)
        if not step.definition.gives:
            raise CotanError(
                f"on={wanted.key}: {step.name!r} is no domain; an operator whose value is a Data says gives=(...)"
            )
        return _Domain(frozenset(step.definition.gives) | COUNTED, step, None)

    def _find(self, wanted: Node, domain: _Domain, path: Path) -> Step:
        settings = dict(wanted.settings)
        if not settings:
            anew = domain.recounted and wanted.name not in domain.sources  # neighbours among the points that are left
            if wanted.name in self.instead and (domain is self.root or anew):
                return self.resolve(as_node(self.instead[wanted.name]), domain, path)
            if wanted.name in domain.sources:
                return self._source(wanted.name, domain)
            if domain.moves and wanted.name in (SOURCES.keys() | self.root.sources):
                assert domain.outer is not None
                if not registry.has("operator", wanted.name) or self._in_outer(wanted.name, domain):
                    found = self.resolve(wanted, domain.outer, path)
                    if domain.step and domain.step.recounts and found.per not in (None, "shape"):
                        raise CotanError(
                            f"{domain.step.label} gives num_nodes but not {wanted.name} (per {found.per}), which has to go with "
                            f"the vertices: gives=(..., {wanted.name!r})"
                        )
                    return found
        if not registry.has("operator", wanted.name):
            raise _lacks(wanted.name, domain.sources, [key for key, _ in path])
        return self._variant(wanted, settings, domain, path)

    def _in_outer(self, name: str, domain: _Domain | None) -> bool:
        while domain is not None:
            if name in domain.sources:
                return True
            domain = domain.outer
        return False

    def _variant(self, wanted: Node, settings: dict[str, Any], domain: _Domain, path: Path) -> Step:
        variants = registry.variants("operator", wanted.name)
        selectors = {key for d in variants for key in d.variant}
        chosen = {k: v for k, v in settings.items() if k in selectors}
        fitting = [d for d in variants if all(d.variant.get(k) == v for k, v in chosen.items())]
        if not fitting:
            got = ", ".join(f"{k}={v!r}" for k, v in chosen.items())
            raise CotanError(f"node {wanted.name!r} has no variant {got}. There is: {_kinds(variants)}")
        rest = {k: v for k, v in settings.items() if k not in selectors}
        # An option picks among the variants too: one that takes it is meant.
        able = [d for d in fitting if all(k in d.options or k in d.inputs for k in rest)]
        reasons = []
        for definition in able or fitting[:1]:
            try:
                return self._operator(definition, rest, domain, path)
            except MissingSource as reason:
                reasons.append(reason)
        if len({str(reason) for reason in reasons}) == 1:
            others = [d for d in variants if d not in fitting and self._fits(d, domain, path)]
            there = f". {wanted.name!r} there is of {_kinds(others)}" if others else ""
            raise MissingSource(f"{reasons[0]}{there}")
        lines = [
            f"  {', '.join(f'{k}={v!r}' for k, v in d.variant.items())}: {reason}" for d, reason in zip(able, reasons)
        ]
        raise MissingSource(f"no variant of node {wanted.name!r} fits this data:\n" + "\n".join(lines))

    def _fits(self, definition: registry.Definition, domain: _Domain, path: Path) -> bool:
        try:
            self._operator(definition, {}, domain, path)
        except MissingSource:
            return False
        return True

    def _operator(self, definition: registry.Definition, settings: dict[str, Any], domain: _Domain, path: Path) -> Step:
        options, replaced = dict(definition.options), {}
        for name, value in settings.items():
            if name in definition.inputs and isinstance(value, Node | str):
                replaced[name] = as_node(value)
            elif name in definition.options and not isinstance(value, Node):
                registry.check_value(definition, name, value)
                options[name] = value
            elif name in definition.options:
                raise CotanError(f"{name!r} of node {definition.name!r} is an option: expected a value, got {value}")
            elif name in definition.inputs:
                raise CotanError(
                    f"{name!r} of node {definition.name!r} is an input: expected a node or the name of an attribute of the "
                    f"data, got a value. Put it on the data: data.own = ...; then {name}='own'"
                )
            else:
                what = f"option or input of node {definition.name!r}"
                raise unknown(what, name, [*definition.options, *definition.inputs])
        asked = of_one_basis({**definition.needs, **replaced}, definition.inputs)
        outer = domain.outer
        if outer is not None and domain.moves in definition.invariant_to:
            # What stands in for a source, such as pos, moves as that does; another input has to stay as it is.
            own = [request for name, request in replaced.items() if name not in SOURCES]
            if all(self.resolve(request, domain, path) is self.resolve(request, outer, path) for request in own):
                wanted = Node(definition.name, tuple(sorted({**settings, **definition.variant}.items())))
                return self.resolve(wanted, outer, path)
        inputs = {}
        for name in definition.inputs:
            request = as_node(asked.get(name, name))
            try:
                inputs[name] = self.resolve(request, domain, path)
            except MissingSource:
                if name in replaced or name not in definition.optional:
                    raise
            except CotanError as reason:
                others = registry.variants("operator", name) if registry.has("operator", name) else []
                if name not in replaced or registry.has("operator", request.name) or not any(d.variant for d in others):
                    raise
                raise CotanError(f"{reason}\n{name!r} there is of {_kinds(others)}") from None
        identities = {name: step.identity for name, step in inputs.items()}
        identity = digest_of([definition.name, dict(definition.variant), definition.edition, options, identities])
        transient = bool(definition.augments) or any(step.transient for step in inputs.values())
        step = Step(definition.name, definition, options, inputs, None, identity, domain.owner, transient)
        return self.steps.setdefault(identity, step)

    def _source(self, name: str, domain: _Domain) -> Step:
        identity = digest_of(["source", name, domain.step.identity if domain.step else None])
        transient = domain.step is not None and domain.step.transient
        step = Step(name, None, {}, {}, domain.step, identity, domain.owner, transient)
        return self.steps.setdefault(identity, step)


def _lacks(name: str, sources: frozenset[str], path: Sequence[str]) -> CotanError:
    """The error for what is neither an operator nor a source of the data; `path` are the nodes that ask for it, itself last."""
    trail = " -> ".join(path)
    known = name in SOURCES or name in sources
    if not known and all(name == "x" or name not in d.inputs for d in registry.all_definitions()):
        from . import operators

        error = unknown("node", name, {*registry.names("operator"), *sources})
        functions = {*operators.__all__} - {*registry.names("operator")}
        if function := next(iter(get_close_matches(name, functions, n=1, cutoff=0.9)), None):
            error = CotanError(f"{name!r} is no node; cotan.operators.{function} is a function of tensors\n{error}")
        return CotanError(f"{error}{registry.failures_text()}" + f"\n(asked for by {trail})" * (len(path) > 1))
    ways = dict.fromkeys([*(n for n in path[1:] if n in SOURCES), name])
    near = [] if known else get_close_matches(name, {*registry.names("operator"), *SOURCES}, n=1)
    what = f"{path[0]!r} is no node, and the data does not have it."
    if len(path) > 1:
        what = f"node {path[0]!r} needs {' or '.join(map(repr, ways))} ({trail}), which the data does not have."
    hint = f" Did you mean {near[0]!r}?" if near else ""
    if name == "pos" and path[0].partition("(")[0] == "gradient":
        hint = " A layer may do without by an option, such as gradients=False."
    if "edge_index" in ways and "pos" in sources:
        hint = (
            " Edges of points: data.edge_index = cotan.compute(data, 'nearest_neighbours', k=16), or the option "
            "neighbours=16 of a model made by a layer's name."
        )
    if "edge_index" in ways and "adj_t" in sources:
        hint = " Of adj_t: data.edge_index, data.edge_weight = torch_geometric.utils.to_edge_index(data.adj_t.t())."
    if "edge_index" in ways and "adj" in sources:
        hint = " Of adj: data.edge_index, data.edge_weight = torch_geometric.utils.dense_to_sparse(data.adj)."
    return MissingSource(f"{what}{hint} It has: {', '.join(sorted(sources - COUNTED))}")


def _kinds(variants: Iterable[registry.Definition]) -> str:
    return "; ".join(", ".join(f"{k}={v!r}" for k, v in d.variant.items()) for d in variants)


def digest_of(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=20).hexdigest()
