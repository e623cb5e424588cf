import os

import pytest

from pinnersage.kernels.cache import drop_stale


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "chain.py").write_text("a = 1")
    (tmp_path / "users.py").write_text("b = 2")
    (tmp_path / "__pycache__").mkdir()
    drop_stale(tmp_path)
    return tmp_path


def compiled(folder):
    path = folder / "__pycache__" / "users.cluster_range-35.py311.1.nbc"
    path.write_bytes(b"code")
    return path


def test_compiled_code_stays_while_no_source_changes(folder):
    path = compiled(folder)
    drop_stale(folder)
    assert path.exists()


def test_a_change_of_any_source_drops_the_code_of_all(folder):
    path = compiled(folder)
    os.utime(folder / "chain.py", (1, 1))
    drop_stale(folder)
    assert not path.exists()
    again = compiled(folder)
    drop_stale(folder)
    assert again.exists()


def test_a_source_that_is_gone_counts_as_a_change(folder):
    path = compiled(folder)
    (folder / "chain.py").unlink()
    drop_stale(folder)
    assert not path.exists()


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_left_alone(folder):
    path = compiled(folder)
    os.utime(folder / "chain.py", (1, 1))
    (folder / "__pycache__").chmod(0o500)
    drop_stale(folder)
    assert path.exists()
