"""What a layer or a model has to hold."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from .. import registry
from ..application import signal_of
from ..network import create_layer, create_model
from ..sparse import Sparse
from ..values import map_tensors, move
from .calculus import check_calculus
from .cases import Case, Tried, call, case_on, is_signal, run
from .compare import TOLERANCE, Report, check_finite, check_generator, check_places, failing, leaves, same
from .elsewhere import another_device
from .mixed_precision import mixed_precision
from .options import check_options
from .shapes import any_basis, motions, pairs, renumbered


def check_layer(
    name: str, in_dim: int = 4, out_dim: int = 6, *, data: Any = None, compile: bool = True, **options: Any
) -> Report:
    """Check a registered layer on meshes and graphs that have its nodes (or on random images, volumes, sequences).

    `data`: a shape, or several, to check it on instead, where it takes attributes of your own.
    """
    definition = registry.lookup("layer", name)
    report = Report(f"layer {name}")

    def make(seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return create_layer(name, in_dim, out_dim, **options).double().eval()

    check_options(definition, report)
    tried = Tried(make, in_dim, out_dim, definition.signal, "vertex", True, report)
    _check_module(tried, data, compile)
    for motion, *pair in motions(registry.invariance(make())):
        cases = [case_on(tried, f"invariance to {motion}", shape) for shape in pair]
        if None in cases:
            continue
        with torch.no_grad():
            before, after = (run(make(), case.values()) for case in cases if case)
        same([after], [before], 1e-6, f"declared invariance to {motion}", report)
    return report


def check_model(
    name: str,
    in_dim: int = 3,
    out_dim: int = 5,
    *,
    task: str | None = None,
    data: Any = None,
    compile: bool = False,
    **options: Any,
) -> Report:
    """Check a registered model, or a layer's stack, for a task (the first that it does); `data` as in `check_layer`."""
    definition = registry.lookup("model", name) if registry.has("model", name) else None
    task = task or (definition.tasks[0] if definition and definition.tasks else "classify")
    report = Report(f"model {name} ({task})")
    per = registry.lookup("task", task).target.per

    def make(seed: int = 0) -> nn.Module:
        torch.manual_seed(seed)
        return create_model(name, in_dim, out_dim, task=task, **options).double().eval()

    if definition:
        check_options(definition, report)
    _check_module(Tried(make, in_dim, out_dim, signal_of(make()), per, False, report), data, compile)
    return report


def _check_module(tried: Tried, data: Any, compiled: bool) -> None:
    module, report = tried.module, tried.report
    idle = {name for name, p in module.named_parameters() if p.requires_grad}
    used: dict[str, bool] = {}
    seen = False
    grid = data is None and tried.signal != "vertex"
    for first, shape, second, beside in [("grid", None, "grid", None)] if grid else pairs(data):
        case = case_on(tried, f"on a {first}", shape)
        if case is None:
            continue
        other = case_on(tried, f"batch of a {first} and a {second}", beside, seed=1)
        idle &= _idle(module, case.values())
        _check_on(tried, case, other, first, second)
        for name, matters in _used(module, case.values()).items():
            used[name] = matters or used.get(name, False)
        if not seen:
            check_calculus(tried.make, case, report)
            if compiled:
                _check_compiled(module, [c for c in (case, other) if c], report)
        seen = True
    report.check_tried(seen)
    if idle and not hasattr(module, "before_training"):  # a first stage of its own may learn them
        raise AssertionError(
            f"{report.name}: no derivative reaches {', '.join(sorted(idle))}, so it would never be learned"
        )
    if unused := sorted(name for name, matters in used.items() if not matters):
        raise AssertionError(f"{report.name}: forward takes and never uses {', '.join(unused)}")


def _idle(module: nn.Module, values: Mapping[str, Any]) -> set[str]:
    """The parameters that have no part in the output."""
    wanted = {name: p for name, p in module.named_parameters() if p.requires_grad}
    out = run(module, values)
    if not out.requires_grad:
        return set(wanted)
    gradients = torch.autograd.grad(out.sum(), list(wanted.values()), allow_unused=True)
    return {name for name, gradient in zip(wanted, gradients) if gradient is None}


def _used(module: nn.Module, values: Mapping[str, Any]) -> dict[str, bool]:
    """Whether other numbers in an input make another output. Of a matrix the pattern alone may be used."""
    found = {}
    with torch.no_grad():
        out = run(module, values)
        for name, value in values.items():
            if not isinstance(value, Sparse) and any(t.is_floating_point() and t.numel() for t in leaves(value)):
                other = map_tensors(lambda t: t + torch.randn_like(t) if t.is_floating_point() else t, value)
                alike = {key: other for key, given in values.items() if given is value}  # one node under two names
                found[name] = not torch.equal(run(module, {**values, **alike}), out)
    return found


