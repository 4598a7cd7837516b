"""Bundles of a store, fetched once to this machine: onnxruntime opens files."""

import hashlib
import tempfile
from pathlib import Path

from specter_batch.errors import BundleError
from specter_batch.storage.folder_swap import replace_folder
from specter_batch.storage.location import in_parallel
from specter_batch.storage.url_path import UrlPath
from specter_batch.storage.user_cache import user_cache


def fetch_bundle(url: UrlPath, *, manifest_name: str, anew: bool = False) -> Path:
    """Return a local folder with a bundle's files, unchecked.

    It is named by the hash of the manifest, which lists every other file's hash: another bundle has another folder.

    Args:
        url: The bundle.
        manifest_name: Of its manifest.
        anew: Fetch it though it is there.

    Raises:
        BundleError: There is no bundle.
        StorageError: The store cannot be reached or refuses.
    """
    try:
        manifest = (url / manifest_name).read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{url}: not a model bundle, {manifest_name} is missing; copy one there") from None
    folder = user_cache("bundles") / hashlib.sha256(manifest).hexdigest()[:32]
    if anew or not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching.") as scratch:
            partial = Path(scratch) / folder.name
            partial.mkdir()
            names = [name for name in url.below(recursive=False) if name != manifest_name]
            list(in_parallel(lambda name: (url / name).fetch(partial / name), names))
            (partial / manifest_name).write_bytes(manifest)
            try:
                if anew:  # the copy that is there may be in use, so it is never missing
                    replace_folder(partial, folder)
                else:
                    partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process was quicker
                    raise
    return folder
