"""`python -m cotan`."""

from .cli import main

main()
