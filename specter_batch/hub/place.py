"""URLs of repositories on the Hugging Face hub: `hf://OWNER/NAME@REVISION/FOLDER`."""

import re
from dataclasses import dataclass, replace
from urllib.parse import quote, unquote

from specter_batch.errors import ConfigError
from specter_batch.storage.url_path import UrlPath

SCHEME = "hf://"
MAIN = "main"
COMMIT = re.compile(r"[0-9a-f]{40}")

# Prefix in a URL -> the kind of repository. A model's URL has no prefix.
_KINDS = {"datasets": "dataset", "spaces": "space"}
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
# As in the hub's own file system, a slash in a revision is written %2F, except in the names of pull requests.
_URL = re.compile(
    rf"hf://(?:(?P<prefix>datasets|spaces)/)?(?P<repository>{_PART}/{_PART})"
    r"(?:@(?P<revision>refs/(?:pr|convert)/[^/@]+|[^/@]+))?(?:/(?P<folder>[^@]+))?"
)


@dataclass(frozen=True, kw_only=True)
class HubPlace:
    """A folder in a repository on the hub, at one revision.

    Attributes:
        repository: Owner and name of the repository.
        kind: Kind of the repository: model, dataset or space.
        revision: Branch, tag or commit.
        folder: Folder in the repository; empty for its top level.
    """

    repository: str
    kind: str = "model"
    revision: str = MAIN
    folder: str = ""

    @classmethod
    def of(cls, url: UrlPath) -> "HubPlace | None":
        """Return the place of a URL; None if the URL is not one of the hub.

        Raises:
            ConfigError: The URL does not name a repository.
        """
        text = str(url)
        if not text.startswith(SCHEME):
            return None
        match = _URL.fullmatch(text)
        if match is None or not _is_plain(match["folder"] or ""):
            raise ConfigError(
                f"{text}: is not the URL of a repository on the Hugging Face hub; write hf://OWNER/NAME, or "
                "hf://OWNER/NAME@REVISION with a branch, tag or commit"
            )
        return cls(
            repository=match["repository"],
            kind=_KINDS.get(match["prefix"], "model"),
            revision=unquote(match["revision"] or MAIN),
            folder=match["folder"] or "",
        )

    def __str__(self) -> str:
        prefix = next((f"{prefix}/" for prefix, kind in _KINDS.items() if kind == self.kind), "")
        safe = "/" if self.revision.startswith("refs/") else ""
        revision = "" if self.revision == MAIN else f"@{quote(self.revision, safe=safe)}"
        return f"{SCHEME}{prefix}{self.repository}{revision}" + (f"/{self.folder}" if self.folder else "")

    @property
    def is_pinned(self) -> bool:
        """True if the revision is a commit, so that the content can never change."""
        return COMMIT.fullmatch(self.revision) is not None

    @property
    def url(self) -> UrlPath:
        """This place as a URL."""
        return UrlPath(str(self))

    def at(self, revision: str) -> "HubPlace":
        """Return the same folder at another revision."""
        return replace(self, revision=revision)

    def file(self, name: str) -> str:
        """Return the path in the repository of a file in this folder."""
        return f"{self.folder}/{name}" if self.folder else name


def _is_plain(folder: str) -> bool:
    return not any(part in ("", ".", "..") for part in folder.split("/")) if folder else True
