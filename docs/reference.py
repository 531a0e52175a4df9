"""Makes docs/reference.md of what is registered and of `cotan`'s own names: `python docs/reference.py`."""

import inspect
from html import escape
from pathlib import Path
from types import ModuleType

from typer.testing import CliRunner

import cotan
from cotan import operators, registry
from cotan.cli import app

PAGE = Path(__file__).with_name("reference.md")


def page() -> str:
    titles = ("Python", "Geometry", *(f"{kind}s".title() for kind in registry.KINDS))
    parts = [
        "# Reference",
        "All that comes with the package, as `cotan list NAME` and `help(cotan.NAME)` say it. Symbols and signs are those of\n"
        "[conventions](conventions.md). Made by `python docs/reference.py`.",
        " · ".join(f"[{title}](#{title.lower()})" for title in titles),
    ]
    parts.append("## Python\n\n" + "\n".join(python(cotan, name) for name in cotan.__all__))
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
    doc = inspect.getdoc(value) or ""
    if inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception)):
        signature = inspect.signature(value)
        bare = [p.replace(annotation=p.empty) for p in signature.parameters.values()]
        called = str(signature.replace(parameters=bare, return_annotation=signature.empty))
    else:
        called = ""
    return entry(name, doc.split("\n")[0], f"{module.__name__}.{name}{called}\n\n{doc}")


def listed(kind: str, name: str) -> str:
    said = CliRunner().invoke(app, ["list", name]).output
    return entry(name, registry.lookup(kind, name).line, said)


def entry(name: str, line: str, text: str) -> str:
    return (
        f"<details><summary><code>{name}</code> {escape(line)}</summary>\n\n```text\n{text.strip()}\n```\n\n</details>"
    )


if __name__ == "__main__":
    PAGE.write_text(page())
