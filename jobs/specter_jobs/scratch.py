"""Where a night keeps what it needs only while it runs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from specter_batch.storage.location import Location


@contextmanager
def scratch_folder(out: Location) -> Iterator[Path]:
    """Yield a folder that is removed at the end: in the output folder, or in TMPDIR when that is in a store.

    One that a killed run left in the output folder is removed; the caller holds the folder's lock.
    """
    parent = None
    if isinstance(out, Path):
        parent = out
        for stale in out.glob("_survey.*"):
            shutil.rmtree(stale)
    scratch = Path(tempfile.mkdtemp(prefix="_survey.", dir=parent))
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
