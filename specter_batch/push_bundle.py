"""The command that uploads a bundle to the Hugging Face hub: push."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from specter_batch.errors import BundleError, ConfigError
from specter_batch.hub.place import SCHEME, HubPlace
from specter_batch.options import JsonOutput
from specter_batch.options.command import command
from specter_batch.settings.declaration import Option
from specter_batch.storage.location import PathOrUrl, is_remote
from specter_batch.terminal import show, show_json, warn

if TYPE_CHECKING:
    from specter_batch.hub.upload import Repository
    from specter_batch.model.bundle import ModelBundle
    from specter_batch.model.manifest import BundleManifest


class PushOptions(JsonOutput):
    """Options of `push`."""

    panel: ClassVar[str] = "Upload"

    bundle: Annotated[PathOrUrl, Option(argument="BUNDLE")] = Field(description="Model bundle: a folder or a URL.")
    repository: Annotated[PathOrUrl, Option(argument="REPOSITORY")] = Field(
        description="Model repository on the Hugging Face hub: hf://OWNER/NAME, or hf://OWNER/NAME@BRANCH. It is "
        "created if it does not exist."
    )
    message: Annotated[str | None, Option(metavar="TEXT", default="the fingerprint of the bundle")] = Field(
        default=None, min_length=1, description="Message of the commit."
    )
    private: bool = Field(
        default=False,
        description="Create the repository as a private one. The command fails if it exists and everyone can see it.",
    )
    replace_card: bool = Field(
        default=False,
        description="Replace the repository's README.md even if somebody wrote or edited it there. Otherwise that file "
        "is kept.",
    )


@dataclass(frozen=True, kw_only=True)
class Push:
    """A finished upload.

    Attributes:
        bundle: URL of the bundle at its commit, for `--bundle`.
        url: Address of the commit for a browser.
        commit: The commit that holds the bundle.
        fingerprint: Fingerprint of the bundle.
        created: True if the repository was created.
        changed: False if the branch had exactly these files already, so that there is no new commit.
        files: Number of files of the bundle.
        removed: Files of an older bundle that were removed.
        card_kept: True if the repository kept its own README.md.
    """

    bundle: str
    url: str
    commit: str
    fingerprint: str
    created: bool
    changed: bool
    files: int
    removed: tuple[str, ...]
    card_kept: bool


@command(
    "specter-batch push bundle hf://acme/specter-topics",
    'specter-batch push bundle hf://acme/specter-topics@v2 --private --message "Trained on 2026 papers"',
)
def push(options: PushOptions) -> None:
    """Upload a model bundle to the Hugging Face hub in one commit, after checking every file in it.

    The token comes from the variable `HF_TOKEN`, or from `hf auth login`. It needs permission to write.
    """
    from dataclasses import asdict

    from specter_batch.model.bundle import ModelBundle

    place = HubPlace.of(options.repository) if is_remote(options.repository) else None
    if place is None:
        raise ConfigError(
            f"{options.repository}: is not a repository on the Hugging Face hub; write {SCHEME}OWNER/NAME"
        )
    bundle = ModelBundle.open(options.bundle)
    done = pushed(bundle, place, message=options.message, private=options.private, replace_card=options.replace_card)
    if done.card_kept:
        warn(
            f"{place}: kept its README.md, which somebody wrote or edited there; to replace it with the bundle's model "
            "card, add --replace-card"
        )
    if options.as_json:
        show_json(asdict(done))
        return
    news = ", a new repository" if done.created else "" if done.changed else ", which had the same files already"
    show(f"pushed       {options.bundle} to {place}{news}")
    show(f"fingerprint  {done.fingerprint}", f"commit       {done.commit}", f"page         {done.url}")
    if done.removed:
        show(f"removed      {', '.join(done.removed)}, which belonged to the older bundle there")
    show(f"next         specter-batch classify DUMP OUT --bundle {done.bundle}")


def pushed(bundle: "ModelBundle", place: HubPlace, *, message: str | None, private: bool, replace_card: bool) -> Push:
    """Upload an opened bundle to a repository on the hub in one commit.

    Args:
        bundle: The bundle.
        place: The repository and its branch.
        message: Message of the commit; it names the fingerprint when None.
        private: True to create the repository as a private one.
        replace_card: True to replace a README.md that somebody wrote or edited in the repository.

    Raises:
        BundleError: A file of the bundle was changed since it was opened.
        ConfigError: The place is not a branch of a model repository, or everyone can see it and `private` is True.
        StorageRefusedError: The token may not write there.
        StorageError: The hub cannot be reached, or the branch was changed at the same time.
    """
    from specter_batch.hub.upload import Repository, web_page
    from specter_batch.model.manifest import CARD_FILE, MANIFEST_FILE

    repository = Repository.prepared(place, private=private)
    former = _former_bundle(repository)
    hashes = bundle.manifest.hashes
    has_card = (bundle.path / CARD_FILE).is_file()
    keep_card = _has_own_card(repository, former) and not (has_card and replace_card)
    names = [name for name in (MANIFEST_FILE, *hashes) if name != CARD_FILE]
    if has_card and not keep_card:
        names.append(CARD_FILE)
    hashes.pop(CARD_FILE, None)  # the owner of a bundle may edit its card
    left_over = frozenset(former.hashes if former else ()) - {*names, *([CARD_FILE] if keep_card else [])}
    removed = left_over & repository.files
    commit = repository.commit_files(
        {name: bundle.path / name for name in names},
        hashes=hashes,
        remove=removed,
        message=message or f"Bundle {bundle.fingerprint[:12]}, {bundle.manifest.created_by}",
    )
    return Push(
        bundle=str(place.at(commit)),
        url=web_page(place.at(commit)),
        commit=commit,
        fingerprint=bundle.fingerprint,
        created=repository.created,
        changed=commit != repository.commit,
        files=len(names),
        removed=tuple(sorted(removed)),
        card_kept=keep_card and has_card,
    )


def _former_bundle(repository: "Repository") -> "BundleManifest | None":
    """Return the manifest of the bundle that the repository holds; None if it holds none that we can read."""
    from specter_batch.hub.download import fetch_files
    from specter_batch.model.manifest import MANIFEST_FILE, read_manifest

    if MANIFEST_FILE not in repository.files:
        return None
    folder = fetch_files(repository.now, [MANIFEST_FILE])
    try:
        return read_manifest(folder)
    except BundleError:
        return None


def _has_own_card(repository: "Repository", former: "BundleManifest | None") -> bool:
    """Return whether the repository has a README.md that is not the model card of the bundle there."""
    from specter_batch.hub.download import fetch_files
    from specter_batch.model.manifest import CARD_FILE
    from specter_batch.storage.files import file_sha256

    if CARD_FILE not in repository.files:
        return False
    folder = fetch_files(repository.now, [CARD_FILE])
    return former is None or file_sha256(folder / CARD_FILE) != former.files.get(CARD_FILE)
