"""Being built."""

from . import diffusion as diffusion
from . import diffusion_weights as diffusion_weights
