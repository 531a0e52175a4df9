"""Convolution by neighbours: each vertex gathers from those whose edges reach it."""

from . import adjacency, gat, gcn, gin, sage

__all__ = ["adjacency", "gat", "gcn", "gin", "sage"]
