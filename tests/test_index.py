"""Index: built, measured, and only above the gate released."""

from datetime import timedelta

import numpy as np
import pytest
from worlds import DAY, change, clock

from pinnersage import index, refine, release
from pinnersage.errors import DataError
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_vectors
from pinnersage.stores.edge import EdgeReader
from pinnersage.stores.lake import Lake
from pinnersage.stores.vectors import Neighbours

NEXT = DAY + timedelta(days=1)


def test_an_index_holds_what_refine_kept(finished):
    lake = Lake(finished.home / "lake")
    manifest = lake.current("index", day=DAY)
    rows = refine.kept_rows(lake, lake.current("refined", day=DAY))

    assert manifest.rows == rows.size
    with open_vectors(finished).open(manifest.report["version"]) as reader:
        assert len(reader) == rows.size
        table = embeddings.named(lake, manifest.report["embeddings"])
        found = reader.search(np.asarray(table.matrix[:5], np.float32), rows.size)
        assert set(found.rows[0].tolist()) == set(rows.tolist())


class Rows:
    """A reader that finds the true neighbours of each query but for some of them."""

    def __init__(self, matrix, rows, missing):
        self.matrix, self.rows, self.missing = matrix, rows, missing

    def search(self, queries, limit):
        cosines = queries @ self.matrix[self.rows].T
        order = np.argsort(-cosines, axis=1)
        order = np.concatenate([order[:, self.missing :], order[:, : self.missing]], axis=1)
        order = order[:, :limit]
        return Neighbours(self.rows[order], np.take_along_axis(cosines, order, axis=1))


@pytest.mark.parametrize("missing", [0, 1, 10, 50])
def test_recall_is_the_share_of_true_neighbours(missing):
    rng = np.random.default_rng(0)
    matrix = rng.normal(size=(400, 8)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    rows = np.sort(rng.choice(400, size=300, replace=False)).astype(np.int64)

    recall = index.recall_at(Rows(matrix, rows, missing), matrix, rows, 40)

    assert recall == pytest.approx(1 - missing / index.DEPTH, abs=1e-3)


def test_the_exact_cutoff_equals_brute_force():
    rng = np.random.default_rng(1)
    matrix = rng.normal(size=(200, 6)).astype(np.float32)
    rows = np.arange(0, 200, 2, dtype=np.int64)
    queries = matrix[:9]

    cutoff = index.exact_cutoff(queries, matrix, rows, 7)

    expected = np.sort(queries @ matrix[rows].T, axis=1)[:, -7]
    np.testing.assert_allclose(cutoff, expected, rtol=1e-6)


def test_recall_of_fewer_pins_than_its_depth():
    matrix = np.eye(4, dtype=np.float32)
    rows = np.arange(3, dtype=np.int64)

    assert index.recall_at(Rows(matrix, rows, 0), matrix, rows, 40) == 1.0


def worse(monkeypatch):
    """Let every search find the farthest pins."""
    search = EdgeReader.search

    def farthest(self, queries, limit, **how):
        return search(self, -queries, limit, **how)

    monkeypatch.setattr(EdgeReader, "search", farthest)


def test_below_the_gate_the_new_index_is_dropped_and_nothing_moves(finished, monkeypatch):
    before = Releases(finished).live()
    stores = open_vectors(finished).versions()
    stricter = change(finished, index={"min_quality": 0.6})
    refine.run(NEXT, stricter)
    worse(monkeypatch)

    with pytest.raises(DataError, match=r"recall@50 is 0\.\d+ \(limit 0\.95\)\. It was dropped"):
        index.run(NEXT, stricter)

    assert open_vectors(finished).versions() == stores
    assert Lake(finished.home / "lake").current("index", day=NEXT) is None
    with pytest.raises(DataError, match="has no index"):
        release.release_index(NEXT, clock, stricter)
    assert Releases(finished).live() == before


def test_a_gate_that_is_raised_later_never_drops_the_live_index(finished, monkeypatch):
    live = Releases(finished).live()
    refine.run(NEXT, finished)
    worse(monkeypatch)

    with pytest.raises(DataError, match="was there before and is kept"):
        index.run(NEXT, finished)

    assert live.index.version in open_vectors(finished).versions()
    release.require_present(live, finished)


def test_an_index_that_lost_pins_is_refused(finished, monkeypatch):
    stricter = change(finished, index={"min_quality": 0.6})
    refine.run(NEXT, stricter)
    monkeypatch.setattr(EdgeReader, "__len__", lambda _: 7)

    with pytest.raises(DataError, match="holds 7 of"):
        index.run(NEXT, stricter)


def test_the_same_pins_are_not_indexed_twice(finished):
    version = Releases(finished).live().index.version
    refine.run(NEXT, finished)

    report = index.run(NEXT, finished)

    assert (report.built, report.version) == (False, version)
    moved = release.release_index(NEXT, clock, finished)
    assert not moved.moved
    assert "live already" in moved.why


def test_other_settings_need_refining_again(finished):
    with pytest.raises(DataError, match="Run: pinnersage refine --day 2026-04-05"):
        index.run(DAY, change(finished, index={"min_quality": 0.6}))
    with pytest.raises(DataError, match="Run first: pinnersage refine --day 2026-04-06"):
        index.run(NEXT, finished)


def test_a_graph_of_other_settings_is_another_version(finished):
    version = Releases(finished).live().index.version

    report = index.run(DAY, change(finished, index={"hnsw_m": 8}))

    assert report.built
    assert report.version != version


@pytest.mark.filterwarnings("ignore")
def test_qdrant_in_local_mode_gives_the_same_neighbours(finished, tmp_path):
    qdrant = change(finished, index={"store": "qdrant", "location": f"path:{tmp_path / 'q'}"})
    report = index.run(DAY, qdrant)
    live = Releases(finished).live()

    assert report.built
    assert report.recall == 1.0
    assert report.version == live.index.version
    lake = Lake(finished.home / "lake")
    matrix = embeddings.named(lake, report.embeddings).matrix
    queries = np.asarray(matrix[::40], np.float32)
    with open_vectors(finished).open(report.version) as edge:
        expected = edge.search(queries, 20)
    with open_vectors(qdrant).open(report.version) as reader:
        found = reader.search(queries, 20)
    np.testing.assert_allclose(found.cosines, expected.cosines, atol=1e-5)
    agreed = [len(set(a) & set(b)) for a, b in zip(found.rows, expected.rows, strict=True)]
    assert np.mean(agreed) > 19
