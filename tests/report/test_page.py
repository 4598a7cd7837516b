import pytest
from jinja2 import UndefinedError
from markupsafe import Markup

from specter_batch.metrics.score_report import LabelF1, ScoreReport
from specter_batch.report.page import N_CONFUSIONS, Confusion, label_rows, page_environment, top_confusions

REPORT = ScoreReport(
    macro_f1=0.45,
    scored_papers=14,
    seen_in_training=0,
    labels=("art", "law", "music"),
    confusion=((5, 3, 2), (0, 4, 0), (0, 0, 0)),
    per_label=(
        LabelF1(label="art", f1=2 / 3, precision=1.0, recall=0.5, support=10, predicted=5),
        LabelF1(label="law", f1=0.7, precision=4 / 7, recall=1.0, support=4, predicted=7),
        LabelF1(label="music", f1=0.0, precision=0.0, recall=0.0, support=0, predicted=0),
    ),
)


def test_confusions_stand_with_the_most_frequent_first() -> None:
    assert top_confusions(REPORT) == [
        Confusion(true="art", predicted="law", papers=3, share=0.3, cell=(0, 1)),
        Confusion(true="art", predicted="music", papers=2, share=0.2, cell=(0, 2)),
    ]


def test_only_the_most_frequent_confusions_are_named() -> None:
    report = REPORT.model_copy(update={"labels": tuple(map(str, range(10))), "confusion": ((1,) * 10,) * 10})
    assert len(top_confusions(report)) == N_CONFUSIONS


def test_a_label_that_does_not_occur_is_marked() -> None:
    assert [row.occurs for row in label_rows(REPORT)] == [True, True, False]


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{{ 1234 | count }}", "1,234"),
        ("{{ 0.12345 | four }} {{ none | four }}", "0.1235 –"),
        ("{{ 0.5 | signed }}", "+0.5000"),
        ("{{ 0.123 | percent }}", "12.3%"),
        ("{{ '<b>' }}", "&lt;b&gt;"),
    ],
)
def test_figures_and_names_are_written_the_same_on_every_page(template: str, expected: str) -> None:
    assert page_environment().from_string(template).render() == expected


def test_a_value_that_a_page_expects_is_not_left_out_in_silence() -> None:
    with pytest.raises(UndefinedError, match="macro_f1"):
        page_environment().from_string("{{ macro_f1 }}").render()


def test_a_page_may_write_figures_in_ways_of_its_own() -> None:
    assert page_environment(filters={"loud": str.upper}).from_string("{{ 'f1' | loud }}").render() == "F1"


def test_every_template_can_be_read() -> None:
    environment = page_environment()
    for name in environment.list_templates():
        environment.get_template(name)


def test_what_cannot_be_seen_is_shown_escaped_in_every_expression() -> None:
    page = page_environment().from_string('<p title="{{ name }}">{{ name }}</p>{{ part }}')
    name = 'a\x1b[31m\n<b>"caf\udce9'
    shown = page.render(name=name, part=Markup("<text>{}</text>\n").format(name))
    assert shown == (
        '<p title="a\\x1b[31m\\n&lt;b&gt;&#34;caf\\xe9">a\\x1b[31m\\n&lt;b&gt;&#34;caf\\xe9</p>'
        "<text>a\\x1b[31m\n&lt;b&gt;&#34;caf\\xe9</text>\n"
    )
