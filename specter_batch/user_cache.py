"""Where things are kept that can be fetched or computed again."""

import os
from pathlib import Path


def user_cache(kind: str) -> Path:
    """Return this user's folder for one kind of thing, by the XDG base directory specification.

    It may be removed at any time.
    """
    # The specification has relative paths passed over, the empty one included.
    root = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (root if root.is_absolute() else Path.home() / ".cache") / "specter-batch" / kind
