"""Downloads from repositories of the hub into the cache that all programs share which use huggingface_hub."""

import logging
from collections.abc import Iterable
from pathlib import Path

from specter_batch.errors import StorageError, StorageRefusedError
from specter_batch.hub.place import HubPlace
from specter_batch.hub.problems import hub_errors, quiet_client
from specter_batch.logs import log, logger
from specter_batch.storage.location import in_parallel
from specter_batch.terminal import warn

# Seconds to wait for the first answer of the hub.
TIMEOUT = 10.0


def pinned(place: HubPlace, *, name: str) -> HubPlace:
    """Return a place with its branch or tag replaced by the commit that it names now.

    If the hub cannot be reached, the commit that it named the last time is taken from the cache, with a warning.

    Args:
        place: The place in a repository.
        name: File name that must exist in the folder; it is downloaded.

    Raises:
        BundleError: The file does not exist there.
        StorageRefusedError: The hub denies access, or the repository or revision does not exist.
        StorageError: The hub cannot be reached, and the cache holds nothing of this revision.
    """
    if place.is_pinned:
        return place
    from huggingface_hub import HfApi, hf_hub_download, try_to_load_from_cache

    path, kind = place.file(name), place.kind
    try:
        with quiet_client(), hub_errors(place, name=name):
            HfApi().repo_info(place.repository, repo_type=kind, revision=place.revision, timeout=TIMEOUT)
            file = hf_hub_download(
                place.repository, path, repo_type=kind, revision=place.revision, etag_timeout=TIMEOUT
            )
    except StorageRefusedError:
        raise
    except StorageError as error:
        cached = try_to_load_from_cache(place.repository, path, repo_type=kind, revision=place.revision)
        if not isinstance(cached, str):
            raise
        file = cached
        _warn(place, _snapshot(file, path).name, error)
    return place.at(_snapshot(file, path).name)


def fetch_files(place: HubPlace, names: Iterable[str], *, anew: bool = False) -> Path:
    """Return the local folder with files of a commit. The hub is not asked for files that the cache has.

    Args:
        place: The place, with a commit as its revision.
        names: Names of the files in the folder.
        anew: True to download the files even if the cache has them.

    Raises:
        BundleError: A file does not exist there.
        StorageRefusedError: The hub denies access, or the repository or commit does not exist.
        StorageError: The hub cannot be reached.
    """
    from huggingface_hub import hf_hub_download

    def fetch(name: str) -> Path:
        path = place.file(name)
        with hub_errors(place, name=name):
            file = hf_hub_download(
                place.repository,
                path,
                repo_type=place.kind,
                revision=place.revision,
                etag_timeout=TIMEOUT,
                force_download=anew,
            )
        return _snapshot(file, path) / place.folder

    with quiet_client():
        folders = list(in_parallel(fetch, names))
    return folders[0]


def _warn(place: HubPlace, commit: str, error: StorageError) -> None:
    """Warn that a downloaded commit is used: in the log of a night, or on standard error if nothing collects logs."""
    event = "hub not reached, the downloaded commit is used"
    if logger.hasHandlers():
        log(event, level=logging.WARNING, bundle=str(place), commit=commit, error=str(error))
    else:
        warn(f"{event}: {commit}. {error}")


def _snapshot(file: str, path: str) -> Path:
    """Return the cache's folder of a commit, which has the commit's name, from a file in it and its path there."""
    return Path(file).parents[path.count("/")]
