"""Lake: a partition is its manifest, written last; what a release names stays readable."""

import errno
import json
import os
import signal
import subprocess
import sys
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from pinnersage.errors import ConfigError, DataError, TransientError
from pinnersage.stores import disk, folder
from pinnersage.stores.disk import disk_errors, write_atomically
from pinnersage.stores.lake import Lake, Layout, Manifest, canonical

LAYOUT = Layout(n_buckets=2, user_id="int64", pin_id="string")


@pytest.fixture
def lake(tmp_path):
    made = Lake(tmp_path / "lake")
    made.create(LAYOUT)
    return made


def write(lake, numbers, day="2026-04-05", **more):
    with lake.workspace() as work:
        table = pa.table({"n": pa.array(numbers, pa.int64())})
        file = lake.add_table(table, "numbers", work, day=day, **more)
    partition = {"day": day} | {k: str(v) for k, v in more.items()}
    return lake.commit(
        Manifest(table="numbers", partition=partition, files=(file,), rows=len(numbers))
    )


def read(lake, manifest):
    import pyarrow.parquet as pq

    return [
        n for path in lake.paths(manifest) for n in pq.ParquetFile(path).read()["n"].to_pylist()
    ]


def files_of(lake):
    return {
        str(p.relative_to(lake.storage.root)) for p in lake.storage.root.rglob("*") if p.is_file()
    }


def test_nothing_is_there_before_the_commit(lake):
    with lake.workspace() as work:
        lake.add_table(pa.table({"n": [1]}), "numbers", work, day="2026-04-05")
    assert lake.current("numbers", day="2026-04-05") is None
    assert lake.days("numbers") == []
    with pytest.raises(DataError, match=r"No numbers of day 2026-04-05.*Run first: make it"):
        lake.require("numbers", "make it", day="2026-04-05")


def test_commit_makes_the_partition(lake):
    manifest = write(lake, [1, 2, 3])
    assert lake.current("numbers", day=date(2026, 4, 5)) == manifest
    assert read(lake, manifest) == [1, 2, 3]
    assert lake.days("numbers") == [date(2026, 4, 5)]


def test_commit_is_the_last_thing_written(lake, monkeypatch):
    order = []
    real = folder.write_atomically

    def watched(path, data):
        order.append(path.name)
        real(path, data)

    monkeypatch.setattr(folder, "write_atomically", watched)
    manifest = write(lake, [1])
    assert order == [f"{manifest.version}.json", "manifest.json"]


def test_older_version_is_readable_after_the_day_is_computed_again(lake):
    old = write(lake, [1, 2])
    new = write(lake, [3])
    assert lake.current("numbers", day="2026-04-05") == new
    assert lake.version("numbers", old.version, day="2026-04-05") == old
    assert read(lake, old) == [1, 2]
    assert read(lake, new) == [3]


def test_same_content_again_changes_no_file(lake):
    write(lake, [1, 2])
    before = {name: (lake.storage.root / name).stat().st_mtime_ns for name in files_of(lake)}
    write(lake, [1, 2])
    after = {name: (lake.storage.root / name).stat().st_mtime_ns for name in files_of(lake)}
    assert set(after) == set(before)
    manifests = [name for name in before if name.endswith(".json")]
    assert all(after[name] == before[name] for name in manifests)


def test_version_that_is_gone_says_what_to_do(lake):
    write(lake, [1])
    with pytest.raises(DataError, match=r"0000000000000000.json is gone.*Restore it"):
        lake.version("numbers", "0" * 16, day="2026-04-05")


def test_manifest_that_is_broken_is_a_data_error(lake):
    write(lake, [1])
    (lake.storage.root / "numbers/day=2026-04-05/manifest.json").write_text("{half")
    with pytest.raises(DataError, match=r"manifest.json is not a manifest"):
        lake.current("numbers", day="2026-04-05")


def test_manifest_has_one_name_in_memory_and_on_disk(lake):
    """JSON sorts keys; the folder and the reference must not follow it."""
    manifest = write(lake, [1], bucket=3)
    again = lake.require("numbers", "write", day="2026-04-05", bucket=3)
    assert again.ref == manifest.ref == f"numbers/day=2026-04-05/bucket=3@{manifest.version}"
    lake.commit(again)
    assert not (lake.storage.root / "numbers" / "bucket=3").exists()


def test_manifest_bytes_depend_on_its_values_alone():
    one = Manifest(table="t", partition={"bucket": "1", "day": "d"}, report={"b": 1, "a": "é"})
    other = Manifest(table="t", partition={"day": "d", "bucket": "1"}, report={"a": "é", "b": 1})
    assert one.version == other.version
    assert canonical(one.model_dump(mode="json")) == canonical(other.model_dump(mode="json"))
    back = Manifest.model_validate_json(canonical(one.model_dump(mode="json")))
    assert back.version == one.version
    assert one.version != one.model_copy(update={"rows": 1}).version


def test_numbers_that_json_lacks_are_refused():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"share": float("nan")})


