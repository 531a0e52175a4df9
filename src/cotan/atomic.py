"""Files that are there whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from .errors import CotanError

BESIDE = ".writing-"  # the beginning of the names of files that are not whole yet


def write(path: Path, *content: bytes) -> None:
    """Write a file beside its place, then rename it. Where that fails (OSError), what was there before stays."""
    temporary = path.with_name(f"{BESIDE}{uuid4().hex}")
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.writelines(content)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def save(path: Path, content: bytes) -> None:
    """`write`, with a `CotanError` where it fails, of a full disk say."""
    try:
        write(path, content)
    except OSError as reason:
        raise CotanError(
            f"{path} cannot be written: {reason.strerror or reason}. What was there before it is whole"
        ) from reason
