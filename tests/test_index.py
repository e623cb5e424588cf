"""Index: built, measured, and only above the gate released."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from worlds import DAY, change, clock, items_of, source_of

from pinnersage import config, index, init, refine, release, takedown
from pinnersage.errors import DataError
from pinnersage.release import Releases
from pinnersage.stores import embeddings, open_vectors
from pinnersage.stores.edge import EdgeReader, EdgeStore
from pinnersage.stores.filters import UNKNOWN, Attributes
from pinnersage.stores.lake import Lake
from pinnersage.stores.vectors import Neighbours

NEXT = DAY + timedelta(days=1)


def test_an_index_holds_what_refine_kept(finished):
    lake = Lake(finished.home / "lake")
    manifest = lake.current("index", day=DAY)
    rows, _ = refine.kept(lake, lake.current("refined", day=DAY))

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

    def search(self, queries, limit, where=None):  # noqa: ARG002
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

    with pytest.raises(DataError, match=r"recall@50 is 0\.\d+ \(limit 0\.95\).* It was dropped"):
        index.run(NEXT, stricter)

    assert open_vectors(finished).versions() == stores
    assert Lake(finished.home / "lake").current("index", day=NEXT) is None
    with pytest.raises(DataError, match="has no index"):
        release.release_index(NEXT, clock, stricter)
    assert Releases(finished).live() == before


def test_recall_is_measured_under_filters_of_several_selectivities(finished):
    report = index.run(DAY, change(finished, index={"hnsw_m": 8}))

    kinds = {name.split()[0] for name in report.filtered}
    assert kinds == {"created", "topic"}
    for kind in kinds:
        shares = [float(name.split()[1]) for name in report.filtered if name.startswith(kind)]
        assert max(shares) >= 0.4
        assert min(shares) <= 0.1
        assert len(shares) >= 3
    assert set(report.filtered.values()) == {1.0}, "so few pins are all compared"
    lake = Lake(finished.home / "lake")
    assert lake.current("index", day=DAY).report["filtered"] == report.filtered


@pytest.mark.parametrize("asked", ["fresh_since", "topics"])
def test_an_index_that_finds_too_little_under_a_filter_is_not_released(
    finished, monkeypatch, asked
):
    stores = open_vectors(finished).versions()
    search = EdgeReader.search

    def farthest(self, queries, limit, *, where=None, **how):
        filtered = where is not None and getattr(where, asked)
        return search(self, -queries if filtered else queries, limit, where=where, **how)

    monkeypatch.setattr(EdgeReader, "search", farthest)
    kind = {"fresh_since": "created", "topics": "topic"}[asked]
    with pytest.raises(
        DataError, match=rf"recall@50 is 1\.000 .*under filters 0\.\d+ for {kind} 0"
    ):
        index.run(DAY, change(finished, index={"hnsw_m": 8}))
    assert open_vectors(finished).versions() == stores


def test_filters_that_are_measured_let_through_what_they_say():
    rng = np.random.default_rng(4)
    created = rng.integers(0, 50, size=1000)
    created[:100] = UNKNOWN
    topic = rng.integers(-1, 30, size=1000).astype(np.int32)
    attributes = Attributes(created, topic, tuple(f"t{i}" for i in range(30)))

    found = index.filters_of(attributes)

    assert len(found) == 2 * len(index.SHARES)
    for name, (where, within) in found.items():
        assert float(name.split()[1]) == pytest.approx(within.mean(), abs=0.01)
        if where.topics:
            names = [None if code < 0 else attributes.topics[code] for code in topic]
            assert within.tolist() == [name in where.topics for name in names]
        else:
            assert within.tolist() == (created >= where.since).tolist()


def test_pins_of_which_nothing_is_known_are_measured_without_filters():
    assert index.filters_of(Attributes()) == {}
    unknown = np.full(9, UNKNOWN)
    assert index.filters_of(Attributes(created=np.append(unknown, 5))).keys() == {"created 0.1"}


def test_an_index_of_pins_of_which_nothing_is_known_passes_and_says_what_it_cannot_filter(
    tiny, tmp_path
):
    plain = items_of(tiny).model_copy(update={"created_at": "", "topic": "", "quality": ""})
    init.run(tmp_path / "home", source_of(tiny), plain)
    settings = config.load(tmp_path / "home")
    refine.run(DAY, settings)

    report = index.run(DAY, settings)

    assert report.built
    assert report.filtered == {}
    assert report.recall > 0.95
    with open_vectors(settings).open(report.version) as reader:
        assert reader.filters == []


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


# An index that is made from the last one.


def blocked(settings, n):
    """Take some pins down, so that the next day has others; what the next day's rows are."""
    lake = Lake(settings.home / "lake")
    rows, _ = refine.kept(lake, lake.current("refined", day=DAY))
    table = embeddings.open_version(lake, embeddings.valid_at(lake, "embeddings", DAY))
    now = datetime(2026, 4, 6, tzinfo=UTC)
    for row in rows[:n].tolist():
        takedown.order("block", str(table.pin_ids[row]), "ann", "test", now, settings)
    refine.run(NEXT, settings)
    return refine.kept(lake, lake.current("refined", day=NEXT))[0]


