"""Bundles on the Hugging Face hub: the real client of the hub, against a server that speaks its protocol."""

import hashlib
import json
import os
import pickle
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from specter_batch.errors import ConfigError
from specter_batch.hub.place import HubPlace
from specter_batch.hub.problems import quiet_client
from specter_batch.storage.location import located
from specter_batch.storage.url_path import UrlPath
from support.pages import blocks, commands
from support.servers.hub_client import Done, HubClient, running_hub_client
from support.servers.hub_server import READ_TOKEN, WRITE_TOKEN, Answer, HubServer, running_hub_server

GOLDEN = Path(__file__).parents[1] / "golden"
BUNDLE, PAPERS = GOLDEN / "bundle_v1", GOLDEN / "inputs_v1/papers/part-0.parquet"
FINGERPRINT = json.loads((BUNDLE / "bundle.json").read_text())["fingerprint"]


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with running_hub_server() as server:
        yield server


def environment(server: HubServer, home: Path) -> dict[str, str]:
    ours = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN")
    kept = {name: value for name, value in os.environ.items() if name not in ours}
    return kept | {"HF_ENDPOINT": server.endpoint, "HF_HOME": str(home), "XDG_CACHE_HOME": str(home)}


@pytest.fixture(scope="module")
def client(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubClient]:
    with running_hub_client(environment(server, tmp_path_factory.mktemp("home"))) as client:
        yield client


@pytest.fixture(autouse=True)
def willing(server: HubServer) -> Iterator[None]:
    yield
    server.refusal = lambda _method, _path: None


@pytest.fixture
def name(server: HubServer, request: pytest.FixtureRequest) -> str:
    """Return the name of a new repository with the golden bundle; each test has its own."""
    name = f"acme/test-{len(server.repositories)}"
    server.add(name, BUNDLE)
    return name


def cached(client: HubClient, name: str) -> Path:
    listed = json.loads(client.run("inspect", f"hf://{name}", "--json").out)
    assert listed["fingerprint"] == FINGERPRINT
    return client.home / "hub" / f"models--{name.replace('/', '--')}"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("hf://acme/topics", HubPlace(repository="acme/topics")),
        ("hf://acme/topics@v2", HubPlace(repository="acme/topics", revision="v2")),
        ("hf://acme/topics@refs/pr/3", HubPlace(repository="acme/topics", revision="refs/pr/3")),
        ("hf://acme/topics@try%2Fthis/old", HubPlace(repository="acme/topics", revision="try/this", folder="old")),
        (
            "hf://datasets/acme/sets@v1/a/b",
            HubPlace(repository="acme/sets", kind="dataset", revision="v1", folder="a/b"),
        ),
    ],
)
def test_a_url_names_repository_revision_and_folder(url: str, place: HubPlace) -> None:
    found = located(url)
    assert isinstance(found, UrlPath)
    assert HubPlace.of(found) == place
    assert str(place) == url
    assert str(place.url) == url  # shown whole: a revision is no password
    assert pickle.loads(pickle.dumps(place)) == place  # noqa: S301


@pytest.mark.parametrize("url", ["hf://acme", "hf://acme/a b", "hf://acme/topics@v1/../x", "hf://acme/topics@a@b"])
def test_a_url_that_names_no_repository_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match=r"write hf://OWNER/NAME"):
        HubPlace.of(UrlPath(url))


def test_other_urls_are_no_places_on_the_hub() -> None:
    assert HubPlace.of(UrlPath("s3://acme/topics")) is None


def test_a_night_records_the_commit_and_a_branch_that_moves_changes_nothing(
    server: HubServer, client: HubClient, name: str, tmp_path: Path
) -> None:
    repository = server.repositories[name]
    first = repository.branches["main"]

    def move(method: str, path: str) -> None:
        if path.endswith("/model.onnx") and repository.branches["main"] == first:
            repository.commit({"bundle.json": b"{}", "model.onnx": b"another"})

    server.refusal = move
    done = client.run("classify", PAPERS, tmp_path / "out", "--bundle", f"hf://{name}", "--workers", "2")
    assert done.code == 0, done.error
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["bundle"]["path"] == f"hf://{name}@{first}"
    assert manifest["bundle"]["fingerprint"] == FINGERPRINT
    assert manifest["config"]["bundle"] == f"hf://{name}"
    assert repository.branches["main"] != first


def test_a_commit_in_the_cache_needs_no_request(server: HubServer, client: HubClient, name: str) -> None:
    cached(client, name)
    commit = server.repositories[name].branches["main"]
    before = len(server.requests)
    assert client.run("inspect", f"hf://{name}@{commit}").code == 0
    assert len(server.requests) == before


