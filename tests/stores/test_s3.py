"""S3: copies that are kept, and what the store or the way to it says."""

import contextlib
import os
import time

import pytest

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores import open_storage, s3
from pinnersage.stores.s3 import S3, trim


def copies(cache):
    """Names of the files in a cache, but for its lock."""
    files = (path for path in cache.rglob("*") if path.is_file() and path.suffix != ".lock")
    return sorted(path.name for path in files)


def test_a_copy_is_fetched_once(bucket):
    bucket.write("t/abc.bin", b"content")
    path = bucket.local("t/abc.bin")
    S3(bucket.url, bucket.cache / "other").remove("t/abc.bin")
    assert bucket.local("t/abc.bin") == path
    assert path.read_bytes() == b"content"


def test_two_roots_do_not_share_copies(bucket):
    bucket.under("one").write("a", b"1")
    bucket.under("two").write("a", b"2")
    assert bucket.under("one").local("a").read_bytes() == b"1"
    assert bucket.under("two").local("a").read_bytes() == b"2"


def test_a_file_that_is_gone_is_a_data_error_and_leaves_no_copy(bucket):
    with pytest.raises(DataError, match=r"t/none.bin is gone, and something names it"):
        bucket.local("t/none.bin")
    assert copies(bucket.cache) == []


def test_a_removed_object_leaves_no_copy_here(bucket):
    bucket.write("a.bin", b"1")
    bucket.local("a.bin")
    bucket.remove("a.bin")
    assert copies(bucket.cache) == []


def test_copies_of_what_another_machine_removed_are_forgotten(bucket, tmp_path):
    here, other = bucket.under("lake"), S3(bucket.url, tmp_path / "other").under("lake")
    for key in ("t/a.bin", "t/b.bin", "u/a.bin"):
        here.write(key, b"1")
        here.local(key)
        other.remove(key)
    here.write("t/b.bin", b"1")
    (here.local("t/b.bin").parent / ".unfinished").write_bytes(b"1")
    here.forget("t")
    assert sorted(copies(bucket.cache)) == ["a.bin", "b.bin"], "t/b.bin is there, u was not asked"


def test_copies_used_longest_ago_go_first_and_fresh_ones_stay(tmp_path):
    now = time.time()
    for age, name in enumerate("abcd"):
        (tmp_path / name).write_bytes(b"x" * 10)
        os.utime(tmp_path / name, (now - age * 3600, now - age * 3600))
    trim(tmp_path, 20, unused_since=now - 1800)
    assert copies(tmp_path) == ["a", "b"]
    trim(tmp_path, 0, unused_since=now - 1800)
    assert copies(tmp_path) == ["a"]


def test_a_copy_that_is_taken_while_others_are_thrown_away_stays(tmp_path, monkeypatch):
    (tmp_path / "old").write_bytes(b"x")
    os.utime(tmp_path / "old", (0, 0))

    @contextlib.contextmanager
    def taken_meanwhile(cache):
        os.utime(cache / "old")
        yield

    monkeypatch.setattr(s3, "cache_lock", taken_meanwhile)
    trim(tmp_path, 0, unused_since=time.time() - 1800)
    assert (tmp_path / "old").exists()


@pytest.mark.parametrize("old", [None, b"1"])
def test_a_put_that_is_sent_twice_is_not_beaten_by_itself(bucket, monkeypatch, old):
    """Layers below us send again what got no answer; the store has taken the first."""
    client = s3.file_system()
    put = client.pipe_file
    if old:
        bucket.write("p", old)
    monkeypatch.setattr(
        client, "pipe_file", lambda *args, **how: (put(*args, **how), put(*args, **how))
    )
    assert bucket.swap("p", old, b"2")
    assert bucket.read("p") == b"2"


def test_a_put_whose_answer_is_lost_for_good_has_happened(bucket, monkeypatch):
    client = s3.file_system()
    put = client.pipe_file

    def lost(*args, **how):
        put(*args, **how)
        raise OSError("reset")

    monkeypatch.setattr(client, "pipe_file", lost)
    assert bucket.swap("p", None, b"1")


def test_a_store_in_trouble_is_no_proof_that_a_file_is_not_there(bucket, monkeypatch):
    bucket.write("a", b"")

    def unavailable(*_, **__):
        raise OSError(5, "503 Slow Down")

    monkeypatch.setattr(s3.file_system(), "info", unavailable)
    with pytest.raises(TransientError, match="503"):
        bucket.exists("a")


def test_an_answer_that_breaks_off_may_come_whole_next_time(bucket, monkeypatch):
    import aiohttp

    def cut(*_, **__):
        raise aiohttp.ClientPayloadError("not enough data")

    monkeypatch.setattr(s3.file_system(), "cat_file", cut)
    with pytest.raises(TransientError, match="not enough data"):
        bucket.read("a")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("raw/2026-01-01/h=00/a.parquet", ["2026-01-01/h=00/a.parquet"]),
        ("raw/2026-01-01", ["2026-01-01/h=00/a.parquet", "2026-01-01/h=01/b.parquet"]),
        ("raw/2026-01-01/*/*.parquet", ["2026-01-01/h=00/a.parquet", "2026-01-01/h=01/b.parquet"]),
        ("raw/*/h=00/*.parquet", ["2026-01-01/h=00/a.parquet", "2026-01-02/h=00/c.parquet"]),
        ("raw/2026-01-02/**/*.parquet", ["2026-01-02/h=00/c.parquet"]),
        ("raw/2026-01-03", []),
    ],
)
def test_a_pattern_names_the_files_that_a_folder_would_have(bucket, pattern, found):
    for key in ("2026-01-01/h=00/a", "2026-01-01/h=01/b", "2026-01-02/h=00/c"):
        bucket.write(f"raw/{key}.parquet", b"")
    bucket.write("raw/2026-01-01/h=00/_SUCCESS", b"")
    root = f"{bucket.where}/raw/"
    assert s3.matching(f"{bucket.where}/{pattern}") == [root + one for one in found]


def test_a_bucket_that_is_not_there_is_a_setting_to_mend(bucket):
    gone = S3("s3://no-such-bucket/x", bucket.cache)
    with pytest.raises(ConfigError, match=r"s3://no-such-bucket/x.*Make the bucket"):
        gone.write("a", b"")


def test_a_store_that_is_away_may_come_back(bucket, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    s3._file_system.cache_clear()
    try:
        with pytest.raises(TransientError, match=r"cannot be reached.*AWS_ENDPOINT_URL"):
            bucket.read("a")
    finally:
        s3._file_system.cache_clear()


def test_no_credentials_says_which_variables(bucket, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    s3._file_system.cache_clear()
    try:
        with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID"):
            bucket.write("a", b"")
    finally:
        s3._file_system.cache_clear()


@pytest.mark.parametrize(
    "root", ["gs://bucket/x", "s3://key:secret@bucket/x", "s3://b/x/", "/data"]
)
def test_other_roots_are_refused(settings, root):
    from pinnersage import config

    with pytest.raises(ConfigError, match=r"lake.root"):
        config.build(settings.home, {"lake": {"root": root}})


def test_the_setting_chooses_the_store(settings):
    from worlds import change

    chosen = open_storage(change(settings, lake={"root": "s3://bucket/prefix", "cache_gb": 3}))
    assert chosen.where == "s3://bucket/prefix"
    assert chosen.cache == settings.home / "cache"
    assert chosen.cache_gb == 3
