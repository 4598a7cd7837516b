"""The temporary folder in which a command builds its output folder."""

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from shutil import rmtree

from specter_batch.errors import ConfigError
from specter_batch.storage.output_claim import LOCK_FILE, folder_locked

# A younger folder without a lock is not removed, because its command may be about to take the lock.
MOMENT_SECONDS = 60.0


@contextmanager
def scratch_beside(out: Path, command: str) -> Iterator[Path]:
    """Yield a temporary folder next to `out`, on the same file system, and remove it at the end.

    Folders of earlier runs of the command to `out` that were killed are removed first. A running command holds a lock
    on its folder, so that folder is kept.

    Args:
        out: The output folder.
        command: Name of the command, such as `export`.
    """
    prefix = f".{out.name}.{command}-"
    for stale in out.parent.glob(f"{escape(prefix)}*"):
        _remove_stale(stale)
    scratch = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))
    try:
        with folder_locked(scratch):
            yield scratch
    finally:
        rmtree(scratch, ignore_errors=True)


def _remove_stale(folder: Path) -> None:
    if not (folder / LOCK_FILE).is_file():
        # Another process may have just made the folder and be about to take the lock, so only old folders are removed.
        with suppress(OSError):
            if time.time() - folder.stat().st_mtime > MOMENT_SECONDS:
                folder.rmdir()
        return
    try:
        with folder_locked(folder):
            rmtree(folder, ignore_errors=True)
    except (ConfigError, FileNotFoundError):
        return  # another process uses the folder, or has just removed it
