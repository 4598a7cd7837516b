"""Text that may be shown: credentials that stand in URLs are taken out."""

import re

# user:password@ or token@ before a host. A secret key may hold slashes, so after a colon that begins no port number
# all goes up to the @.
_USER_INFO = re.compile(r"(?<=://)(?:[^/\s'\"]*@|[^/@:\s'\"]*:(?!\d+/)[^@\s'\"]*@)")
# The container of Azure's container@account stands in the same place and is no secret.
_CONTAINER = re.compile(r"(?P<scheme>\b(?:abfss?|az|wasbs?)://)(?P<container>[a-z0-9-]+@)(?=[^/\s@:]+(?:/|\s|$))")
# Signatures and tokens: ?name=value. A ? without = is a wildcard.
_QUERY = re.compile(r"(://[^\s'\"?]*)\?[^\s'\"/?=]*=[^\s'\"]*")
_KEPT = "\x00"


def without_credentials(text: str) -> str:
    """Return a URL, or a text with URLs in it, without user names, passwords and query strings.

    Whatever is shown, logged or stored of a URL goes through here.
    """
    containers: list[str] = []

    def keep(match: re.Match[str]) -> str:
        containers.append(match["container"])
        return match["scheme"] + _KEPT

    text = _CONTAINER.sub(keep, text)
    text = _QUERY.sub(r"\1", _USER_INFO.sub("", text))
    for container in containers:
        text = text.replace(_KEPT, container, 1)
    return text
