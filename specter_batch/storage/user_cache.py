"""The user's cache folders, for data that can be downloaded or computed again."""

import os
import tempfile
from pathlib import Path

from specter_batch.errors import ConfigError


def user_cache(kind: str) -> Path:
    """Return this user's cache folder for one kind of data, by the XDG base directory specification.

    It may be removed at any time. A user without a home folder, such as a container's `runAsUser`, gets a private
    folder below the folder for temporary files.

    Raises:
        ConfigError: The user has no home folder, and the private folder belongs to another user.
    """
    # By the specification, relative paths are ignored, and so is an empty value.
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not root.is_absolute():
        root = _below_home() or _private_folder()
    return root / "specter-batch" / kind


def _below_home() -> Path | None:
    try:
        home = Path.home()
    except RuntimeError:  # HOME is not set, and the user has no entry in /etc/passwd
        return None
    cache = home / ".cache"
    if (cache / "specter-batch").is_dir():  # may have been filled when an image was built and be read-only now
        return cache
    # In some container images the home folder does not exist or belongs to root.
    place = next((folder for folder in (cache, home) if folder.exists()), None)
    return cache if place is not None and os.access(place, os.W_OK | os.X_OK) else None


def _private_folder() -> Path:
    folder = Path(tempfile.gettempdir()) / f"specter-batch-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if folder.is_symlink() or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise ConfigError(
            f"{folder}: belongs to another user or can be changed by others, and this user has no home; "
            "name a folder to keep files in with the variable XDG_CACHE_HOME"
        )
    return folder
