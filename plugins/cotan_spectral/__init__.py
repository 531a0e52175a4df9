"""Convolution in the eigenbasis: by free multipliers, by smooth ones, and by polynomials, which need no basis."""

from . import chebyshev, rescaled_laplacian, smooth, spectral

__all__ = ["chebyshev", "rescaled_laplacian", "smooth", "spectral"]
