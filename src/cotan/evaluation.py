"""Evaluation of plans: the values of steps on a shape, each computed, or taken from the store, once."""

from __future__ import annotations

import inspect
import json
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from functools import cached_property
from io import BytesIO
from operator import add
from typing import Any, NamedTuple

import torch

from .data import PLURAL, check_data, check_source, device_of, number_of_vertices, sources_of
from .errors import CotanError
from .nodes import COUNTED, as_node, node
from .packing import Packing
from .plan import Step, digest_of, make_plan
from .store import Store, store
from .stored import Facts
from .untraced import outside
from .values import check_storable, digest, is_data, is_live, map_tensors, move, whole

NO_MEMORY = (MemoryError, torch.OutOfMemoryError)  # no fault of the shape: never taken for a refusal


class Count(NamedTuple):
    """What happened to a node since the counts were last reset."""

    evaluations: int = 0
    hits: int = 0
    seconds: float = 0.0


_counts: dict[str, Count] = {}
_lock = threading.Lock()


def counts(*, reset: bool = False) -> dict[str, Count]:
    """Evaluations, store hits and seconds of evaluation by node, since the last `counts(reset=True)`, which gives them too."""
    with _lock:
        now = dict(_counts)
        if reset:
            _counts.clear()
    return now


def _count(name: str, more: Count) -> None:
    with _lock:
        _counts[name] = Count(*map(add, _counts.get(name, Count()), more))


class Evaluation:
    """The values of a plan's steps on one shape: each is computed, or taken from the store, once.

    Operators see float64 and int64; `value(step, dtype)` casts what they give. Of a sample of a graph, which has `n_id` as
    PyG's loaders set it, nothing is stored: it does not come again.
    """

    def __init__(self, data: Any, *, keep: Store | Packing | None = None, wider: Mapping[str, Step] | None = None):
        self.data = data
        self.wider = wider or {}
        self.store = keep if keep is not None else store()
        self.values: dict[tuple[str, torch.dtype | None], Any] = {}  # by identity; in a dtype, or None: as computed
        self.digests: dict[str, str] = {}
        self.addresses: dict[str, str] = {}
        self.live = {name for name in data.keys() if is_live(data[name])}
        self.sample = "n_id" in data
        self.costs: dict[str, float] = {}

    @cached_property
    def vertices(self) -> int:
        return number_of_vertices(self.data)

    @cached_property
    def device(self) -> torch.device:
        return device_of(self.data)

    def value(self, step: Step, dtype: torch.dtype = torch.float64) -> Any:
        live = bool(step.reaches & self.live)
        with nullcontext() if live else outside():
            return self._value(step, dtype, live)

    def _value(self, step: Step, dtype: torch.dtype, live: bool) -> Any:
        found = self.found(step, dtype)
        if found is not None:
            return found
        if step.identity in self.wider:
            wider = self.wider[step.identity]
            cut = step.cut_from(wider)
            assert cut is not None
            value = self.values[step.identity, dtype] = cut(self.value(wider, dtype))
            return value
        inputs = {name: self.value(parent) for name, parent in step.inputs.items()}
        with torch.set_grad_enabled(live and torch.is_grad_enabled()):
            value, seconds = run(step, inputs)
        return self.take(step, value, dtype, seconds)

    def found(self, step: Step, dtype: torch.dtype) -> Any:
        """The value if it is known, stored or a source; else None."""
        if (step.identity, dtype) in self.values:
            return self.values[step.identity, dtype]
        if step.definition is None and (step.identity, None) not in self.values:
            self.values[step.identity, None] = self._read(step)
        if (step.identity, None) in self.values:
            return narrowed(step, self.values[step.identity, None], dtype)
        address = self.address(step)
        if address is not None:
            for stored_dtype in dict.fromkeys((dtype, torch.float64)):
                stored = self._stored(step, address, stored_dtype)
                if stored is not None:
                    _count(step.name, Count(hits=1))
                    value = move(stored, self.device)
                    if stored_dtype != dtype:
                        value = narrowed(step, value, dtype)
                    self.values[step.identity, dtype] = value
                    return value
        return None

    def take(self, step: Step, value: Any, dtype: torch.dtype, seconds: float) -> Any:
        """Keeps a value that took some seconds to compute, here and in the store, and gives it in a dtype."""
        self.costs[step.identity] = seconds
        _count(step.name, Count(1, 0, seconds))
        self.values[step.identity, None] = value
        value = self.values[step.identity, dtype] = narrowed(step, value, dtype)
        address = self.address(step)
        if address is not None:
            facts = Facts(step.name, step.label, dict(step.options), self._family(step, dtype), seconds)
            self.store.put(f"{address}-{_short(dtype)}", value, facts)
        return value

    def picture(self, step: Step, value: Any) -> bytes | None:
        """A step's value as its operator draws it, a PNG; None where it does not."""
        if step.definition is None or step.definition.picture is None:
            return None
        file = BytesIO()
        inputs = {name: self.value(parent) for name, parent in step.inputs.items()}
        step.definition.picture(file, value, **inputs, **step.options)
        return file.getvalue()

    def forget(self, steps: Iterable[Step]) -> None:
        """Drops the values of steps, in every dtype."""
        gone = {step.identity for step in steps}
        self.values = {key: value for key, value in self.values.items() if key[0] not in gone}

    def lacking(self, roots: Iterable[Step], dtype: torch.dtype) -> dict[str, torch.dtype]:
        """The steps (their identities) that have to be computed for the values of some, and in which dtype each is kept."""
        out: dict[str, torch.dtype] = {}

        def visit(step: Step, dtype: torch.dtype) -> None:
            if step.definition is None:
                if step.domain is not None:
                    visit(step.domain, torch.float64)
            elif step.identity not in out and self.found(step, dtype) is None:
                if step.identity in self.wider:
                    return visit(self.wider[step.identity], dtype)
                out[step.identity] = dtype
                for parent in step.inputs.values():
                    visit(parent, torch.float64)

        for root in roots:
            visit(root, dtype)
        return out

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

    def _read(self, step: Step) -> Any:
        data = self.data if step.domain is None else self.value(step.domain)
        if step.name in COUNTED:
            own = step.domain is None
            count, device = (self.vertices, self.device) if own else (number_of_vertices(data), device_of(data))
            if step.name == "num_nodes":
                return count
            if step.name == "ptr":
                return torch.tensor([0, count], device=device)
            return torch.zeros(count, dtype=torch.long, device=device)
        value = data.get(step.name)
        if value is None:
            raise CotanError(f"the data of {step.domain.label if step.domain else 'this shape'} has no {step.name!r}")
        check_source(step.name, value, data)
        tensor = isinstance(value, torch.Tensor)
        if step.domain is not None and tensor and step.per == "vertex" and step.vertices_of is not step.domain:
            expected = self.vertices if step.vertices_of is None else number_of_vertices(self.value(step.vertices_of))
            if len(value) != expected:
                raise CotanError(
                    f"{step.domain.label} gives {step.name} of {len(value)} vertices, of {expected}; an augmentation that "
                    "changes their number says so, gives=(..., 'num_nodes')"
                )
        if tensor and value.requires_grad and not torch.is_grad_enabled():
            value = value.detach()  # as all that is computed of it
        if step.name == "pos":
            return value.double()
        return value.long() if tensor and step.index is not None else move(value, dtype=torch.float64)

    def address(self, step: Step) -> str | None:
        """Where the value is stored: its identity and the digests of the sources it reaches. None: nowhere."""
        if step.transient or step.reaches & self.live or self.sample:
            return None
        if step.identity not in self.addresses:
            self.addresses[step.identity] = digest_of([step.identity, self._reached(step)])
        return self.addresses[step.identity]

    def _family(self, step: Step, dtype: torch.dtype) -> str:
        """What entries of the same node with other options have in common; "" where none can answer another."""
        assert step.definition is not None
        if step.definition.covers is None:
            return ""
        return digest_of([step.kin, self._reached(step), _short(dtype)])

    def _reached(self, step: Step) -> dict[str, str]:
        for name in step.reaches - self.digests.keys():
            if name in COUNTED:
                self.digests[name] = str(self.vertices)
            else:
                self.digests[name] = digest(self.data[name])
        return {name: self.digests[name] for name in step.reaches}


