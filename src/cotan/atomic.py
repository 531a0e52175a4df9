"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from pathlib import Path
from typing import IO
from uuid import uuid4

from .errors import CotanError

BESIDE = ".writing-"  # the beginning of the names of files that are not whole yet


def write(path: Path, *content: bytes, sync: bool = False) -> None:
    """Write a file beside its place, then rename it. Where that fails (OSError), what was there before stays.

    With `sync` it is on the disk before it is renamed: else a power cut may leave a file without content in its place.
    """
    temporary = path.with_name(f"{BESIDE}{uuid4().hex}")
    try:
        if not path.parent.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        with open(temporary, "xb") as file:
            file.writelines(content)
            if sync:
                to_disk(file)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def to_disk(file: IO[bytes]) -> None:
    """What was written to a file stays there though the power is cut, as far as its file system can say so."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as reason:
        if reason.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise


def save(path: Path, content: bytes, sync: bool = True) -> None:
    """`write`, through a link to where it leads, with a `CotanError` where it fails, of a full disk say."""
    try:
        if path.exists() and not path.is_file():  # a pipe or a device, in whose place a file would be
            path.write_bytes(content)
        else:
            write(Path(os.path.realpath(path)), content, sync=sync)
    except OSError as reason:
        raise CotanError(
            f"{path} cannot be written: {reason.strerror or reason}. What was there before it is whole"
        ) from reason
