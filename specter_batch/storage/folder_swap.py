"""Replaces a folder by a complete new one, so that one of the two is in place at any time."""

import ctypes
import errno
import os
import shutil
from pathlib import Path

# https://man7.org/linux/man-pages/man2/rename.2.html, renameat2 and its flag RENAME_EXCHANGE.
_RENAME_EXCHANGE = 2
_AT_FDCWD = -100
# Errors if the kernel or the file system (NFS, some network and FUSE file systems) cannot exchange names in one step.
_NOT_SUPPORTED = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}


def replace_folder(new: Path, out: Path, *, exchange: bool = True) -> None:
    """Replace the folder `out` by the complete folder `new` on the same file system.

    The files of `new` are synced to disk first. On Linux the two names are then exchanged in one step. Afterwards `new`
    is the older folder, and the caller removes it. If the file system cannot exchange names, the older folder is moved
    aside for a moment. If the process is killed in that moment, `restore_folder` puts the older folder back.

    Args:
        new: The complete new folder.
        out: The path at which the new folder should be.
        exchange: True to try to exchange the names; False for a file system that cannot.
    """
    _sync_tree(new)
    if not os.path.lexists(out):
        new.rename(out)
    elif not exchange or not _exchanged(new, out):
        _replace_in_two_steps(new, out)
    _sync(out.parent)


def restore_folder(out: Path) -> None:
    """Put back the older folder that a killed `replace_folder` moved aside, or remove it if `out` exists."""
    aside = set_aside(out)
    if not aside.is_dir():
        return
    if os.path.lexists(out):
        shutil.rmtree(aside)
    else:
        aside.rename(out)


def set_aside(out: Path) -> Path:
    """Return the path to which `replace_folder` moves the older folder for a moment."""
    return out.with_name(f".{out.name}.replaced")


def _replace_in_two_steps(new: Path, out: Path) -> None:
    restore_folder(out)  # frees the name, but only if `out` exists
    aside = set_aside(out)
    try:
        out.rename(aside)
        new.rename(out)
    except BaseException:  # including Ctrl-C between the two renames
        if not os.path.lexists(out):
            aside.rename(out)
        raise
    shutil.rmtree(aside)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange two names in one step; return False if this is not supported."""
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
