"""The test kit: certify an operator, a layer or a model, of cotan's or of your own.

>>> cotan.testing.check_layer("my-layer")        # in a test; raises AssertionError with what failed

Each check is a property: what must hold when vertices are renumbered, shapes batched, coordinates turned, dtypes changed.
"""

from .compare import Report
from .elsewhere import another_device
from .mixed_precision import mixed_precision
from .modules import check_layer, check_model
from .operators import check_operator
from .shapes import Nothing

__all__ = ["Nothing", "Report", "another_device", "check_layer", "check_model", "check_operator", "mixed_precision"]
