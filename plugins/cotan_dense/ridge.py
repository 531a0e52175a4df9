"""Ridge functions: constant along all directions but one."""

import cotan

from .linear import Linear


@cotan.layer("ridge", invariant_to=("isometry", "scale"))
class Ridge(Linear):
    """y_j = sigma(<w_j, x> + b_j): a neuron, which varies only along w_j.

    Linear combinations of them are dense in the continuous functions on a compact set (Cybenko 1989 for
    sigmoids, Leshno et al. 1993 for any sigma that is no polynomial); `shallow` is one.

    Arguments:
        nonlinearity: sigma, an activation as in `stack`.

    Shape: x (V, in_dim) -> (V, out_dim); any leading dimensions.
    """

    def __init__(self, in_dim: int, out_dim: int, *, nonlinearity: str = "relu"):
        super().__init__(in_dim, out_dim, nonlinearity=nonlinearity)
