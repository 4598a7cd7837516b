"""Local copies of bundles that are in a store or on the Hugging Face hub: onnxruntime only opens local files."""

import hashlib
import tempfile
from pathlib import Path

from specter_batch.errors import BundleError
from specter_batch.hub.download import fetch_files, pinned
from specter_batch.hub.place import HubPlace
from specter_batch.model.manifest import CARD_FILE, MANIFEST_FILE, read_manifest
from specter_batch.storage.folder_swap import replace_folder
from specter_batch.storage.location import in_parallel
from specter_batch.storage.url_path import UrlPath
from specter_batch.storage.user_cache import user_cache


def pinned_bundle(url: UrlPath) -> UrlPath:
    """Return the URL of a bundle that cannot change: on the hub, a branch is replaced by the commit that it names now.

    The URL of a bundle in any other store is returned unchanged.

    Raises:
        BundleError: There is no bundle at the URL.
        ConfigError: The URL does not name a repository of the hub.
        StorageError: The hub cannot be reached or denies access.
    """
    place = HubPlace.of(url)
    return url if place is None else pinned(place, name=MANIFEST_FILE).url


def fetch_bundle(url: UrlPath, *, anew: bool = False) -> Path:
    """Return a local folder with the files of a bundle. The files are not checked.

    Args:
        url: The URL of the bundle, from `pinned_bundle`.
        anew: True to download the bundle even if a local copy exists.

    Raises:
        BundleError: There is no bundle at the URL.
        StorageError: The store cannot be reached or denies access.
    """
    place = HubPlace.of(url)
    return _from_store(url, anew=anew) if place is None else _from_hub(place, anew=anew)


def _from_hub(place: HubPlace, *, anew: bool) -> Path:
    """Download the files that the manifest lists into the cache of huggingface_hub, which other programs use too."""
    folder = fetch_files(place, [MANIFEST_FILE], anew=anew)
    try:
        manifest = read_manifest(folder)
    except BundleError as error:
        raise BundleError(str(error).replace(str(folder), str(place))) from error
    if any(graph.external_data for graph in manifest.graphs):
        # In that cache every file is a link, and ONNX Runtime must not follow links to weights.
        repository = f"{place.repository} --repo-type {place.kind} --revision {place.revision}"
        raise BundleError(
            f"{place}: a graph takes weights from other files, and such a bundle cannot run in the cache of the hub; "
            f"run `hf download {repository} --local-dir bundle`, and give the folder {Path('bundle') / place.folder}"
        )
    # A name with a slash, an empty one and ".." are never downloaded. Later they count as missing files.
    names = [name for name in manifest.hashes if Path(name).name == name and name not in ("", "..", CARD_FILE)]
    fetch_files(place, names, anew=anew)
    return folder


def _from_store(url: UrlPath, *, anew: bool) -> Path:
    """Download all files into a folder of our cache.

    The folder's name is the hash of the manifest. The manifest lists the hash of every other file, so two different
    bundles never share a folder.
    """
    try:
        manifest = (url / MANIFEST_FILE).read_bytes()
    except FileNotFoundError:
        raise BundleError(f"{url}: not a model bundle, {MANIFEST_FILE} is missing; copy one there") from None
    folder = user_cache("bundles") / hashlib.sha256(manifest).hexdigest()[:32]
    if anew or not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".fetching.") as scratch:
            partial = Path(scratch) / folder.name
            partial.mkdir()
            names = [name for name in url.below(recursive=False) if name != MANIFEST_FILE]
            list(in_parallel(lambda name: (url / name).fetch(partial / name), names))
            (partial / MANIFEST_FILE).write_bytes(manifest)
            try:
                if anew:  # another process may be using the old copy, so it is replaced in one step
                    replace_folder(partial, folder)
                else:
                    partial.rename(folder)
            except OSError:
                if not folder.is_dir():  # else another process downloaded the bundle first
                    raise
    return folder
