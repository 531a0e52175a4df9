"""Training: a recipe, one loop on Lightning Fabric, and what it leaves behind."""

from .evaluate import evaluate
from .loop import fit
from .make import model_for
from .predict import Prediction, predict
from .recipe import Recipe
from .run import Run

__all__ = ["Prediction", "Recipe", "Run", "evaluate", "fit", "model_for", "predict"]
