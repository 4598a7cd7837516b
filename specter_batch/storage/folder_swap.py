"""Putting a complete folder in the place of an older one, so that one of the two is there at every instant."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

# https://man7.org/linux/man-pages/man2/rename.2.html, renameat2 and its flag RENAME_EXCHANGE.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
# The file system or the kernel cannot exchange two names in one step (NFS, some network and FUSE file systems).
_NOT_SUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


def replace_folder(new: Path, out: Path, *, exchange: bool = True) -> None:
    """Put the complete folder `new` where `out` is; both are on one file system.

    The files of `new` are synced to disk first. On Linux the two names are then exchanged in one step, and `new` names
    the older folder afterwards; the caller removes it. Where the file system cannot do this, the older folder is moved
    aside for an instant. If the process is killed in that instant, `restore_folder` puts the older folder back.

    Args:
        new: The complete folder.
        out: Where it goes.
        exchange: Try to exchange the names; False for a file system that is known not to.
    """
    _sync_tree(new)
    if not os.path.lexists(out):
        new.rename(out)
    elif not exchange or not _exchanged(new, out):
        _replace_in_two_steps(new, out)
    _sync(out.parent)


def restore_folder(out: Path) -> None:
    """Put back what a killed `replace_folder` moved aside, or remove it if the newer folder is in place."""
    aside = set_aside(out)
    if not aside.is_dir():
        return
    if os.path.lexists(out):
        shutil.rmtree(aside)
    else:
        aside.rename(out)


def set_aside(out: Path) -> Path:
    """Return where `replace_folder` keeps the older folder while it moves the newer one to its place."""
    return out.with_name(f".{out.name}.replaced")


def _replace_in_two_steps(new: Path, out: Path) -> None:
    restore_folder(out)  # clears the name, and only if `out` is there
    aside = set_aside(out)
    try:
        out.rename(aside)
        new.rename(out)
    except BaseException:  # Ctrl-C between the two too
        if not os.path.lexists(out):
            aside.rename(out)
        raise
    shutil.rmtree(aside)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False where this is not supported."""
    try:
        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (AttributeError, OSError, TypeError):  # not Linux, or a C library older than the call
        return False
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _NOT_SUPPORTED:
        return False
    raise OSError(code, os.strerror(code), str(other))


def _sync_tree(folder: Path) -> None:
    for parent, _, names in os.walk(folder):
        for name in names:
            _sync(Path(parent) / name)
        _sync(Path(parent))


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
