"""Whether each option of a definition is used."""

from __future__ import annotations

import dis
import inspect
from types import CodeType

from .. import registry
from .compare import Report


def check_options(definition: registry.Definition, report: Report) -> None:
    """Each option is read: one that is not would be taken and ignored."""
    function = definition.target if definition.kind == "operator" else definition.target.__init__
    steps = list(dis.get_instructions(inspect.unwrap(function)))
    loads = [step.argval for step in steps if step.opname.startswith("LOAD")]
    read = [name for loaded in loads for name in (loaded if isinstance(loaded, tuple) else (loaded,))]
    kept = {step.argval for step in steps if step.opname == "STORE_ATTR"}
    for name in definition.options:
        if name not in read and "locals" not in read and name != "task":  # which a model has to take
            raise AssertionError(f"{report.name}: option {name!r} is taken and never used ({definition.source})")
        if read.count(name) == 1 and name in kept and name not in _attributes(definition.target):
            raise AssertionError(f"{report.name}: option {name!r} is kept as self.{name}, and no method reads it")
    report.passed.append("options are used")


def _attributes(cls: type) -> set[str]:
    """Those that its methods and properties read."""
    members = [inspect.unwrap(getattr(m, "fget", None) or getattr(m, "func", m)) for _, m in inspect.getmembers(cls)]
    codes = [member.__code__ for member in members if hasattr(member, "__code__")]
    found: set[str] = set()
    while codes:
        code = codes.pop()
        codes += [inner for inner in code.co_consts if isinstance(inner, CodeType)]
        found |= {s.argval for s in dis.get_instructions(code) if s.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    return found