def test_only_the_files_that_the_manifest_lists_are_downloaded(server: HubServer, client: HubClient, name: str) -> None:
    repository = server.repositories[name]
    repository.commit({**repository.files(), "pytorch_model.bin": b"large", "README.md": b"# Hello"})
    assert client.run("inspect", f"hf://{name}").code == 0
    paths = {path.rpartition("/")[2] for _, path in server.requests if f"{name}/resolve" in path}
    assert "model.onnx" in paths
    assert not paths & {"pytorch_model.bin", "README.md"}


def test_without_the_hub_the_downloaded_commit_is_used_with_a_warning(
    server: HubServer, client: HubClient, name: str, tmp_path: Path
) -> None:
    cached(client, name)
    commit = server.repositories[name].branches["main"]
    server.refusal = lambda _method, _path: Answer(close=True)
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 0
    assert done.error.startswith(f"warning: hub not reached, the downloaded commit is used: {commit}.")
    night = client.run("classify", PAPERS, tmp_path / "out", "--bundle", f"hf://{name}")
    events = [json.loads(line) for line in night.error.splitlines()]
    warning = next(event for event in events if event["event"].startswith("hub not reached"))
    assert (night.code, warning["level"], warning["commit"]) == (0, "warning", commit)


def test_offline_mode_uses_the_cache_too(server: HubServer, client: HubClient, name: str) -> None:
    home = cached(client, name).parents[1]
    with running_hub_client(environment(server, home) | {"HF_HUB_OFFLINE": "1"}) as offline:
        before = len(server.requests)
        assert "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set" in (done := offline.run("inspect", f"hf://{name}")).error
        assert done.code == 0
        unknown = offline.run("inspect", "hf://acme/never-downloaded")
        assert unknown.code == 75
        assert "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set, so the hub is not asked; unset it" in unknown.error
        assert len(server.requests) == before


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (401, 1, "the hub asks for a valid token (no entry); set HF_TOKEN to a token that may read this repository"),
        (403, 1, "the hub refuses (HTTP 403: no entry); set HF_TOKEN"),
        (404, 1, "there is no such repository, or it is private and your token may not read it; check the name"),
        (429, 75, "there were too many requests; wait some minutes"),
        (500, 75, "the hub has a problem (HTTP 500); wait some minutes"),
    ],
)
def test_a_refusal_says_what_to_do(
    server: HubServer, client: HubClient, name: str, status: int, code: int, says: str
) -> None:
    server.refusal = lambda _method, _path: Answer.error(status, "no entry")
    for command in (["inspect", f"hf://{name}"], ["classify", str(PAPERS), "out", "--bundle", f"hf://{name}"]):
        done = client.run(*command)
        assert done.code == code
        assert f"error: hf://{name}: " in done.error
        assert says in done.error
        assert done.out == ""


def test_no_network_says_which_hub_was_asked(server: HubServer, client: HubClient, name: str) -> None:
    server.refusal = lambda _method, _path: Answer(close=True)
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 75
    assert f"the hub at {server.endpoint} cannot be reached" in done.error
    assert "check the network" in done.error


def test_an_access_request_is_named(server: HubServer, client: HubClient, name: str) -> None:
    server.refusal = lambda _method, _path: Answer.error(403, "restricted", code="GatedRepo")
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 1
    assert f"open {server.endpoint}/{name} in a browser, ask for access" in done.error


def test_a_revision_that_does_not_exist_is_named(client: HubClient, name: str) -> None:
    for revision in ("v9", "0" * 40):
        done = client.run("inspect", f"hf://{name}@{revision}")
        assert done.code == 1
        assert f"the repository has no branch, tag or commit {revision}; write hf://{name} for" in done.error


def test_a_revision_with_a_plain_slash_is_explained(client: HubClient, name: str) -> None:
    done = client.run("inspect", f"hf://{name}@try/this")
    assert done.code == 1
    assert f"or hf://{name}@try%2Fthis if the slash belongs to the name of a branch or tag" in done.error


@pytest.mark.parametrize("content", [b'{"format_version": 2, ', b"version https://git-lfs.github.com/spec/v1\n"])
def test_a_manifest_that_is_none_is_named_by_its_url(
    server: HubServer, client: HubClient, name: str, content: bytes
) -> None:
    repository = server.repositories[name]
    commit = repository.commit({**repository.files(), "bundle.json": content})
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 1
    assert f"hf://{name}@{commit}/bundle.json: not valid JSON" in done.error
    assert str(client.home) not in done.error


