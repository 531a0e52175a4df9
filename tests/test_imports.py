"""Imports only go down: the core never imports a plugin, and plugins only the public `cotan`."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import cotan
from cotan import registry

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "src" / "cotan").rglob("*.py"))
OUTSIDE = sorted([*(ROOT / "plugins").rglob("*.py"), *(ROOT / "datasets").rglob("*.py")])
PLUGINS = {path.name for folder in ("plugins", "datasets") for path in (ROOT / folder).iterdir() if path.is_dir()}
# Lower layers do not import higher ones.
ORDER = [
    "errors",
    "atomic",
    "traceable",
    "registry",
    "decorators",
    "nodes",
    "blocks",
    "pattern",
    "kernels",
    "sums",
    "dense",
    "segments",
    "neighbourhoods",
    "sparse",
    "data",
    "spectrum",
    "values",
    "collation",
    "store",
    "plan",
    "evaluation",
    "together",
    "network",
    "application",
    "stack",
]


def imported(source: str, package: str = "") -> set[str]:
    """Full names of all modules that a file imports, and of what it takes from `cotan`."""
    out = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            out |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*parts, base]).strip(".")
            out |= {base} | {f"{base}.{alias.name}" for alias in node.names}
    return out


def plugins_imported_by_core(source: str) -> set[str]:
    return {name.split(".")[0] for name in imported(source, "cotan")} & PLUGINS


def private_doors(source: str, own: str) -> set[str]:
    """What a plugin takes from cotan besides the public names."""
    public = {"cotan", "cotan.operators"} | {f"cotan.{name}" for name in cotan.__all__}
    public |= {f"cotan.operators.{name}" for name in cotan.operators.__all__}
    modules = {
        "cotan.blocks",
        "cotan.dense",
        "cotan.sparse",
        "cotan.spectrum",
        "cotan.testing",
        "cotan.autodiff",
        "cotan.errors",
        "cotan.processes",
        "cotan.tasks",
    }
    taken = {name for name in imported(source, own) if name.split(".")[0] == "cotan"}
    attributes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute))
    taken |= {ast.unparse(node) for node in attributes if ast.unparse(node.value) in ("cotan", "cotan.operators")}
    doors = {name for name in taken if name not in public | modules and name.rpartition(".")[0] not in modules}
    return doors | {name for name in imported(source, own) if name.split(".")[0] in PLUGINS - {own}}


@pytest.mark.parametrize("path", CORE, ids=lambda p: str(p.relative_to(ROOT / "src")))
def test_core_imports_no_plugin(path):
    assert plugins_imported_by_core(path.read_text()) == set()


@pytest.mark.parametrize("path", OUTSIDE, ids=lambda p: str(p.relative_to(ROOT)))
def test_plugins_use_only_the_public_face(path):
    own = path.relative_to(ROOT).parts[1]
    assert private_doors(path.read_text(), own) == set()


def test_these_tests_can_fail():
    assert plugins_imported_by_core("def f():\n    import cotan_dense.mlp") == {"cotan_dense"}
    assert private_doors("from cotan.evaluation import Evaluation", "cotan_dense")
    assert private_doors("import cotan\ncotan._store()", "cotan_dense")
    assert private_doors("from cotan.operators.triangles import triangles", "cotan_views")
    assert private_doors("from cotan.operators import eigen", "cotan_views") == {"cotan.operators.eigen"}
    assert private_doors("import cotan\ncotan.operators.eigen.eigenpairs()", "cotan_views") == {"cotan.operators.eigen"}
    assert private_doors("from cotan.operators import triangles", "cotan_views") == set()
    assert private_doors("import cotan_views", "cotan_dense") == {"cotan_views"}
    assert private_doors("from . import mlp\nimport cotan\ncotan.node('mass')", "cotan_dense") == set()


def test_the_function_of_every_core_operator_is_public():
    found = [d for name in cotan.names("operator") for d in registry.variants("operator", name)]
    named = {d.target for d in found if d.target.__module__.startswith("cotan.operators.")}
    assert named
    assert named <= {getattr(cotan.operators, name) for name in cotan.operators.__all__}


@pytest.mark.parametrize("module", ORDER)
def test_lower_layers_do_not_import_higher_ones(module):
    """At import; a function may ask upwards when it runs."""
    tree = ast.parse((ROOT / "src" / "cotan" / f"{module}.py").read_text())
    top = ast.Module([node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    above = {f"cotan.{name}" for name in ORDER[ORDER.index(module) :]} - {f"cotan.{module}"}
    assert imported(ast.unparse(top), "cotan") & above == set()


def test_importing_cotan_imports_nothing_heavy():
    code = "import sys, cotan, cotan.cli; print([m for m in ('torch', 'scipy', 'numpy', 'matplotlib') if m in sys.modules])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_listing_imports_torch_and_nothing_slower_and_a_picture_without_a_file_leaves_pyplot_alone():
    code = (
        "import sys, cotan; from cotan import registry; registry.load()\n"
        "print([m for m in ('torch_geometric', 'matplotlib', 'trimesh', 'skimage', 'scipy', 'lightning_fabric')"
        " if m in sys.modules])\n"
        "from cotan.show import sphere\n"
        "figure = cotan.draw(sphere(), None, sphere().pos[:, 0])\n"
        "print(type(figure).__name__, 'matplotlib.pyplot' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\nFigure False\n"
