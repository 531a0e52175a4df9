"""Importing this registers the core's own operators and tasks."""

from . import augment, operators, stack, tasks  # noqa: F401