def narrowed(step: Step, value: Any, dtype: torch.dtype) -> Any:
    """A step's value cast to a dtype, refused where that makes finite numbers infinite, or zero of all that are positive."""

    def narrow(wide: torch.Tensor) -> torch.Tensor:
        if not wide.is_floating_point() or wide.dtype == dtype:
            return wide
        out = wide.to(dtype)
        total = float(out.detach().sum())  # inf or NaN where a number is: the cheapest look at all of them
        over = not math.isfinite(total) and bool((out.isinf() & wide.isfinite()).any())
        if over or (total == 0 and step.per in PLURAL and wide.numel() and bool((wide > 0).all())):
            size = float(wide.detach().abs().nan_to_num(posinf=0).max())
            raise CotanError(
                f"node {step.label!r} gives numbers up to {size:.0e}, which {_short(dtype)} cannot hold: scale the data "
                "(`normalized_pos` does a shape), or take dtype=torch.float64"
            )
        return out

    return map_tensors(narrow, value)


def run(step: Step, inputs: Mapping[str, Any], function: Callable[..., Any] | None = None) -> tuple[Any, float]:
    """What an operator, or another function in its place, makes of its inputs; and the seconds it took."""
    assert step.definition is not None
    start = time.perf_counter()
    try:
        value = (function or step.definition.target)(**inputs, **step.options)
    except (CotanError, *NO_MEMORY):
        raise
    except Exception as reason:
        own = getattr(inspect.unwrap(step.definition.target), "__code__", None)
        lines = [f for f in traceback.extract_tb(reason.__traceback__) if own and f.filename == own.co_filename]
        where = f" ({lines[-1].filename}:{lines[-1].lineno})" if lines else ""
        raise CotanError(f"node {step.label!r} failed: {type(reason).__name__}: {reason}{where}") from reason
    if not (step.definition.augments and is_data(value)):  # which is never stored
        try:
            check_storable(value if function is None else value[0])
        except CotanError as reason:
            raise CotanError(f"node {step.label!r} gives {reason}") from None
    if isinstance(value, dict):  # a record, as it will come from the store
        value = json.loads(json.dumps(value))
    return value, time.perf_counter() - start


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
    check_data(data)
    plan = make_plan({w.key: w for w in wanted}, sources_of(data))
    evaluation = Evaluation(data, wider=plan.wider)
    values = {key: whole(evaluation.value(step, dtype)) for key, step in plan.roots.items()}
    return values if several else values[wanted[0].key]


def check_dtype(dtype: Any) -> None:
    allowed = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
    if dtype not in allowed:
        raise CotanError(f"dtype {dtype!r}, expected one of {', '.join(map(str, allowed))}")


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