def test_a_warning_of_the_client_is_no_line_among_those_of_the_log() -> None:
    with quiet_client():
        warnings.warn_explicit("disk is full", UserWarning, "file.py", 1, module="huggingface_hub.file_download")


def test_a_cache_that_cannot_be_a_folder_is_no_problem_of_the_network(
    server: HubServer, name: str, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with running_hub_client(environment(server, tmp_path / "file")) as client:
        done = client.run("inspect", f"hf://{name}")
    assert done.code == 1
    assert f"hf://{name}: a file cannot be written or read here" in done.error
    assert "set HF_HOME to a folder" in done.error


def test_a_repository_without_a_bundle_is_named(server: HubServer, client: HubClient, name: str) -> None:
    server.repositories[name].commit({"README.md": b"# Hello"})
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 1
    assert (
        "the file bundle.json is not in the repository; put a whole bundle there with `specter-batch push" in done.error
    )


def test_a_file_that_is_missing_or_different_in_the_repository_is_named(
    server: HubServer, client: HubClient, name: str
) -> None:
    repository = server.repositories[name]
    whole = repository.files()
    repository.commit({file: content for file, content in whole.items() if file != "vocab.txt"})
    assert "the file vocab.txt is not in the repository" in (done := client.run("inspect", f"hf://{name}")).error
    assert done.code == 1
    commit = repository.commit({**whole, "model.onnx": whole["model.onnx"][:-9]})
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 1
    assert f"hf://{name}@{commit}/model.onnx: differs from the file the bundle was built with" in done.error


@pytest.mark.parametrize("file", ["..", "", "../bundle.json", "a/../../b"])
def test_a_manifest_that_lists_no_plain_file_is_no_problem_of_the_network(
    server: HubServer, client: HubClient, name: str, file: str
) -> None:
    repository = server.repositories[name]
    manifest = json.loads(repository.files()["bundle.json"])
    manifest["files"][file] = "0" * 64
    repository.commit({**repository.files(), "bundle.json": json.dumps(manifest).encode()})
    before = len(server.requests)
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 1
    assert "a file of the bundle is missing" in done.error
    assert not any(path.endswith(("/..", "/")) or "/../" in path for _, path in server.requests[before:])


@pytest.mark.parametrize("layers", [3, None, "all"])
def test_a_lineage_that_training_did_not_write_is_shown_as_not_recorded(
    server: HubServer, client: HubClient, name: str, layers: object
) -> None:
    repository = server.repositories[name]
    manifest = json.loads(repository.files()["bundle.json"])
    manifest["training"]["distilled_from"] = {"run": "teacher\x1b[2J", "layers": layers, "of_layers": 6}
    repository.commit({**repository.files(), "bundle.json": json.dumps(manifest).encode()})
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 0, done.error
    assert "student of   teacher\\x1b[2J, with its layers not recorded of 6\n" in done.out


def test_a_download_that_ends_too_early_is_an_error_and_then_goes_on(
    server: HubServer, client: HubClient, name: str
) -> None:
    content = server.repositories[name].files()["model.onnx"]

    def cut(method: str, path: str) -> Answer | None:
        if method == "GET" and path.endswith("/model.onnx"):
            return Answer(content=content[:-100], headers={"Content-Length": str(len(content))})
        return None

    server.refusal = cut
    done = client.run("inspect", f"hf://{name}")
    assert done.code == 75, done.error
    assert "a download ended too early" in done.error
    server.refusal = lambda _method, _path: None
    assert client.run("inspect", f"hf://{name}").code == 0


def test_a_damaged_file_in_the_cache_is_downloaded_again(server: HubServer, client: HubClient, name: str) -> None:
    folder = cached(client, name)
    commit = server.repositories[name].branches["main"]
    file = (folder / "snapshots" / commit / "model.onnx").resolve()
    file.write_bytes(b"damaged")
    assert client.run("inspect", f"hf://{name}@{commit}").code == 0
    assert file.read_bytes() == server.repositories[name].files()["model.onnx"]
    file.write_bytes(b"damaged")
    server.refusal = lambda _method, _path: Answer.error(403, "no entry")
    done = client.run("inspect", f"hf://{name}@{commit}")
    assert done.code == 1
    assert "model.onnx: differs from the file" in done.error
    assert "cannot be downloaded again" in done.error


def test_a_private_repository_needs_a_token_which_is_never_shown(
    server: HubServer, client: HubClient, name: str
) -> None:
    server.repositories[name].private = True
    assert "there is no such repository, or it is private" in client.run("inspect", f"hf://{name}").error
    wrong = client.run("inspect", f"hf://{name}", token="hf_of_another_time")  # noqa: S106
    assert "Invalid credentials" in wrong.error
    assert "hf_of_another_time" not in wrong.error
    done = client.run("inspect", f"hf://{name}", token=READ_TOKEN)
    assert done.code == 0
    assert READ_TOKEN not in done.out + done.error


def test_a_bundle_may_be_in_a_folder_of_the_repository(server: HubServer, client: HubClient, name: str) -> None:
    repository = server.repositories[name]
    repository.commit({f"old/v1/{file}": content for file, content in repository.files().items()})
    done = client.run("inspect", f"hf://{name}/old/v1", "--json")
    assert json.loads(done.out)["fingerprint"] == FINGERPRINT


def push(client: HubClient, bundle: Path, name: str, *options: str, token: str = WRITE_TOKEN) -> Done:
    return client.run("push", bundle, f"hf://{name}", *options, token=token)


def with_card(folder: Path, text: str = "# Card\n") -> Path:
    """Make a copy of the golden bundle with a model card."""
    shutil.copytree(BUNDLE, folder)
    (folder / "README.md").write_text(text)
    manifest = json.loads((folder / "bundle.json").read_text())
    manifest["files"]["README.md"] = hashlib.sha256(text.encode()).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(manifest))
    return folder


