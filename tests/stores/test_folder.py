"""Folder: what only a disk does."""

import subprocess
import sys
import threading

import pytest

from pinnersage.errors import ConfigError
from pinnersage.stores.folder import Folder

HOLD = """
import sys, time
from pathlib import Path
from pinnersage.stores.folder import Folder
with Folder(Path(sys.argv[1])).locked("pointer"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_keeps_another_process_out_and_ends_with_it(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    entered = threading.Event()

    def enter():
        with Folder(tmp_path).locked("pointer"):
            entered.set()

    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        other = threading.Thread(target=enter)
        other.start()
        assert not entered.wait(1), "it waits for the holder"
        holder.kill()
    other.join(30)
    assert entered.is_set()


def test_locks_and_temporary_files_are_not_listed(tmp_path):
    folder = Folder(tmp_path)
    with folder.locked("t/pointer"):
        folder.write("t/a", b"")
    (tmp_path / "t" / ".a.half").write_bytes(b"")
    assert [entry.key for entry in folder.list("")] == ["t/a"]
    assert folder.names("t") == ["a"]


def test_a_folder_that_another_owns_is_said(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr("pinnersage.stores.folder.write_atomically", refused)
    with pytest.raises(ConfigError, match=r"cannot be used.*owner"):
        Folder(tmp_path).write("a", b"")
