"""One job at a time on an output, on disk or in a store."""

from contextlib import AbstractContextManager

from specter_batch.storage.folder_lock import LOCK_FILE, folder_holder, folder_locked, this_process
from specter_batch.storage.location import Location
from specter_batch.storage.url_path import UrlPath
from specter_jobs.output.store_lock import lock_object_held, read_claim


def locked(out: Location) -> AbstractContextManager[None]:
    """Hold an output's lock; of a holder that dies a disk's is free at once, one in a store some time after.

    Raises:
        ConfigError: Another job holds it; the message says which.
    """
    return lock_object_held(out / LOCK_FILE, holder=this_process()) if isinstance(out, UrlPath) else folder_locked(out)


def holder(out: Location) -> str | None:
    """Say which job is at work on an output; None when none is."""
    if not isinstance(out, UrlPath):
        return folder_holder(out)
    claim = read_claim(out / LOCK_FILE)
    return claim.holder if claim is not None and claim.is_alive else None
