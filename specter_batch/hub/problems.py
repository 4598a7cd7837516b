"""What an error of the hub's client means, and what the user can do about it."""

import errno
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from specter_batch.display import without_credentials
from specter_batch.errors import BundleError, ConfigError, SpecterBatchError, StorageError, StorageRefusedError
from specter_batch.hub.place import MAIN, HubPlace
from specter_batch.terminal import error_console

# Most characters of the reason that the client gives.
_REASON_CHARACTERS = 240
_DISK = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)
_UNAUTHORIZED, _NOT_FOUND, _TOO_MANY_REQUESTS, _SERVER_ERROR = 401, 404, 429, 500
_CONFLICTS = (409, 412)
# What the client and its libraries say when a file has fewer bytes than the hub promised.
_SIGNS_OF_CUT = ("onsistency check", "IncompleteRead", "peer closed connection")


@contextmanager
def quiet_client() -> Iterator[None]:
    """Let the hub's client log no warnings, because our errors say the same, and show progress on a terminal only."""
    from huggingface_hub.utils import logging as client_logging
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    verbosity, silent = client_logging.get_verbosity(), are_progress_bars_disabled()
    client_logging.set_verbosity(logging.ERROR)
    if not error_console().is_terminal:
        disable_progress_bars()
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="huggingface_hub")
            yield
    finally:
        client_logging.set_verbosity(verbosity)
        if not silent:
            enable_progress_bars()


@contextmanager
def hub_errors(place: HubPlace, *, name: str = "", writing: bool = False) -> Iterator[None]:
    """Turn the errors of the hub's client into ours. They are not chained: they may hold the request with its token.

    Args:
        place: The folder in a repository.
        name: Name of the file in the folder that is asked for.
        writing: True if the work needs a token that may write.

    Raises:
        StorageRefusedError: The hub denies access, or the repository or revision does not exist.
        StorageError: The hub cannot be reached, or has a problem that may be gone later.
        BundleError: A file does not exist in the repository.
        ConfigError: The name is not valid, or the local cache cannot be written.
    """
    try:
        yield
    except SpecterBatchError:
        raise
    except Exception as error:
        raise _problem(place, error, name=name, writing=writing) from None


def _problem(place: HubPlace, error: BaseException, *, name: str, writing: bool) -> SpecterBatchError:
    from huggingface_hub import errors

    reason, status = _reason(error), _status(error)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return StorageError(
            f"{place}: the variable HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so the hub is not asked; unset it"
        )
    if isinstance(error, errors.LocalEntryNotFoundError):  # the client found no copy after a request had failed
        cause = error.__cause__ or error.__context__
        if cause is not None and not isinstance(cause, errors.LocalEntryNotFoundError):
            return _problem(place, cause, name=name, writing=writing)
        return _unreachable(place, reason)
    if isinstance(error, errors.GatedRepoError):
        return StorageRefusedError(
            f"{place}: the owner of the repository grants access on request; open {_page(place)} in a browser, ask for "
            "access, and set HF_TOKEN to a token of your account"
        )
    if isinstance(error, errors.RevisionNotFoundError):
        return StorageRefusedError(
            f"{place}: the repository has no branch, tag or commit {place.revision}; write {place.at(MAIN)} for its "
            f"main branch{_with_slashes(place)}"
        )
    if isinstance(error, errors.EntryNotFoundError):
        return BundleError(
            f"{place}: the file {name} is not in the repository; put a whole bundle there with `specter-batch push`"
        )
    if isinstance(error, errors.HFValidationError):
        return ConfigError(f"{place}: the hub does not allow this name ({reason}); write hf://OWNER/NAME")
    if isinstance(error, errors.RepositoryNotFoundError) or status == _NOT_FOUND:
        return StorageRefusedError(
            f"{place}: there is no such repository, or it is private and your token may not read it; check the name, "
            f"and set HF_TOKEN to a token that may {_do(writing)} it, or run `hf auth login`"
        )
    if status is not None:
        return _refusal(place, status, reason, writing=writing)
    return _of_no_answer(place, error, reason, name=name, writing=writing)


def _refusal(place: HubPlace, status: int, reason: str, *, writing: bool) -> SpecterBatchError:
    """Return the error for an answer of the hub with this HTTP status."""
    if status == _UNAUTHORIZED:
        return StorageRefusedError(
            f"{place}: the hub asks for a valid token ({reason}); set HF_TOKEN to a token that may {_do(writing)} this "
            "repository, or run `hf auth login`"
        )
    if status in _CONFLICTS and writing:
        return StorageError(
            f"{place}: the repository was changed at the same time ({reason}); nothing was replaced, run the same "
            "command again"
        )
    if status == _TOO_MANY_REQUESTS:
        return StorageError(
            f"{place}: the hub says that there were too many requests; wait some minutes and run the same command "
            "again (with HF_TOKEN set, the hub allows more requests)"
        )
    if status >= _SERVER_ERROR:
        return StorageError(
            f"{place}: the hub has a problem (HTTP {status}); wait some minutes and run the same command again"
        )
    return StorageRefusedError(
        f"{place}: the hub refuses (HTTP {status}: {reason}); set HF_TOKEN to a token that may {_do(writing)} this "
        "repository"
    )


def _of_no_answer(place: HubPlace, error: BaseException, reason: str, *, name: str, writing: bool) -> SpecterBatchError:
    """Return the error for a failure that is not an answer of the hub."""
    cause = error.__cause__
    if isinstance(error, (RuntimeError, ValueError)) and cause is not None:  # the client wraps what happened
        return _problem(place, cause, name=name, writing=writing)
    if isinstance(error, OSError) and error.errno in _DISK:
        return ConfigError(
            f"{place}: a file cannot be written or read here ({error}); set HF_HOME to a folder with enough space that "
            "you may write to"
        )
    if any(sign in str(error) for sign in _SIGNS_OF_CUT):
        return StorageError(
            f"{place}: a download ended too early ({reason}); run the same command again, finished files are kept"
        )
    return _unreachable(place, reason)


def _unreachable(place: HubPlace, reason: str) -> StorageError:
    from huggingface_hub import constants

    return StorageError(
        f"{place}: the hub at {without_credentials(str(constants.ENDPOINT))} cannot be reached ({reason}); check the "
        "network and the variables HTTPS_PROXY and HF_ENDPOINT, and run the same command again"
    )


def _with_slashes(place: HubPlace) -> str:
    """Return advice for a revision that was perhaps written with plain slashes, and so was taken for a folder."""
    if not place.folder:
        return ""
    meant = replace(place, revision=f"{place.revision}/{place.folder}", folder="")
    return f", or {meant} if the slash belongs to the name of a branch or tag"


def _do(writing: bool) -> str:
    return "write to" if writing else "read"


def _status(error: BaseException) -> int | None:
    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _reason(error: BaseException) -> str:
    """Return what the client says, on one line, without the token."""
    from huggingface_hub import get_token

    of_hub = getattr(error, "server_message", None)
    said = of_hub if of_hub else f"{type(error).__name__}: {error}"
    line = without_credentials(" ".join(str(said).split())).removesuffix(":")
    try:
        token = get_token()
    except OSError:  # the client's folder is what cannot be read
        token = None
    line = line.replace(token, "…") if token else line
    return line if len(line) <= _REASON_CHARACTERS else line[: _REASON_CHARACTERS - 1] + "…"


def _page(place: HubPlace) -> str:
    from huggingface_hub import constants

    prefix = {"dataset": "datasets/", "space": "spaces/"}.get(place.kind, "")
    return f"{without_credentials(str(constants.ENDPOINT))}/{prefix}{place.repository}"
