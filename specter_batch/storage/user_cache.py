"""Where things are kept that can be fetched or computed again."""

import os
import tempfile
from pathlib import Path

from specter_batch.errors import ConfigError


def user_cache(kind: str) -> Path:
    """Return this user's folder for one kind of thing, by the XDG base directory specification.

    It may be removed at any time. A user without a home, such as a container's `runAsUser`, gets a private folder below
    the folder of temporary files.

    Raises:
        ConfigError: There is no home, and the folder of temporary files holds another user's folder of that name.
    """
    # The specification has relative paths passed over, the empty one included.
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
    if (cache / "specter-batch").is_dir():  # perhaps filled when an image was built, and read-only since
        return cache
    # Some images name a home that nobody made, or that belongs to root.
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
