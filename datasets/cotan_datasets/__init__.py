"""Datasets for cotan: generated shapes and graphs, and readers of public formats. `plugin` registers them."""
