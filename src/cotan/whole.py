"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path

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


@cache
def _mode() -> int:
    """Of a new file here: mkstemp's are for their owner alone."""
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
