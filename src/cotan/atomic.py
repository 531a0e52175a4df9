"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

from .errors import CotanError

BESIDE = ".writing-"  # how the names begin of files that are not whole yet


def write(path: Path, *content: bytes) -> None:
    """Beside its place, then renamed. Where that fails (OSError), what was there before stays."""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=BESIDE)
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=BESIDE)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines(content)
        os.chmod(temporary, _mode())
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


@cache
def _mode() -> int:
    """Of a new file here: mkstemp's are for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
