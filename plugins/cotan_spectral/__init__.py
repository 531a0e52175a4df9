"""Convolution in the eigenbasis: by free multipliers, by smooth ones, and without it: by polynomials and rational functions."""

from . import cayley, chebyshev, rescaled_laplacian, smooth, spectral  # noqa: F401  (they register themselves)
