"""Storage: one contract, kept by a folder and by an object store spoken to over HTTP."""

import threading
import time
from datetime import UTC

import pyarrow as pa
import pytest

from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import Lake, Layout, Manifest


@pytest.fixture(params=["folder", "s3"])
def storage(request, tmp_path):
    if request.param == "folder":
        return Folder(tmp_path / "root")
    return request.getfixturevalue("bucket")


def test_what_was_written_is_read(storage):
    storage.write("a/b.json", b"1")
    assert storage.read("a/b.json") == b"1"
    assert storage.exists("a/b.json")
    storage.write("a/b.json", b"22")
    assert storage.read("a/b.json") == b"22"


def test_what_is_not_there_is_none_and_a_folder_is_no_file(storage):
    storage.write("a/b.json", b"1")
    assert storage.read("a/none.json") is None
    assert storage.read("none/none.json") is None
    assert not storage.exists("a")
    assert not storage.exists("a/b")


def test_forgetting_leaves_what_is_there(storage):
    for key in ("t/a.bin", "t/b.bin", "u/a.bin"):
        storage.write(key, key.encode())
        storage.local(key)
    storage.remove("t/a.bin")
    storage.forget("t")
    storage.forget("none")
    assert [storage.local(key).read_bytes() for key in ("t/b.bin", "u/a.bin")] == [
        b"t/b.bin", b"u/a.bin",
    ]  # fmt: skip
    assert storage.read("t/a.bin") is None


def test_names_are_those_right_below(storage):
    for key in ("t/day=2/x/y.json", "t/day=1/z.json", "t/w.json", "tt/v.json"):
        storage.write(key, b"")
    assert storage.names("t") == ["day=1", "day=2", "w.json"]
    assert storage.names("") == ["t", "tt"]
    assert storage.names("none") == []
    assert storage.names("t/w.json") == []


def test_list_is_every_file_below_with_size_and_time(storage):
    began, below = time.time(), ["t/day=2/x/y.json", "t/w.json"]
    for key in ("t/day=2/x/y.json", "t/w.json", "tt/v.json"):
        storage.write(key, b"123")
    found = storage.list("t")
    assert [(entry.key, entry.size) for entry in found] == [(key, 3) for key in below]
    assert all(abs(entry.modified.timestamp() - began) < 300 for entry in found)
    assert {entry.modified.tzinfo for entry in found} == {UTC}
    assert [entry.key for entry in storage.list("")] == [*below, "tt/v.json"]
    assert storage.list("none") == []


def test_a_file_added_is_read_and_no_longer_where_it_was(storage, tmp_path):
    source = tmp_path / "made.bin"
    source.write_bytes(b"x" * 100_000)
    storage.add(source, "t/data/abc.bin")
    assert not source.exists()
    assert storage.local("t/data/abc.bin").read_bytes() == b"x" * 100_000
    assert storage.local("t/data/abc.bin").as_posix().endswith("t/data/abc.bin")


def test_several_local_files_stand_in_the_order_asked_for(storage):
    keys = [f"t/{n}.bin" for n in range(20)]
    for key in keys:
        storage.write(key, key.encode())
    assert [path.read_bytes().decode() for path in storage.locals(reversed(keys))] == keys[::-1]
    assert storage.locals([]) == []


def test_removed_is_gone_and_removing_again_is_no_error(storage):
    storage.write("t/a/b.json", b"1")
    storage.remove("t/a/b.json")
    assert storage.read("t/a/b.json") is None
    assert storage.names("t") == []
    storage.remove("t/a/b.json")


def test_keys_under_a_prefix_are_the_same_files(storage):
    storage.under("t").write("a.json", b"1")
    assert storage.read("t/a.json") == b"1"
    assert storage.under("t").list("") == storage.under("t").list("")
    assert [entry.key for entry in storage.under("t").list("")] == ["a.json"]
    assert storage.under("t").where == f"{storage.where}/t"


def test_a_swap_happens_only_over_what_was_read(storage):
    assert not storage.swap("p", b"old", b"new")
    assert storage.read("p") is None
    assert storage.swap("p", None, b"1")
    assert not storage.swap("p", None, b"2")
    assert not storage.swap("p", b"0", b"2")
    assert storage.read("p") == b"1"
    assert storage.swap("p", b"1", b"2")
    assert storage.read("p") == b"2"


def test_of_many_that_swap_at_once_each_number_is_taken_once(storage):
    """Four count to twenty together: a swap that overwrote another's would lose a count."""
    storage.write("n", b"0")

    def count():
        done = 0
        while done < 5:
            old = storage.read("n")
            done += storage.swap("n", old, b"%d" % (int(old) + 1))

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert storage.read("n") == b"20"


def test_a_lake_lives_there(storage):
    lake = Lake(storage.under("lake"))
    lake.create(Layout(n_buckets=2, user_id="int64", pin_id="string"))
    with lake.workspace() as work:
        table = pa.table({"n": [1, 2, 3]})
        file = lake.add_table(table, "numbers", work, day="2026-04-05", bucket=1)
    made = Manifest(table="numbers", partition={"day": "2026-04-05"}, files=(file,), rows=3)
    lake.commit(made)
    assert lake.current("numbers", day="2026-04-05") == made
    assert lake.version("numbers", made.version, day="2026-04-05") == made
    assert [day.isoformat() for day in lake.days("numbers")] == ["2026-04-05"]
    assert lake.paths(made, bucket=0) == []
    assert lake.holds(file)
    import pyarrow.parquet as pq

    assert pq.ParquetFile(lake.path(file)).read()["n"].to_pylist() == [1, 2, 3]
    lake.retire("numbers", day="2026-04-05")
    assert lake.current("numbers", day="2026-04-05") is None
    assert lake.days("numbers") == []


def test_what_is_unfinished_is_not_listed(storage):
    with Lake(storage).workspace() as work:
        (work / "half.parquet").write_bytes(b"PAR1")
        assert storage.list("") == []
        assert storage.names("") == []