def _check_on(tried: Tried, case: Case, other: Case | None, first: str, second: str) -> None:
    module, report, values = tried.module, tried.report, case.values()
    state = {name: value.clone() for name, value in module.state_dict().items()}
    with torch.no_grad():
        random = torch.manual_seed(11).get_state()
        out = run(module, values)
        for name, value in module.state_dict().items():
            if name not in state or not torch.equal(value, state[name]):
                raise AssertionError(
                    f"{report.name}: forward changes {name}, in eval: later outputs depend on earlier ones"
                )
        rows = case.data.num_nodes if tried.per == tried.signal == "vertex" else 1
        more = tried.layer and tried.signal != "vertex"  # an image's height and width
        if out.shape[:2] != (rows, tried.out_dim) or (out.ndim > 2 and not more):
            expected = f"({rows}, {tried.out_dim}{', ...' * more})"
            raise AssertionError(f"{report.name} on a {first}: output {tuple(out.shape)}, expected {expected}")
        check_finite(out, f"output on a {first}", report)
        same([run(module, case.values())], [out], 0.0, f"determinism on a {first}", report)
        check_generator(random, f"{report.name}: forward, in eval,")
        # Before a shape of another size: what a module keeps of the last one, it often keeps by size.
        if not any_basis(first, case.plan, report) and tried.signal == "vertex":
            moved, orders = renumbered(case.data)
            what = f"permutation of a {first}"
            again = case_on(tried, what, moved)
            assert again
            again.x = None if case.x is None else case.x[orders["vertex"]]
            wanted = out[orders["vertex"]] if tried.per == "vertex" else out
            same([run(module, again.values())], [wanted], 1e-6, what, report)
        single = copy.deepcopy(module).float()
        near = run(single, case.values(dtype=torch.float32))
        if near.dtype != torch.float32:
            raise AssertionError(f"{report.name}: float32 parameters and inputs give {near.dtype}")
        same([near.double()], [out], TOLERANCE[torch.float32], f"float32 against float64 on a {first}", report)
        with torch.autocast("cpu", dtype=torch.bfloat16):  # as `fit` does with precision "bf16"
            near = run(single, case.values(dtype=torch.float32))
        same([near.double()], [out], TOLERANCE[torch.bfloat16], f"bf16 autocast on a {first}", report)
        fresh = tried.make(1)
        with failing(f"{report.name}: state_dict round trip"):
            fresh.load_state_dict(module.state_dict())
        same([run(fresh, case.values())], [out], 0.0, "state_dict round trip", report)
        if other:
            together = run(module, case.values(other))
            alone = torch.cat([out, run(module, other.values())])
            same([together], [alone], TOLERANCE[torch.float64], f"batch independence, {first} and {second}", report)
    _check_elsewhere(module, values, f"another device, on a {first}", report)
    if other:
        _check_elsewhere(copy.deepcopy(module).train(), case.values(other), f"training there, on a {first}", report)


def _check_elsewhere(module: nn.Module, values: Mapping[str, Any], what: str, report: Report) -> None:
    """Output and gradients are on the device of parameters and nodes; and the same, but for what training draws."""
    expected = [] if module.training else _pulled(copy.deepcopy(module), values)
    if not all(bool(torch.isfinite(t).all()) for t in expected):
        raise AssertionError(f"{report.name}: a gradient {what.partition(', ')[2]} is NaN or infinite")
    with another_device() as device:
        with failing(f"{report.name}: {what}"):
            there = copy.deepcopy(module).to(device)
            found = _pulled(there, {name: move(value, device) for name, value in values.items()})
        check_places(found, device, f"{report.name}: {what}: parameters on {device.type} give")
        found = [t.cpu() for t in found]
        if module.training:
            _check_mixed(there.float(), values, device, what, report)
    same([] if module.training else found, expected, 1e-6, what, report)


def _check_mixed(module: nn.Module, values: Mapping[str, Any], device: torch.device, what: str, report: Report) -> None:
    """A step in mixed precision runs, as `fit` makes it: operations give bfloat16 or float32, whichever suits them."""
    with failing(f"{report.name}: mixed precision, {what}"):
        with mixed_precision():
            out = run(module, {name: move(v, device, torch.float32) for name, v in values.items()})
        if out.requires_grad:
            out.float().square().sum().backward()
    if not bool(torch.isfinite(out).all()):
        raise AssertionError(f"{report.name}: mixed precision, {what}: NaN or infinite values")
    report.passed.append(f"mixed precision, {what}")


def _pulled(module: nn.Module, values: Mapping[str, Any]) -> list[Tensor]:
    """The output, and the gradients that its sum of squares has for parameters and signals."""
    values = {name: v.detach().requires_grad_() if is_signal(name, v) else v for name, v in values.items()}
    out = run(module, values)
    wanted = [*module.parameters(), *(v for name, v in values.items() if is_signal(name, v))]
    wanted = [t for t in wanted if t.requires_grad]
    gradients = torch.autograd.grad(out.square().sum(), wanted, allow_unused=True) if out.requires_grad else ()
    return [out.detach(), *(g for g in gradients if g is not None)]


def _check_compiled(module: nn.Module, cases: Sequence[Case], report: Report) -> None:
    """One graph, and the same numbers; on a shape of another size too, for which it compiles with sizes that vary."""
    torch._dynamo.reset()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for case in cases:
        with torch.no_grad():
            expected = run(module, case.values())
            try:
                got = call(compiled, case.values())
            except Exception as reason:
                raise AssertionError(f"{report.name} does not compile in one graph: {reason}") from reason
        same([got], [expected], 1e-8, "torch.compile(fullgraph=True)", report)
