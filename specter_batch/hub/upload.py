"""Uploads into repositories of the hub: all files in one commit, so that readers see the old files or the new ones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from specter_batch.errors import BundleError, ConfigError
from specter_batch.hub.download import TIMEOUT
from specter_batch.hub.place import HubPlace
from specter_batch.hub.problems import hub_errors, quiet_client

if TYPE_CHECKING:
    from huggingface_hub import HfApi


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A model repository on the hub that files can be uploaded to.

    Attributes:
        place: The repository and its branch.
        commit: The commit that the branch names.
        files: Names of the files at this commit.
        created: True if the repository was created for this upload.
    """

    place: HubPlace
    commit: str
    files: frozenset[str]
    created: bool

    @property
    def now(self) -> HubPlace:
        """The repository at its commit."""
        return self.place.at(self.commit)

    @classmethod
    def prepared(cls, place: HubPlace, *, private: bool) -> "Repository":
        """Return the repository of a place. The repository and the branch are created if they do not exist.

        Args:
            place: The repository and the branch.
            private: True if only its owner may see the repository.

        Raises:
            ConfigError: The repository exists and everyone can see it, but it should be private. Or the place is not a
                branch of a model repository.
            StorageRefusedError: The token may not write there.
            StorageError: The hub cannot be reached.
        """
        from huggingface_hub import errors

        if place.kind != "model" or place.folder or place.is_pinned:
            raise ConfigError(
                f"{place}: a bundle can only be pushed to a branch of a model repository; write hf://OWNER/NAME or "
                "hf://OWNER/NAME@BRANCH"
            )
        api, name, created = _api(), place.repository, False
        with quiet_client(), hub_errors(place, writing=True):
            try:
                info = api.model_info(name, timeout=TIMEOUT)
            except errors.RepositoryNotFoundError as error:
                if isinstance(error, errors.GatedRepoError):
                    raise
                api.create_repo(name, private=private)
                info, created = api.model_info(name, timeout=TIMEOUT), True
            if private and not info.private:
                raise ConfigError(
                    f"{place}: the repository exists and everyone can see it; make it private in its settings on the "
                    "hub, or leave --private out"
                )
            try:
                info = api.model_info(name, revision=place.revision, timeout=TIMEOUT)
            except errors.RevisionNotFoundError:
                api.create_branch(name, branch=place.revision)
                info = api.model_info(name, revision=place.revision, timeout=TIMEOUT)
        return cls(
            place=place,
            commit=str(info.sha),
            files=frozenset(sibling.rfilename for sibling in info.siblings or ()),
            created=created,
        )

    def commit_files(
        self, files: Mapping[str, Path], *, hashes: Mapping[str, str], remove: Collection[str], message: str
    ) -> str:
        """Upload files and remove others in one commit on top of `commit`, and return the new commit.

        Args:
            files: Name in the repository -> local file.
            hashes: SHA-256 of the files, by name. A file that has changed since it was checked is not uploaded.
            remove: Names of files to remove.
            message: Message of the commit.

        Raises:
            BundleError: A file has changed since it was checked.
            StorageRefusedError: The token may not write there.
            StorageError: The hub cannot be reached, or the branch was changed meanwhile.
        """
        from huggingface_hub import CommitOperationAdd, CommitOperationDelete

        additions = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=file) for name, file in files.items()]
        for addition in additions:
            name = addition.path_in_repo
            if name in hashes and addition.upload_info.sha256.hex() != hashes[name]:
                raise BundleError(f"{files[name]}: was changed during the upload; push the bundle again")
        deletions = [CommitOperationDelete(path_in_repo=name) for name in sorted(remove)]
        with quiet_client(), hub_errors(self.place, writing=True):
            done = _api().create_commit(
                self.place.repository,
                [*additions, *deletions],
                commit_message=message,
                revision=self.place.revision,
                parent_commit=self.commit,
            )
        return str(done.oid)


def web_page(place: HubPlace) -> str:
    """Return the address at which a browser shows a place in a model repository."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{place.repository}/tree/{place.revision}"


def _api() -> "HfApi":
    from huggingface_hub import HfApi

    return HfApi(library_name="specter-batch", library_version=version("specter-batch"))
