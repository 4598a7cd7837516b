"""What was drawn: the elements of an SVG, and the tags and text of a page."""

import re
from html.parser import HTMLParser
from xml.etree import ElementTree

VOID = {"meta", "link", "br", "img", "input", "hr"}


def elements(svg: str, name: str, kind: str = "") -> list[ElementTree.Element]:
    found = ElementTree.fromstring(svg).iter(name)  # noqa: S314 - of our own making
    return [element for element in found if kind in element.get("class", "").split() or not kind]


def points(svg: str, kind: str) -> list[list[tuple[float, float]]]:
    lines = elements(svg, "polyline", kind)
    return [[tuple(map(float, pair.split(","))) for pair in line.get("points", "").split()] for line in lines]  # type: ignore[misc]


class Page(HTMLParser):
    """Collects text by section, and refuses a page whose tags do not match."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text.append(data)


def text_of(page: str) -> str:
    return " ".join(" ".join(Page(page).text).split())


def assert_asks_for_nothing(page: str) -> None:
    parsed = Page(page)
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(parsed.tags)
    names = {name for name, _ in parsed.attributes}
    assert not {"src", "srcset"} & names
    # A picture may use its own parts again, and a page may link to its own parts. Their names begin with #.
    links = [str(value) for name, value in parsed.attributes if name in ("href", "xlink:href")]
    assert [link for link in links if not link.startswith("#")] == []
    ids = [str(value) for name, value in parsed.attributes if name == "id"]
    assert [link for link in links if link[1:] not in ids] == []
    assert not [name for name in names if name.startswith("on")]
    assert "url(" not in page.replace("url(#", "")
    assert "@import" not in page
    for svg in re.findall(r"<svg.*?</svg>", page, flags=re.DOTALL):
        ElementTree.fromstring(svg)  # noqa: S314 - of our own making


def assert_readable_in_dark_and_light(page: str) -> None:
    light, _, dark = page.partition("prefers-color-scheme: dark")
    defined = set(re.findall(r"(--[a-z0-9]+):", light))
    assert set(re.findall(r"(--[a-z0-9]+):", dark)) == defined
    assert set(re.findall(r"var\((--[a-z0-9]+)\)", page)) <= defined
