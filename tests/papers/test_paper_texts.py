import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from specter_batch.papers import text as module
from specter_batch.papers.text import TEXT_TEMPLATE, paper_text, paper_texts

texts = st.one_of(st.none(), st.text(max_size=30), st.integers(0, 3000).map(lambda count: "é" * count))


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=40), st.data())
def test_each_row_gives_its_text_in_order(pairs: list[tuple[str | None, str | None]], data: st.DataObject) -> None:
    titles, abstracts = ([pair[part] for pair in pairs] for part in (0, 1))
    chunks = [slice(0, len(pairs) // 2), slice(len(pairs) // 2, None)]
    table = pa.table(
        {
            "title": pa.chunked_array([pa.array(titles[chunk], pa.string()) for chunk in chunks]),
            "abstract": pa.chunked_array([pa.array(abstracts[chunk], pa.string()) for chunk in chunks]),
        }
    )
    rows = data.draw(st.lists(st.integers(0, max(len(pairs) - 1, 0)), unique=True)) if pairs else []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "GROUP_BYTES", 500)
        patch.setattr(module, "GROUP_ROWS", 7)
        found = list(paper_texts(table, TEXT_TEMPLATE, rows=np.array(rows, np.int64)))
        everything = list(paper_texts(table))
    assert everything == [paper_text(*pair) for pair in pairs]
    assert found == [paper_text(*pairs[row]) for row in rows]