def test_files_are_named_by_their_content(lake):
    one = write(lake, [1, 2], day="2026-04-05").files[0].path
    same = write(lake, [1, 2], day="2026-04-06").files[0].path
    other = write(lake, [2, 1], day="2026-04-05").files[0].path
    assert Path(one).name == Path(same).name != Path(other).name


def test_workspace_is_gone_after_success_and_after_failure(lake):
    with lake.workspace() as work:
        (work / "file").write_text("x")
    with pytest.raises(FileNotFoundError), lake.workspace() as work:
        (work / "file").rename(work / "elsewhere")
    assert list(lake.storage.scratch.iterdir()) == []


KILLED = """
import os, signal, sys
from pathlib import Path
import pyarrow as pa
from pinnersage.stores import folder as module
from pinnersage.stores.lake import Lake, Manifest
lake, moment = Lake(Path(sys.argv[1])), sys.argv[2]
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
with lake.workspace() as work:
    if moment == "writing":
        (work / "half.parquet").write_bytes(b"PAR1")
        kill()
    file = lake.add_table(pa.table({"n": [9]}), "numbers", work, day="2026-04-05")
    if moment == "files":
        kill()
real = module.write_atomically
def write(path, data):
    if moment == "version" or path.name == "manifest.json":
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / f".{path.name}.half").write_bytes(data[:10])
        kill()
    real(path, data)
module.write_atomically = write
lake.commit(Manifest(table="numbers", partition={"day": "2026-04-05"}, files=(file,), rows=1))
"""


@pytest.mark.parametrize("moment", ["writing", "files", "version", "pointer"])
@pytest.mark.parametrize("before", [None, [1, 2]], ids=["new", "again"])
def test_killed_writer_leaves_what_was_there(lake, moment, before):
    old = write(lake, before) if before else None
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(lake.storage.root), moment], timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL
    assert lake.current("numbers", day="2026-04-05") == old
    assert lake.days("numbers") == ([date(2026, 4, 5)] if old else [])
    if old:
        assert read(lake, old) == before
    assert read(lake, write(lake, [7])) == [7]


def test_full_disk_is_an_error_that_may_pass(lake, monkeypatch):
    old = write(lake, [1])

    def full(_handle):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(disk.os, "fsync", full)
    with pytest.raises(TransientError, match=r"is full.*disk full"):
        write(lake, [2])
    monkeypatch.undo()
    assert lake.current("numbers", day="2026-04-05") == old
    assert not [name for name in files_of(lake) if Path(name).name.startswith(".manifest")]
    assert list(lake.storage.scratch.iterdir()) == []


LIMITED = """
import resource, sys
from pathlib import Path
import numpy as np, pyarrow as pa
from pinnersage.stores.lake import Lake, Manifest
lake = Lake(Path(sys.argv[1]))
try:
    with lake.workspace() as work:
        lake.add_table(pa.table({"n": np.random.default_rng(0).integers(0, 2**60, 100_000)}),
                       "numbers", work, day="2026-04-05")
except Exception as error:
    print(type(error).__name__, error)
"""


def test_file_size_limit_of_the_process_is_a_full_disk(lake, on_a_full_disk):
    program = LIMITED.replace("sys.argv[1]", repr(str(lake.storage.root)))
    said = on_a_full_disk(program, 50_000)
    assert said.startswith(f"TransientError {lake.storage.scratch} is full")
    assert lake.current("numbers", day="2026-04-05") is None


def test_a_folder_of_someone_else_is_said_and_other_errors_stay_what_they_are():
    with pytest.raises(ConfigError, match=r"cannot be used: no.*owner"), disk_errors(Path("/x")):
        raise PermissionError(errno.EACCES, "no")
    with pytest.raises(ConnectionError), disk_errors(Path("/x")):
        raise ConnectionError(errno.ECONNRESET, "no")


def test_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def killed(_handle):
        raise KeyboardInterrupt

    monkeypatch.setattr(disk.os, "fsync", killed)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_lake_keeps_its_layout(lake):
    lake.create(LAYOUT)
    with pytest.raises(ConfigError, match=r"'n_buckets': 2.*asked for is.*'n_buckets': 4"):
        lake.create(LAYOUT.model_copy(update={"n_buckets": 4}))
    assert lake.layout == LAYOUT


def test_folder_without_a_lake_names_the_command(tmp_path):
    with pytest.raises(ConfigError, match="pinnersage init"):
        _ = Lake(tmp_path).layout


def test_versions_are_listed_by_name(lake):
    for name in ("b", "a"):
        lake.commit(Manifest(table="pins", partition={"version": name}))
    assert [m.partition["version"] for m in lake.versions("pins")] == ["a", "b"]


def test_manifest_is_plain_json_for_any_reader(lake):
    manifest = write(lake, [1, 2])
    raw = json.loads((lake.storage.root / "numbers/day=2026-04-05/manifest.json").read_text())
    assert raw["rows"] == 2
    assert raw["files"][0]["path"] == manifest.files[0].path
