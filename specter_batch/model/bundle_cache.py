"""A local cache of bundles that are in a store, because onnxruntime only opens local files."""

import hashlib
import tempfile
from pathlib import Path

from specter_batch.errors import BundleError
from specter_batch.storage.folder_swap import replace_folder
from specter_batch.storage.location import in_parallel
from specter_batch.storage.url_path import UrlPath
from specter_batch.storage.user_cache import user_cache


def fetch_bundle(url: UrlPath, *, manifest_name: str, anew: bool = False) -> Path:
    """Return a local folder with the files of a bundle. The files are not checked.

    The folder's name is the hash of the manifest. The manifest lists the hash of every other file, so two different
    bundles never share a folder.

    Args:
        url: The URL of the bundle.
        manifest_name: The file name of the bundle's manifest.
        anew: True to download the bundle even if a local copy exists.

    Raises:
        BundleError: There is no bundle at the URL.
        StorageError: The store cannot be reached or denies access.
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
                if anew:  # another process may be using the old copy, so it is replaced in one step
                    replace_folder(partial, folder)
                else:
                    partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process downloaded the bundle first
                    raise
    return folder
