"""Finds credentials in URLs and removes them from all text that is shown or stored."""

import re

# Schemes that are recognised with one slash or none, because `pathlib.Path` and typing errors turn s3://bucket into
# s3:/bucket. For any other scheme only `scheme://` counts as a URL, because file names may hold a colon.
_SCHEMES = (
    "abfss?|adl|azure?|box|davs?|dropbox|file|ftps?|gcs|gdrive|gh|git|github|gs|hdfs|hf|https?|jdbc|local|memory|minio|"
    "mongodb|mysql|oci|oss|postgres|postgresql|r2|ray|redis|s3|s3a|s3n|scp|sftp|smb|ssh|swift|tos|wasbs?|webdavs?|"
    "webhdfs|wss?"
)
_COLON, _SLASH = "(?::|%3a)", r"(?:[/\\]|%2f)"
# Clients of stores ignore spaces and control characters before a URL.
_URL = re.compile(
    rf"[\x00-\x20]*(?:[a-z][a-z0-9+.-]{{0,30}}{_COLON}{_SLASH}{{2}}|(?:{_SCHEMES}){_COLON}{_SLASH}|//[^/\s]*@)",
    re.IGNORECASE,
)
# user:password@ or token@ before a host. A secret key may hold slashes. So after a colon, unless a port number follows,
# everything up to the last @ is removed.
_USER_INFO = re.compile(
    rf"(?P<start>\b[a-z][a-z0-9+.-]{{0,30}}{_COLON}{_SLASH}{{2,}}|\b(?:{_SCHEMES}){_COLON}{_SLASH}?|(?<![\w:/\\])//)"
    r"(?:[^/\\]*@|[^/@:\[]*:(?!\d+(?:[/\\]|$)).*@)",
    re.IGNORECASE | re.DOTALL,
)
# user:password@host:path as for scp, and user:password@host/path, a URL without a scheme. If the host is followed by a
# colon, the password may hold slashes and @.
_SCP = re.compile(r"^[^/@:]+:(?:.+@(?=[\w.-]+:)|[^/@]+@(?=[\w.-]+/|[\w-]+\.[\w.-]+$))", re.DOTALL)
# A URL ends at a space or a quote.
_WORD = re.compile(r"[^\s'\"]+")
# In Azure's container@account the container is in the place of a user name, but is not secret.
_CONTAINER = re.compile(r"(?P<scheme>\b(?:abfss?|az|wasbs?)://)(?P<container>[a-z0-9-]+@)(?=[^/\s@:]+(?:/|\s|$))")
# Signatures and tokens: ?name=value or #name=value. A ? without = is a wildcard, except in HTTP (no wildcards there).
_PATH_START = re.compile(rf"(?P<http>https?:/)|[a-z]://|\b(?:{_SCHEMES}):/", re.IGNORECASE)
_PARAMETER = re.compile(r"[?#][^?#=/]*=")
_HTTP_PARAMETER = re.compile(r"\?|#[^#=/]*=")
_KEPT = "\x00"


def is_url(text: str) -> bool:
    """Return whether a text is a URL (a slash may be missing) and not a path on this machine."""
    return _URL.match(text) is not None


def has_credentials(text: str) -> bool:
    """Return whether a text holds a URL with a user, a password, a token or a signature."""
    return without_credentials(text) != text


def without_credentials(text: str) -> str:
    """Return a URL, or a text with URLs in it, without user names, passwords, tokens and query strings.

    Every URL that is shown, logged or stored goes through this function.
    """
    if ":" not in text and "//" not in text and "%" not in text:
        return text
    return _WORD.sub(lambda word: _word_without_credentials(word.group()), text)


def _word_without_credentials(word: str) -> str:
    containers: list[str] = []

    def keep(match: re.Match[str]) -> str:
        containers.append(match["container"])
        return match["scheme"] + _KEPT

    word = _CONTAINER.sub(keep, word)
    before, at, after = word.rpartition("@")
    if at:  # only the part before the last @ can match; this keeps the search linear
        word = _SCP.sub("", _USER_INFO.sub(r"\g<start>", before + at) + after)
    start = _PATH_START.search(word)
    if start:
        parameter = (_HTTP_PARAMETER if start["http"] else _PARAMETER).search(word, start.end())
        word = word[: parameter.start()] if parameter else word
    for container in containers:
        word = word.replace(_KEPT, container, 1)
    return word
