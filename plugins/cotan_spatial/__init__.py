"""Convolution by neighbours: each vertex gathers from those whose edges reach it."""

from . import adjacency

__all__ = ["adjacency"]
