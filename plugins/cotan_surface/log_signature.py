"""A signature whose values differ by orders of magnitude, on a scale that a network can read."""

from torch import Tensor

import cotan


@cotan.operator(per="vertex", invariant_to=("isometry", "scale"))
def log_signature(heat_kernel_signature: Tensor, mass: Tensor, *, floor: float = 1e-6) -> Tensor:
    """log max(A h, floor), A the area of the shape. (V, size)

    Signatures are squares of eigenfunctions, whose mean over the shape is 1 / A: of shapes of different size that is most
    of what differs. Another one may stand in: `{name = "log_signature", heat_kernel_signature = "wave_kernel_signature"}`.
    """
    return (heat_kernel_signature * mass.sum()).clamp(min=floor).log()