def test_a_pushed_bundle_is_one_commit_and_can_be_used(server: HubServer, client: HubClient, tmp_path: Path) -> None:
    bundle = with_card(tmp_path / "bundle")
    (bundle / "notes.txt").write_text("not part of the bundle")
    done = push(client, bundle, "acme/new", "--message", "The first one")
    assert done.code == 0, done.error
    repository = server.repositories["acme/new"]
    commit = repository.branches["main"]
    assert not repository.private
    assert repository.messages == ["initial commit", "The first one"]
    listed = {*json.loads((bundle / "bundle.json").read_text())["files"], "model_int8.onnx", "model_fp16.onnx"}
    expected = {name: (bundle / name).read_bytes() for name in (*listed, "model.onnx", "bundle.json")}
    assert repository.files() == expected | {".gitattributes": b"*.onnx filter=lfs\n"}
    assert f"commit       {commit}\n" in done.out
    assert f"page         {server.endpoint}/acme/new/tree/{commit}\n" in done.out
    assert WRITE_TOKEN not in done.out + done.error
    place = done.out.split("--bundle ")[1].strip()
    assert place == f"hf://acme/new@{commit}"
    assert json.loads(client.run("inspect", place, "--json").out)["fingerprint"] == FINGERPRINT


def test_pushing_again_makes_no_commit_and_an_older_bundle_leaves_no_files(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    older = with_card(tmp_path / "older")
    first = json.loads(push(client, older, "acme/again", "--json").out)
    again = json.loads(push(client, older, "acme/again", "--json").out)
    assert (first["created"], first["changed"]) == (True, True)
    assert (again["created"], again["changed"], again["commit"]) == (False, False, first["commit"])
    newer = with_card(tmp_path / "newer", "# A newer card\n")
    manifest = json.loads((newer / "bundle.json").read_text())
    del manifest["files"]["vocab.txt"]
    (newer / "bundle.json").write_text(json.dumps(manifest))
    done = push(client, newer, "acme/again")
    assert done.code == 0, done.error
    assert "removed      vocab.txt, which belonged to the older bundle there" in done.out
    files = server.repositories["acme/again"].files()
    assert "vocab.txt" not in files
    assert files["README.md"] == b"# A newer card\n"  # nobody had edited the older one


def test_a_card_that_somebody_edited_on_the_hub_is_kept(server: HubServer, client: HubClient, tmp_path: Path) -> None:
    bundle = with_card(tmp_path / "bundle")
    push(client, bundle, "acme/edited")
    repository = server.repositories["acme/edited"]
    repository.commit({**repository.files(), "README.md": b"# By hand\n"})
    assert client.run("inspect", "hf://acme/edited").code == 0  # the card decides over nothing
    done = push(client, bundle, "acme/edited")
    assert done.code == 0
    assert "kept its README.md, which somebody wrote or edited there" in done.error
    assert "add --replace-card" in done.error
    assert repository.files()["README.md"] == b"# By hand\n"
    assert push(client, bundle, "acme/edited", "--replace-card").error == ""
    assert repository.files()["README.md"] == b"# Card\n"


def test_a_bundle_without_a_card_leaves_no_card_of_another_bundle(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    push(client, with_card(tmp_path / "bundle"), "acme/older")
    done = push(client, BUNDLE, "acme/older")
    assert "removed      README.md, which belonged to the older bundle there" in done.out
    repository = server.repositories["acme/older"]
    assert "README.md" not in repository.files()
    repository.commit({**repository.files(), "README.md": b"# By hand\n"})
    done = push(client, BUNDLE, "acme/older", "--replace-card")
    assert (done.code, done.error) == (0, "")
    assert repository.files()["README.md"] == b"# By hand\n"  # there is no card to replace it


def test_a_branch_is_created_and_a_private_repository_is_private(
    server: HubServer, client: HubClient, tmp_path: Path
) -> None:
    assert push(client, BUNDLE, "acme/hidden@v2", "--private").code == 0
    repository = server.repositories["acme/hidden"]
    assert repository.private
    assert "bundle.json" in repository.files("v2")
    assert "bundle.json" not in repository.files("main")


@pytest.mark.parametrize(
    ("target", "options", "token", "code", "says"),
    [
        ("hf://acme/topics", [], READ_TOKEN, 1, "the hub refuses (HTTP 403: You need a token with write access)"),
        ("hf://acme/topics", [], None, 1, "the hub asks for a valid token"),
        ("hf://acme/public", ["--private"], WRITE_TOKEN, 1, "exists and everyone can see it; make it private"),
        ("hf://datasets/acme/topics", [], WRITE_TOKEN, 1, "can only be pushed to a branch of a model repository"),
        ("hf://acme/topics@" + "0" * 40, [], WRITE_TOKEN, 1, "can only be pushed to a branch of a model repository"),
        ("s3://acme/topics", [], WRITE_TOKEN, 1, "is not a repository on the Hugging Face hub; write hf://OWNER/NAME"),
        ("topics", [], WRITE_TOKEN, 1, "is not a repository on the Hugging Face hub; write hf://OWNER/NAME"),
    ],
)
def test_a_push_that_cannot_work_uploads_nothing(
    server: HubServer, client: HubClient, target: str, options: list[str], token: str | None, code: int, says: str
) -> None:
    if "acme/public" not in server.repositories:
        server.add("acme/public", PAPERS.parent)
    before = {name: dict(one.branches) for name, one in server.repositories.items()}
    done = client.run("push", BUNDLE, target, *options, token=token)
    assert done.code == code, done.error
    assert says in done.error
    assert {name: dict(one.branches) for name, one in server.repositories.items()} == before


def test_only_a_whole_bundle_is_pushed(server: HubServer, client: HubClient, tmp_path: Path) -> None:
    bundle = Path(shutil.copytree(BUNDLE, tmp_path / "bundle"))
    (bundle / "vocab.txt").write_text("edited")
    before = len(server.requests)
    for folder, says in ((bundle, "differs from the file the bundle was built with"), (tmp_path, "not a model bundle")):
        done = push(client, folder, "acme/never")
        assert done.code == 1
        assert says in done.error
    assert len(server.requests) == before


def test_two_pushes_at_once_do_not_mix(server: HubServer, client: HubClient, name: str, tmp_path: Path) -> None:
    repository = server.repositories[name]
    bundle = with_card(tmp_path / "bundle")

    def meanwhile(method: str, path: str) -> None:
        if path.endswith("/preupload/main"):
            repository.commit({**repository.files(), "other": b"by somebody else"})

    server.refusal = meanwhile
    done = push(client, bundle, name)
    assert done.code == 75
    assert "the repository was changed at the same time" in done.error
    assert "README.md" not in repository.files()


def test_what_the_page_and_the_help_show_runs(server: HubServer, client: HubClient, tmp_path: Path) -> None:
    shown = [line for language, text in blocks("docs/bundle.md") if language == "sh" for line in commands(text)]
    help_page = client.run("push", "--help").out
    shown += [line.strip() for line in help_page.partition("Examples:")[2].splitlines() if line.strip()]
    assert len(shown) == 7
    places = {"bundles/sample": BUNDLE, "bundle": BUNDLE, "papers": PAPERS, "nights": tmp_path / "nights"}
    for line in shown:
        words = shlex.split(line)
        assert words[0] == "specter-batch"
        place = re.compile(rf"^({'|'.join(places)})(?=/|$)")
        done = client.run(*(place.sub(lambda m: str(places[m[1]]), word) for word in words[1:]), token=WRITE_TOKEN)
        assert done.code == 0, f"{line}: {done.error}"
    assert server.repositories["acme/specter-topics"].branches.keys() == {"main", "v2"}


def test_without_the_package_the_extra_is_named() -> None:
    code = "import sys; sys.modules['huggingface_hub'] = None; from specter_batch.cli import main; main(sys.argv[1:])"
    for words in (["inspect", "hf://acme/topics"], ["push", str(BUNDLE), "hf://acme/topics"]):
        done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert "pip install 'specter-batch[hf]'" in done.stderr
