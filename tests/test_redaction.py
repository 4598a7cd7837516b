import pytest

from specter_batch.redaction import without_credentials


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://bucket/papers/a.parquet", "s3://bucket/papers/a.parquet"),
        ("s3://bucket/papers/part-?.parquet", "s3://bucket/papers/part-?.parquet"),
        ("ftp://reader:hunter2@mirror/in", "ftp://mirror/in"),
        ("ftp://reader:hunt@er2@mirror/in@2", "ftp://mirror/in@2"),
        ("https://hunter2@host/a.parquet", "https://host/a.parquet"),
        ("s3://KEY:hun/ter2@bucket/in", "s3://bucket/in"),
        ("https://host/a.parquet?sig=hunter2&se=2026", "https://host/a.parquet"),
        ("webdav://host:8080/papers@v2/in", "webdav://host:8080/papers@v2/in"),
        ("hf://datasets/owner/name@main/in", "hf://datasets/owner/name@main/in"),
        ("abfs://papers@account.dfs.core.windows.net/in", "abfs://papers@account.dfs.core.windows.net/in"),
        ("abfs://papers@account.dfs.core.windows.net/in?sig=hunter2", "abfs://papers@account.dfs.core.windows.net/in"),
        (
            'GET "https://u:hunter2@host/x?token=hunter2" failed, as did ftp://u:hunter2@h/y',
            'GET "https://host/x" failed, as did ftp://h/y',
        ),
        ("mail me@example.org about s3://bucket/in", "mail me@example.org about s3://bucket/in"),
        ("papers/night", "papers/night"),
    ],
)
def test_credentials_are_taken_out_and_nothing_else(text: str, shown: str) -> None:
    assert without_credentials(text) == shown
