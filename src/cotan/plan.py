"""Plans: the smallest part of the graph that some requests need, and its evaluation.

Resolving turns requests into steps: a variant is chosen, options are filled in, inputs are found by parameter name.
Steps with the same identity are one step, however many models ask for it; each is evaluated once.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import torch

from . import registry
from .errors import CotanError, unknown
from .nodes import COUNTED, SOURCES, TENSORS, Node, Request, as_node, node, sources_of
from .packing import Packing
from .store import Store, store
from .stored import Entry
from .values import cast, check_storable, digest, is_live


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

    @property
    def per(self) -> str | None:
        if self.definition is not None:
            per: str | None = self.definition.per
            return per
        return SOURCES[self.name].per if self.name in SOURCES else None

    @property
    def index(self) -> str | None:
        if self.definition is not None:
            index: str | None = self.definition.index
            return index
        return SOURCES[self.name].index if self.name in SOURCES else None

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
    def label(self) -> str:
        """The node in writing, with the options that are not the defaults."""
        if self.definition is None:
            return self.name
        changed = {**self.definition.variant}
        changed |= {k: v for k, v in self.options.items() if v != self.definition.options[k]}
        inside = ", ".join(f"{k}={v}" for k, v in changed.items())
        return f"{self.name}({inside})" if inside else self.name


class _Missing(CotanError):
    """A source that the data lacks: another variant may do without."""


@dataclass(frozen=True)
class _Domain:
    sources: frozenset[str]
    step: Step | None = None
    outer: _Domain | None = None
    moves: str | None = None  # of an augmentation


@dataclass
class Plan:
    """Steps in topological order, sources first; `roots` are what was asked for, by name."""

    roots: dict[str, Step] = field(default_factory=dict)

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


def make_plan(requests: Mapping[str, Request], have: Iterable[str], *, on: Request | Iterable[Request] = ()) -> Plan:
    """The plan of some requests for data that has the sources `have`, all of it below the domains `on`.

    Optional requests (`Node.optional`) that the data cannot answer are left out.
    """
    registry.load()
    resolver = _Resolver(_Domain(frozenset(have)))
    domain = resolver.root
    for request in [on] if isinstance(on, str | Node) else on:
        domain = resolver.domain(as_node(request), domain, ())
    plan = Plan()
    for name, request in requests.items():
        wanted = as_node(request)
        try:
            plan.roots[name] = resolver.resolve(wanted, domain, ())
        except _Missing:
            if not wanted.optional:
                raise
    return plan


class _Resolver:
    def __init__(self, root: _Domain):
        self.root = root
        self.steps: dict[str, Step] = {}
        self.found: dict[tuple[str, _Domain], Step] = {}

    def resolve(self, wanted: Node, domain: _Domain, path: tuple[str, ...]) -> Step:
        if wanted.on is not None:
            inner = self.domain(wanted.on, domain, (*path, wanted.key))
            return self.resolve(Node(wanted.name, wanted.settings), inner, path)
        memo = (wanted.key, domain)
        if memo not in self.found:
            here = f"{wanted.key}@{id(domain)}"
            if here in path:
                loop = [name.split("@")[0] for name in (*path[path.index(here) :], here)]
                raise CotanError(f"node {wanted.name!r} depends on itself: {' -> '.join(loop)}")
            self.found[memo] = self._find(wanted, domain, (*path, here))
        return self.found[memo]

    def domain(self, wanted: Node, outer: _Domain, path: tuple[str, ...]) -> _Domain:
        step = self.resolve(wanted, outer, path)
        if step.definition is None:  # a source that is itself a Data, as the other shape of a pair
            return _Domain(frozenset(SOURCES), step, None)
        if step.definition.augments:
            return _Domain(frozenset(step.definition.gives), step, outer, step.definition.augments)
        if not step.definition.gives:
            raise CotanError(
                f"on={wanted.key}: {step.name!r} is no domain; an operator whose value is a Data says gives=(...)"
            )
        return _Domain(frozenset(step.definition.gives) | COUNTED, step, None)

    def _find(self, wanted: Node, domain: _Domain, path: tuple[str, ...]) -> Step:
        settings = dict(wanted.settings)
        if not settings:
            if wanted.name in domain.sources:
                return self._source(wanted.name, domain)
            if domain.moves and wanted.name in (SOURCES.keys() | self.root.sources):
                assert domain.outer is not None
                if not registry.has("operator", wanted.name) or self._in_outer(wanted.name, domain):
                    return self.resolve(wanted, domain.outer, path)
        if not registry.has("operator", wanted.name):
            names = [p.split("@")[0] for p in path]
            trail = " -> ".join(names)
            known = wanted.name in SOURCES or wanted.name in domain.sources
            if known or wanted.name in _all_inputs():
                ways = dict.fromkeys([*(name for name in names[1:] if name in SOURCES), wanted.name])
                raise _Missing(
                    f"node {names[0]!r} needs {' or '.join(map(repr, ways))} ({trail}), which the data does not have. "
                    f"It has: {', '.join(sorted(domain.sources - COUNTED))}"
                )
            error = unknown("node", wanted.name, {*registry.names("operator"), *domain.sources}, registry.ALSO_KNOWN)
            raise CotanError(
                f"{error}{registry._failures_text()}" + (f"\n(asked for by {trail})" if len(path) > 1 else "")
            )
        return self._variant(wanted, settings, domain, path)

    def _in_outer(self, name: str, domain: _Domain | None) -> bool:
        while domain is not None:
            if name in domain.sources:
                return True
            domain = domain.outer
        return False

    def _variant(self, wanted: Node, settings: dict[str, Any], domain: _Domain, path: tuple[str, ...]) -> Step:
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
            except _Missing as reason:
                reasons.append(reason)
        if len(reasons) == 1:
            others = [d for d in variants if d not in fitting and self._fits(d, domain, path)]
            there = f". {wanted.name!r} there is of {_kinds(others)}" if others else ""
            raise _Missing(f"{reasons[0]}{there}")
        lines = [
            f"  {', '.join(f'{k}={v!r}' for k, v in d.variant.items())}: {reason}" for d, reason in zip(able, reasons)
        ]
        raise _Missing(f"no variant of node {wanted.name!r} fits this data:\n" + "\n".join(lines))

    def _fits(self, definition: registry.Definition, domain: _Domain, path: tuple[str, ...]) -> bool:
        try:
            self._operator(definition, {}, domain, path)
        except _Missing:
            return False
        return True

    def _operator(
        self, definition: registry.Definition, settings: dict[str, Any], domain: _Domain, path: tuple[str, ...]
    ) -> Step:
        if domain.moves in definition.invariant_to:
            assert domain.outer is not None
            wanted = Node(definition.name, tuple(sorted({**settings, **definition.variant}.items())))
            return self.resolve(wanted, domain.outer, path)
        options, replaced = dict(definition.options), {}
        for name, value in settings.items():
            if name in definition.inputs and isinstance(value, Node | str):
                replaced[name] = as_node(value)
            elif name in definition.options and not isinstance(value, Node):
                registry.check_value(definition, name, value)
                options[name] = value
            else:
                what = f"option or input of node {definition.name!r}"
                raise unknown(what, name, [*definition.options, *definition.inputs])
        inputs = {}
        for name in definition.inputs:
            try:
                inputs[name] = self.resolve(replaced.get(name, Node(name)), domain, path)
            except _Missing:
                if name not in definition.optional:
                    raise
        step = _step(definition, options, inputs, domain)
        return self.steps.setdefault(step.identity, step)

    def _source(self, name: str, domain: _Domain) -> Step:
        identity = _hash(["source", name, domain.step.identity if domain.step else None])
        owner = domain.step if not domain.moves else (domain.step.vertices_of if domain.step else None)
        transient = domain.step is not None and domain.step.transient
        step = Step(name, None, {}, {}, domain.step, identity, owner, transient)
        return self.steps.setdefault(identity, step)


def _kinds(variants: Iterable[registry.Definition]) -> str:
    return "; ".join(", ".join(f"{k}={v!r}" for k, v in d.variant.items()) for d in variants)


def _step(
    definition: registry.Definition, options: Mapping[str, Any], inputs: Mapping[str, Step], domain: _Domain
) -> Step:
    identity = _hash(
        [
            definition.name,
            dict(definition.variant),
            definition.version,
            dict(options),
            {name: step.identity for name, step in inputs.items()},
        ]
    )
    transient = bool(definition.augments) or any(step.transient for step in inputs.values())
    while domain.moves and domain.outer:
        domain = domain.outer
    return Step(definition.name, definition, options, inputs, None, identity, domain.step, transient)


def _all_inputs() -> set[str]:
    return {name for d in registry.all_definitions() for name in d.inputs if name != "x"}


def _hash(content: Any) -> str:
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=20).hexdigest()


# --- evaluation -------------------------------------------------------------------------------------------------------


class Count(NamedTuple):
    """What happened to a node since the counts were last reset."""

    evaluations: int = 0
    hits: int = 0
    seconds: float = 0.0


_counts: dict[str, Count] = {}
_lock = threading.Lock()


def counts(*, reset: bool = False) -> dict[str, Count]:
    """Evaluations, store hits and seconds of evaluation by node, since `counts(reset=True)` (which gives them a last time)."""
    with _lock:
        now = dict(_counts)
        if reset:
            _counts.clear()
    return now


def add_counts(more: Mapping[str, Count]) -> None:
    """Add what another process counted."""
    with _lock:
        for name, count in more.items():
            old = _counts.get(name, Count())
            _counts[name] = Count(old[0] + count[0], old[1] + count[1], old[2] + count[2])


class Evaluation:
    """The values of a plan's steps on one shape: each is computed, or taken from the store, once.

    Operators see float64 and int64; `value(step, dtype)` casts what they give.
    """

    def __init__(self, data: Any, *, keep: Store | Packing | None = None):
        self.data = data
        self.store = keep if keep is not None else store()
        self.full: dict[str, Any] = {}  # identity -> value as computed
        self.cut: dict[tuple[str, torch.dtype], Any] = {}  # in the asked dtype
        self.digests: dict[str, str] = {}
        self.live = {name for name in data.keys() if is_live(data[name])}
        self.costs: dict[str, float] = {}

    def value(self, step: Step, dtype: torch.dtype = torch.float64) -> Any:
        if step.identity in self.full:
            return cast(self.full[step.identity], dtype)
        if (step.identity, dtype) in self.cut:
            return self.cut[step.identity, dtype]
        if step.definition is None:
            self.full[step.identity] = self._read(step)
            return cast(self.full[step.identity], dtype)
        address = None if step.transient or step.reaches & self.live else self._address(step)
        if address is not None:
            for stored_dtype in dict.fromkeys((dtype, torch.float64)):
                stored = self._stored(step, address, stored_dtype)
                if stored is not None:
                    self._count(step, Count(hits=1))
                    self.cut[step.identity, dtype] = value = cast(stored, dtype)
                    return value
        value = self._evaluate(step)
        self.full[step.identity] = value
        value = cast(value, dtype)
        if address is not None:
            entry = Entry(
                step.name, step.label, dict(step.options), self._family(step, dtype), self.costs[step.identity]
            )
            self.store.put(f"{address}-{_short(dtype)}", value, entry)
        return value

    def _stored(self, step: Step, address: str, dtype: torch.dtype) -> Any:
        """The stored value, or what can be cut out of one with other options (`covers`); None if there is neither."""
        found = self.store.get(f"{address}-{_short(dtype)}", step.name)
        covers = step.definition.covers if step.definition is not None else None
        if found is None and covers is not None:
            for key, options in self.store.family(self._family(step, dtype), step.name):
                cut = covers(options, step.options)
                whole = self.store.get(key, step.name) if cut is not None else None
                if whole is not None:
                    return cut(whole)
        return found

    def _evaluate(self, step: Step) -> Any:
        assert step.definition is not None
        inputs = {name: self.value(parent) for name, parent in step.inputs.items()}
        start = time.perf_counter()
        try:
            with torch.set_grad_enabled(bool(step.reaches & self.live) and torch.is_grad_enabled()):
                value = step.definition.target(**inputs, **step.options)
        except CotanError:
            raise
        except Exception as reason:
            raise CotanError(f"node {step.label!r} failed: {type(reason).__name__}: {reason}") from reason
        try:
            check_storable(value)
        except CotanError as reason:
            raise CotanError(f"node {step.label!r} gives {reason}") from None
        self.costs[step.identity] = seconds = time.perf_counter() - start
        self._count(step, Count(1, 0, seconds))
        return value

    def _read(self, step: Step) -> Any:
        data = self.data if step.domain is None else self.value(step.domain)
        if step.name == "num_nodes":
            return number_of_vertices(data)
        if step.name == "batch":
            return torch.zeros(number_of_vertices(data), dtype=torch.long, device=_device(data))
        if step.name == "ptr":
            return torch.tensor([0, number_of_vertices(data)], device=_device(data))
        value = data[step.name] if step.name in data else None
        if value is None:
            raise CotanError(f"the data of {step.domain.label if step.domain else 'this shape'} has no {step.name!r}")
        check_source(step.name, value, data)
        return cast(value, torch.float64)

    def _address(self, step: Step) -> str:
        """Where the value is stored: its identity and the digests of the sources it reaches."""
        return _hash([step.identity, self._reached(step)])

    def _family(self, step: Step, dtype: torch.dtype) -> str:
        """What entries of the same node with other options have in common; "" where none can answer another."""
        assert step.definition is not None
        d = step.definition
        if d.covers is None:
            return ""
        inputs = {name: parent.identity for name, parent in step.inputs.items()}
        return _hash([d.name, dict(d.variant), d.version, inputs, self._reached(step), _short(dtype)])

    def _reached(self, step: Step) -> dict[str, str]:
        for name in step.reaches - self.digests.keys():
            if name in COUNTED:
                self.digests[name] = str(number_of_vertices(self.data))
            else:
                self.digests[name] = digest(self.data[name])
        return {name: self.digests[name] for name in sorted(step.reaches)}

    def _count(self, step: Step, count: Count) -> None:
        add_counts({step.name: count})


MANY = {"vertex": "vertices", "edge": "edges"}


def number_of_vertices(data: Any) -> int:
    """V, from what the data holds per vertex; from the largest index where it holds nothing."""
    given = data._store.get("num_nodes") if hasattr(data, "_store") else None
    if given is not None:
        return int(given)
    for name in ("pos", "x"):
        if data.get(name) is not None:
            return len(data[name])
    for name in ("face", "edge_index"):
        if data.get(name) is not None and data[name].numel():
            return int(data[name].max()) + 1
    return 0


def check_source(name: str, value: Any, data: Any) -> None:
    """Raise for what is no dense tensor, vertex numbers out of range, and numbers that are missing or not finite."""
    if name not in TENSORS:
        return
    if not isinstance(value, torch.Tensor):
        raise CotanError(f"{name} is a {type(value).__name__}, expected a tensor")
    if value.layout != torch.strided:
        raise CotanError(f"{name} is sparse ({value.layout}), expected a dense tensor: {name}.to_dense()")
    declared = SOURCES[name]
    if declared.index == "vertex":
        rows = 3 if name == "face" else 2
        if value.ndim != 2 or value.shape[0] != rows:
            raise CotanError(f"{name} has shape {tuple(value.shape)}, expected ({rows}, {name[0].upper()})")
        if value.is_floating_point():
            raise CotanError(f"{name} holds {value.dtype}, expected vertex numbers (int64)")
        low, high = (int(bound) for bound in value.aminmax()) if value.numel() else (0, -1)
        size = number_of_vertices(data)
        if low < 0 or high >= size:
            raise CotanError(f"{name} out of range: vertex numbers {low} to {high}, expected 0 to {size - 1}")
    if declared.per == "vertex" and value.shape[:1] != (number_of_vertices(data),):
        raise CotanError(
            f"{name} has shape {tuple(value.shape)}, expected a row for each of {number_of_vertices(data)} vertices"
        )
    if name == "pos" and value.ndim != 2:
        raise CotanError(f"pos has shape {tuple(value.shape)}, expected (V, 3)")
    if value.is_floating_point() and not bool(torch.isfinite(value.detach()).all()):
        bad = (~torch.isfinite(value.detach())).reshape(len(value), -1).any(1)
        at = f" at {int(bad.sum())} of {len(value)} {MANY[declared.per]}" if declared.per in MANY else ""
        raise CotanError(f"{name} has NaN or infinite values{at}")


def compute(data: Any, request: Any, *, dtype: torch.dtype = torch.float32, **options: Any) -> Any:
    """The value of a node on one shape, from the store where it is there.

    Arguments:
        data: a `torch_geometric.data.Data`, as `cotan.read` gives.
        request: a node's name or `cotan.node(...)`; a list of them gives a dict by their writing.
        dtype: of the result; `torch.float64` gives it as it was computed.
        options: of the node, as in `cotan.node`.

    >>> cotan.compute(cotan.read("bunny.off"), "spectrum", k=64)
    """
    check_dtype(dtype)
    several = isinstance(request, list | tuple)
    if several and options:
        raise CotanError(
            f"options {', '.join(options)} with a list of nodes: give each its own, cotan.node(name, option=...)"
        )
    wanted = [as_node(r) for r in request] if several else [node(request, **options)]
    if isinstance(data, list | tuple | str | os.PathLike) or hasattr(data, "to_data_list"):
        raise CotanError(f"compute takes one shape, a Data as cotan.read(path) gives; got a {type(data).__name__}")
    plan = make_plan({w.key: w for w in wanted}, sources_of(data))
    evaluation = Evaluation(data)
    values = {key: evaluation.value(step, dtype) for key, step in plan.roots.items()}
    return values if several else values[wanted[0].key]


def check_dtype(dtype: Any) -> None:
    allowed = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    if dtype not in allowed:
        raise CotanError(f"dtype {dtype!r}, expected one of {', '.join(map(str, allowed))}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _device(data: Any) -> torch.device:
    tensors = (data[name] for name in data.keys() if isinstance(data[name], torch.Tensor))
    return next((t.device for t in tensors), torch.device("cpu"))