def test_an_index_of_which_little_changed_is_made_from_the_last_one(finished):
    rows = blocked(finished, 10)
    before = Releases(finished).live().index.version

    report = index.run(NEXT, finished)

    assert (report.built, report.refreshed) == (True, True)
    assert report.recall == 1.0
    store = open_vectors(finished)
    with store.open(report.version) as reader, store.open(before) as last:
        assert len(reader) == rows.size < len(last)
        assert reader.holds(rows).all()
        assert reader.about["day"] == NEXT.isoformat()


@pytest.mark.parametrize(
    ("changes", "n"), [({"max_changed_share": 0.0}, 3), ({}, 60), ({"hnsw_m": 8}, 3)]
)
def test_where_much_changed_or_the_graph_it_is_built_whole(finished, changes, n):
    settings = change(finished, index=changes)
    rows = blocked(settings, n)

    report = index.run(NEXT, settings)

    assert (report.built, report.refreshed) == (True, False)
    assert report.pins == rows.size


def test_a_refreshed_index_has_the_name_that_a_whole_one_has(finished):
    blocked(finished, 10)
    refreshed = index.run(NEXT, finished)
    open_vectors(finished).drop(refreshed.version)

    whole = index.run(NEXT, change(finished, index={"max_changed_share": 0.0}))

    assert (refreshed.refreshed, whole.refreshed) == (True, False)
    assert refreshed.version == whole.version


def test_a_refreshed_index_below_the_gate_is_built_whole(finished, monkeypatch):
    rows = blocked(finished, 10)
    refresh = EdgeStore.refresh

    def worse_copy(self, version, base, rows, vectors, about, attributes, *, most):
        wrong = index.Gathered(-vectors[0 : len(rows)], np.arange(len(rows)))
        return refresh(self, version, base, rows, wrong, about, index.Attributes(), most=most) or (
            self.build(version, rows, wrong, about, attributes) is None
        )

    monkeypatch.setattr(EdgeStore, "refresh", worse_copy)
    report = index.run(NEXT, finished)

    assert (report.built, report.refreshed, report.recall) == (True, False, 1.0)
    with open_vectors(finished).open(report.version) as reader:
        assert len(reader) == rows.size


def test_what_a_run_left_that_was_killed_before_its_check_is_built_anew(finished, monkeypatch):
    rows = blocked(finished, 10)
    with monkeypatch.context() as killed:
        killed.setattr(index, "checked", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            index.run(NEXT, finished)
    store = open_vectors(finished)
    (left,) = set(store.versions()) - {Releases(finished).live().index.version}
    store.drop(left)
    lake = Lake(finished.home / "lake")
    vectors = -np.asarray(embeddings.open_valid(lake, NEXT).matrix)[rows[:-3]]
    known = refine.kept(lake, lake.current("refined", day=NEXT))[1].part(slice(0, -3))
    store.build(left, rows[:-3], vectors, {}, known)

    report = index.run(NEXT, finished)

    assert (report.version, report.built, report.recall) == (left, True, 1.0)
    assert report.pins == rows.size


@pytest.mark.parametrize("broken", ["segment.json", "about.json"])
def test_a_base_that_is_damaged_keeps_no_later_day_from_its_index(finished, broken, caplog):
    rows = blocked(finished, 10)
    live = Releases(finished).live().index.version
    for path in (finished.home / "stores" / "vectors" / live).rglob(broken):
        path.write_text("{")

    report = index.run(NEXT, finished)

    assert (report.built, report.refreshed, report.pins) == (True, False, rows.size)
    assert "is built whole" in caplog.text


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
