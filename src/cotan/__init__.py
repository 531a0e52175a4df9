"""cotan: geometric deep learning on one shared computational graph. Names are edges.

>>> d = cotan.read("bunny.off")
>>> cotan.compute(d, "spectrum", k=64)
>>> model = cotan.create_model("spectral", in_dim=3, out_dim=8)
>>> cotan.apply(model, d)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Names come on first use, so that `import cotan` and `cotan --help` do not wait for torch.
_HOME = {
    "decorators": ("operator", "layer", "model", "dataset", "task"),
    "registry": ("names",),
    "errors": ("CotanError", "MeshWarning"),
    "nodes": ("node", "source", "Node"),
    "evaluation": ("compute", "counts"),
    "plan": ("make_plan", "Plan"),
    "network": ("Network", "create_layer", "create_model", "needs", "on_domain"),
    "application": ("inputs", "apply", "forward"),
    "batching": ("prepare",),
    "sampling": ("NeighbourSampler",),
    "dense": ("Linear", "linear"),
    "dropout": ("Dropout",),
    "stack": ("Readout", "pool"),
    "tasks": ("ranking_metrics",),
    "sparse": ("Sparse",),
    "spectrum": ("Spectrum", "BlockDiagonal"),
    "matching": ("match",),
    "map_error": ("geodesic_error", "share_within"),
    "operators.shifted_solve": ("shifted_solve",),
    "operators.threads": ("threads", "one_thread"),
    "files": ("read", "write"),
    "filters": ("draw_filters",),
    "inspect": ("draw",),
    "datasets": ("load_dataset", "Splits"),
    "training": ("fit", "evaluate", "predict", "model_for", "Recipe", "Run"),
    "benchmark": ("bench", "Suite", "Table"),
}
_MODULES = ("autodiff", "operators", "testing", "dense", "sparse", "spectrum", "tasks", "registry", "errors")
_WHERE = {name: module for module, found in _HOME.items() for name in found}

__all__ = sorted({*_WHERE, "autodiff", "operators", "testing"})

if TYPE_CHECKING:
    from . import autodiff as autodiff
    from . import operators as operators
    from . import testing as testing
    from .application import apply as apply
    from .application import forward as forward
    from .application import inputs as inputs
    from .batching import prepare as prepare
    from .benchmark import Suite as Suite
    from .benchmark import Table as Table
    from .benchmark import bench as bench
    from .datasets import Splits as Splits
    from .datasets import load_dataset as load_dataset
    from .decorators import dataset as dataset
    from .decorators import layer as layer
    from .decorators import model as model
    from .decorators import operator as operator
    from .decorators import task as task
    from .dense import Linear as Linear
    from .dense import linear as linear
    from .dropout import Dropout as Dropout
    from .errors import CotanError as CotanError
    from .errors import MeshWarning as MeshWarning
    from .evaluation import compute as compute
    from .evaluation import counts as counts
    from .files import read as read
    from .files import write as write
    from .filters import draw_filters as draw_filters
    from .inspect import draw as draw
    from .map_error import geodesic_error as geodesic_error
    from .map_error import share_within as share_within
    from .matching import match as match
    from .network import Network as Network
    from .network import create_layer as create_layer
    from .network import create_model as create_model
    from .network import needs as needs
    from .network import on_domain as on_domain
    from .nodes import Node as Node
    from .nodes import node as node
    from .nodes import source as source
    from .operators.shifted_solve import shifted_solve as shifted_solve
    from .operators.threads import one_thread as one_thread
    from .operators.threads import threads as threads
    from .plan import Plan as Plan
    from .plan import make_plan as make_plan
    from .registry import names as names
    from .sampling import NeighbourSampler as NeighbourSampler
    from .sparse import Sparse as Sparse
    from .spectrum import BlockDiagonal as BlockDiagonal
    from .spectrum import Spectrum as Spectrum
    from .stack import Readout as Readout
    from .stack import pool as pool
    from .tasks import ranking_metrics as ranking_metrics
    from .training import Recipe as Recipe
    from .training import Run as Run
    from .training import fit as fit
    from .training import model_for as model_for
    from .training.evaluate import evaluate as evaluate
    from .training.predict import predict as predict


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"cotan.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module 'cotan' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"cotan.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*__all__, *(name for name in globals() if name.startswith("__"))]  # what a person completes to
