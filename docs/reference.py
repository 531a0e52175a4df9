"""Makes docs/reference.md of what is registered and of `cotan`'s own names: `python docs/reference.py`."""

import inspect
from functools import cached_property
from html import escape
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

from typer.testing import CliRunner

import cotan
from cotan import operators, registry
from cotan.autodiff import Jacobian
from cotan.batching import Batch, Prepared
from cotan.cli import app
from cotan.matching import Matched
from cotan.operators.nearest_on_surface import OnSurface
from cotan.operators.topology import Orientation, Topology
from cotan.operators.triangles import Triangles
from cotan.suite import Entry
from cotan.training.predict import Prediction

PAGE = Path(__file__).with_name("reference.md")
GIVEN = (Batch, Entry, Jacobian, Matched, OnSurface, Orientation, Prediction, Prepared, Topology, Triangles)


def page() -> str:
    titles = ("Python", "Values", "Geometry", *(f"{kind}s".title() for kind in registry.KINDS))
    parts = [
        "# Reference",
        "All that comes with the package, as `cotan list NAME` and `help(cotan.NAME)` say it. Symbols and signs are those of\n"
        "[conventions](conventions.md). Made by `python docs/reference.py`.",
        " · ".join(f"[{title}](#{title.lower()})" for title in titles),
    ]
    parts.append("## Python\n\n" + "\n".join(python(cotan, name) for name in cotan.__all__))
    parts.append(
        "## Values\n\nWhat functions give, beside tensors and the classes above.\n\n"
        + "\n".join(entry(c.__name__, first_line(c), f"{inspect.getdoc(c)}\n\n{methods(c)}") for c in GIVEN)
    )
    functions = {d.target for name in registry.names("operator") for d in registry.variants("operator", name)}
    beside = (name for name in operators.__all__ if getattr(operators, name) not in functions)
    parts.append(
        "## Geometry\n\nFunctions of tensors in `cotan.operators`. That of every operator of the core is there too, by the last\n"
        "of the names in brackets under Operators: `from cotan.operators import barycentric_mass`.\n\n"
        + "\n".join(python(operators, name) for name in beside)
    )
    for kind in registry.KINDS:
        found = (name for name in registry.names(kind) if registry.has(kind, name))
        parts.append(f"## {kind.title()}s\n\n" + "\n".join(listed(kind, name) for name in found))
    return "\n\n".join(parts) + "\n"


def python(module: ModuleType, name: str) -> str:
    value = getattr(module, name)
    error = inspect.isclass(value) and issubclass(value, Exception)
    called = "" if error or inspect.ismodule(value) else call(value)
    text = f"{module.__name__}.{name}{called}\n\n{inspect.getdoc(value)}"
    return entry(name, first_line(value), text if error else f"{text}\n\n{methods(value)}")


def first_line(value: Any) -> str:
    return (inspect.getdoc(value) or "").split("\n")[0]


def call(value: Any) -> str:
    """Its signature without annotations; nothing of a property."""
    value = getattr(value, "__func__", value)  # of a classmethod
    if not callable(value):
        return ""
    signature = inspect.signature(value)
    bare = [p.replace(annotation=p.empty) for p in signature.parameters.values() if p.name not in ("self", "cls")]
    return str(signature.replace(parameters=bare, return_annotation=signature.empty))


def methods(owner: Any) -> str:
    """What a class or a module has, with what it says of itself; of a function nothing."""
    return "\n\n".join(
        f"{owner.__name__}.{name}{call(value)}\n\n{indent(inspect.getdoc(value) or '', '    ')}"
        for name, value in vars(owner).items()
        if value.__doc__ and not name.startswith("_") and is_own(owner, value)
    )


def is_own(owner: Any, value: Any) -> bool:
    if owner is operators:  # its functions have entries of their own
        return False
    if inspect.isclass(owner):
        return inspect.isroutine(value) or isinstance(value, classmethod | property | cached_property)
    return inspect.isfunction(value) and value.__module__.startswith(owner.__name__)


def listed(kind: str, name: str) -> str:
    said = CliRunner().invoke(app, ["list", name]).output
    return entry(name, registry.lookup(kind, name).line, said)


def entry(name: str, line: str, text: str) -> str:
    return (
        f"<details><summary><code>{name}</code> {escape(line)}</summary>\n\n```text\n{text.strip()}\n```\n\n</details>"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
