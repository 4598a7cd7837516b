"""Check that a tag, the version and the changelog agree, and print the changelog's section as the release's notes.

python3 .ci/check_release.py v1.2.0 > notes.md
"""

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
UNRELEASED = "Unreleased"


def sections(changelog: str) -> dict[str, str]:
    """Return the text below each `## [name]` of a changelog, by name."""
    parts = re.split(r"^## \[([^\]]+)\].*$", changelog, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def disagreements(tag: str, version: str, texts: dict[str, str]) -> list[str]:
    """Return the problems that prevent a release of the tag, each with what to do."""
    wrong = []
    if tag != f"v{version}":
        wrong.append(
            f"the tag is {tag} and specter_batch.__version__ is {version}: change specter_batch/__init__.py and tag "
            f"that commit, or tag this one v{version}"
        )
    if not texts.get(version):
        wrong.append(f"CHANGELOG.md has no entries under '## [{version}]': write what changed there")
    if texts.get(UNRELEASED):
        wrong.append(
            f"CHANGELOG.md has entries under '## [{UNRELEASED}]', which this release would leave out: move them under "
            f"'## [{version}]'"
        )
    return wrong


def main() -> int:
    """Print the notes and return 0, or print what disagrees and return 1."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tag", help="the tag that is released, such as v1.2.0")
    parser.add_argument("--root", type=Path, default=ROOT, help="the repository")
    given = parser.parse_args()
    found = re.search(r'^__version__ = "(.+)"$', (given.root / "specter_batch/__init__.py").read_text(), re.MULTILINE)
    if not found:
        sys.stderr.write('specter_batch/__init__.py: no line __version__ = "..."\n')
        return 1
    texts = sections((given.root / "CHANGELOG.md").read_text())
    wrong = disagreements(given.tag, found[1], texts)
    sys.stderr.writelines(f"{line}\n" for line in wrong)
    if wrong:
        return 1
    sys.stdout.write(texts[found[1]] + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
