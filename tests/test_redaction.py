import time

import pytest

from specter_batch.display import has_credentials, is_url, without_credentials


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
        ("s3:/KEY:hunter2@bucket/in", "s3:/bucket/in"),
        ("s3:KEY:hunter2@bucket/in", "s3:bucket/in"),
        ("S3:\\\\KEY:hunter2@bucket", "S3:\\\\bucket"),
        ("https%3A%2F%2Fu:hunter2@host/x", "https%3A%2F%2Fhost/x"),
        ("//u:hunter2@host/x", "//host/x"),
        ("ray://u:hunter2@127.0.0.1:10001", "ray://127.0.0.1:10001"),
        ("https://u:%68unter2@host", "https://host"),
        ("https://u:hunter2@[::1]:9/x", "https://[::1]:9/x"),
        ("https://[::1]:9/x@2", "https://[::1]:9/x@2"),
        ("https://host/x?hunter2", "https://host/x"),
        ("https://host/x#access_token=hunter2", "https://host/x"),
        ("https://host/x?a#hunter2", "https://host/x"),
        ("s3://bucket/part-?.parquet?X-Amz-Signature=hunter2", "s3://bucket/part-?.parquet"),
        ("PosixPath('s3:/K:hunter2@b') and \"https://u:hunter2@h\"", "PosixPath('s3:/b') and \"https://h\""),
        ("https://host/page#part", "https://host/page#part"),
        ("me:hunter2@host:/papers", "host:/papers"),
        ("me:hunter2@host/papers", "host/papers"),
        ("me:hunter2@host.org", "host.org"),
        ("me:hun/ter2@host:/papers", "host:/papers"),
        ("me:hun@ter2@host:/papers", "host:/papers"),
        ("10:30@noon", "10:30@noon"),
        ("./me:papers@host/a.parquet", "./me:papers@host/a.parquet"),
        ("nights/2026-11-24T01:00/x@2", "nights/2026-11-24T01:00/x@2"),
        ("/a//b@c/d", "/a//b@c/d"),
        ("at 10:30 me@example.org", "at 10:30 me@example.org"),
    ],
)
def test_credentials_are_taken_out_and_nothing_else(text: str, shown: str) -> None:
    assert without_credentials(text) == shown


@pytest.mark.parametrize("text", ["a://b:" * 100_000 + "?", "a." * 200_000 + ":@", "https://" * 50_000 + "#=@"])
def test_a_long_text_takes_no_long_time(text: str) -> None:
    began = time.perf_counter()
    without_credentials(text)
    assert time.perf_counter() - began < 10


@pytest.mark.parametrize("text", ["s3://bucket/x", "s3:/bucket/x", "file:/x", " https://h", "x+y://h", "//u:p@h/x"])
def test_urls_are_recognised_also_without_a_slash(text: str) -> None:
    assert is_url(text)


@pytest.mark.parametrize("text", ["", "papers", "/papers//x", "night:1", "2026-11-24T01:00", "a:/b", "see s3://b/x"])
def test_paths_are_no_urls(text: str) -> None:
    assert not is_url(text)


def test_a_text_with_a_secret_in_a_url_is_recognised() -> None:
    assert has_credentials("ray://u:hunter2@host")
    assert not has_credentials("ray://host:10001")
