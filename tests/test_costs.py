"""Table 2 compares like with like: what the ways of answering are asked for, and what they find.

No test here looks at a time.
"""

import sys
from itertools import product
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _programs_beside_each_other():
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))


@pytest.fixture(scope="module")
def world(_programs_beside_each_other):
    import corpus
    import costs

    rng = np.random.default_rng(0)
    pins = corpus.pins(2_000, rng)
    return costs.World(pins, corpus.worth_indexing(pins), corpus.people(pins, 50, rng))


def asked(queries, own=None):
    import searches

    own = np.full(len(queries), -1) if own is None else own
    return searches.Asked(queries, list(range(len(queries))), own)


# --- LSH -----------------------------------------------------------------------------------------


def cells_by_what_they_lack(sides, directions):
    """Every cell of every table: what its vertices lack, the table, and its number; naive."""
    found = []
    for table, hashes in enumerate(sides):
        vertices = [[(2 * j + (s < 0), s * x) for j, x in enumerate(one) for s in (1, -1)]
                    for one in hashes]  # fmt: skip
        for cell in product(*vertices):
            lack = sum((np.abs(h).max() - x) ** 2 for h, (_, x) in zip(hashes, cell, strict=True))
            number = sum(v * (2 * directions) ** i for i, (v, _) in enumerate(cell))
            found.append((float(lack), table, number))
    return sorted(found)


@pytest.mark.parametrize("how", [(5, 1), (2, 4), (3, 2)])
def test_cells_are_looked_at_nearest_first(how):
    import lsh

    rng = np.random.default_rng(1)
    matrix = rng.standard_normal((400, 16)).astype(np.float32)
    found = lsh.tables(matrix, lsh.Hash(*how), 2, rng)
    codes = lsh.best_codes(found.sides(matrix), how[1])
    query = rng.standard_normal((1, 16)).astype(np.float32)
    naive = cells_by_what_they_lack(found.sides(query)[0], how[1])
    index = lsh.Lsh(matrix, found)
    for probes in (1, 2, 3, 7, 20):
        looked = {(table, number) for _, table, number in naive[:probes]}
        expected = [i for i, one in enumerate(codes) if any((t, c) in looked for t, c in
                                                            enumerate(one.tolist()))]  # fmt: skip
        (near,) = index.search(query, 400, probes)
        assert sorted(near.rows) == expected, probes


@pytest.mark.parametrize("how", [(5, 1), (2, 4)])
def test_with_every_cell_lsh_is_exact(how):
    import lsh

    rng = np.random.default_rng(2)
    matrix = rng.standard_normal((300, 16)).astype(np.float32)
    query = rng.standard_normal((2, 16)).astype(np.float32)
    index = lsh.Lsh(matrix, lsh.tables(matrix, lsh.Hash(*how), 3, rng).first(1))
    for near, cosines in zip(index.search(query, 10, 10**6), query @ matrix.T, strict=True):
        np.testing.assert_array_equal(near.rows, np.argsort(-cosines)[:10])
        np.testing.assert_allclose(near.cosines, np.sort(cosines)[::-1][:10], rtol=1e-5)


def test_fewer_tables_are_the_first_ones():
    import lsh

    matrix = np.random.default_rng(3).standard_normal((50, 8)).astype(np.float32)
    made = [lsh.tables(matrix, lsh.Hash(3, 1), 4, np.random.default_rng(4)) for _ in range(2)]
    for a, b in zip(made[0], made[1], strict=True):
        np.testing.assert_array_equal(a, b)
    first = made[0].first(2)
    assert first.sides(matrix).shape == (50, 2, 3, 1)
    np.testing.assert_array_equal(first.sides(matrix), made[0].sides(matrix)[:, :2])
    assert first.bytes * 2 == made[0].bytes


# --- every way is asked for the same -------------------------------------------------------------


def test_exact_search_finds_good_pins_alone_and_never_the_query(world):
    import searches

    matrix, kept = world.pins.matrix, world.kept
    rows = np.array([5, 77])
    found = searches.exact(matrix, kept, 20)(asked(matrix[rows], rows))
    for row, near in zip(rows, found, strict=True):
        cosines = np.where(kept & (np.arange(len(kept)) != row), matrix @ matrix[row], -np.inf)
        np.testing.assert_array_equal(near.rows, np.argsort(-cosines)[:20])


def test_lsh_deep_enough_delivers_what_exact_search_does(world):
    import lsh
    import searches

    matrix, kept = world.pins.matrix, world.kept
    rng = np.random.default_rng(5)
    index = lsh.Lsh(matrix, lsh.tables(matrix, lsh.Hash(4, 1), 1, rng))
    one = asked(matrix[:3], np.arange(3))
    right = searches.exact(matrix, kept, 30)(one)
    found = searches.by_lsh(index, kept, 30, len(matrix), 10**6)(one)
    assert [near.rows.tolist() for near in found] == [near.rows.tolist() for near in right]
    assert searches.recall(searches.by_lsh(index, kept, 30, 31, 1), [one], [right]) < 1


def test_hnsw_of_all_pins_and_of_refined_ones_deliver_the_same(world, tmp_path):
    import searches

    from pinnersage.stores.edge import EdgeStore

    matrix, kept = world.pins.matrix, world.kept
    store, rows = EdgeStore(tmp_path), np.arange(len(kept))
    store.build("all", rows, matrix, {})
    store.build("refined", rows[kept], matrix[kept], {})
    one = asked(matrix[:3], np.arange(3))
    right = searches.exact(matrix, kept, 30)(one)
    with store.open("all") as full, store.open("refined") as refined:
        of_all = searches.by_hnsw(full, kept, 30, len(matrix), 2_000)(one)
        of_good = searches.by_hnsw(refined, None, 30, 31, 2_000)(one)
    for found in (of_all, of_good):
        assert searches.recall(lambda _, found=found: found, [one], [right]) >= 0.98
        assert all(kept[near.rows].all() and near.rows.size == 30 for near in found)


def test_what_is_remembered_is_what_was_found():
    import searches

    from pinnersage.stores.neighbours import Memory, Near

    searched = []

    def search(one):
        searched.append(list(one.keys))
        return [Near(np.array([key]), np.array([0.5], np.float32)) for key in one.keys]

    memory = Memory(10)
    near = searches.remembering(search, memory, 1)
    queries = np.eye(3, dtype=np.float32)
    none = np.full(3, -1)
    near(searches.Asked(queries, [1, 2, 3], none))
    found = near(searches.Asked(queries, [4, 2, 1], none))
    assert [int(one.rows[0]) for one in found] == [4, 2, 1]
    assert searched == [[1, 2, 3], [4]]
    assert memory.counts.hits == 2


# --- the world -----------------------------------------------------------------------------------


def test_the_world_is_that_which_the_page_describes(world):
    import corpus

    pins, kept = world.pins, world.kept
    copies = pins.copy_of != np.arange(len(kept))
    assert copies.mean() == pytest.approx(corpus.COPIES)
    cosines = np.einsum("ij,ij->i", pins.matrix[copies], pins.matrix[pins.copy_of[copies]])
    assert cosines.min() > 0.97
    assert 0.2 < 1 - kept.mean() < 0.4
    assert not kept[pins.quality < 0.3].any()
    similar = np.triu(pins.matrix[kept] @ pins.matrix[kept].T, 1)
    assert similar.max() < 0.97
    again = corpus.pins(2_000, np.random.default_rng(0))
    assert all(np.array_equal(a, b) for a, b in zip(pins, again, strict=True))


def test_medoids_are_shared_by_users_and_centroids_are_not(world):
    import costs

    known = world.known
    assert all(len(set(one)) == len(one) for one in known.medoids.tolist())
    assert np.array_equal(known.members[..., 0], known.medoids)
    assert (world.pins.topics[known.members].std(axis=2) == 0).all()
    found = costs.stream(world, 40, np.random.default_rng(6))
    keys = {kind: {key for one in ones for key in one.keys} for kind, ones in found.items()}
    assert len(keys["medoids"]) < len(keys["centroids"])
    for one in found["medoids"]:
        np.testing.assert_array_equal(one.queries, world.pins.matrix[one.own])
    lengths = [np.linalg.norm(one.queries, axis=1) for one in found["centroids"]]
    np.testing.assert_allclose(lengths, 1, rtol=1e-6)


def test_requests_follow_zipfs_law():
    import corpus

    drawn = corpus.zipf(100, 200_000, np.random.default_rng(7))
    counts = np.bincount(drawn, minlength=100)
    assert counts.size == 100
    np.testing.assert_allclose(counts[0] / counts[[1, 3, 9]], [2, 4, 10], rtol=0.1)


# --- tuning and the section ----------------------------------------------------------------------


@pytest.mark.parametrize(("enough", "chosen"), [(1, 1), (4, 4), (9, 8)])
def test_a_search_is_set_no_higher_than_is_enough(monkeypatch, enough, chosen):
    import tune

    monkeypatch.setattr(tune.Trial, "recall", lambda _, search: min(1, search / enough))
    monkeypatch.setattr(tune.Trial, "cpu", lambda _, search: search)
    found = tune.least([1, 2, 4, 8], lambda value: value, {}, "value", tune.Trial([], []))
    assert found.how == {"value": chosen}
    assert found.recall == min(1, chosen / enough)


def test_the_fastest_of_those_that_find_enough_is_taken():
    import tune

    found = [tune.Tuned(None, {}, *one) for one in ((1.0, 3.0), (0.995, 2.0), (0.9, 1.0))]
    assert tune.best(found) is found[1]
    assert tune.best(found[2:]) is found[2]
    worse = tune.Tuned(None, {}, 0.5, 0.1)
    assert tune.best([worse, found[2]]) is found[2]


def test_a_recall_that_is_not_equal_is_marked():
    import ladder

    assert (ladder.mark(0.0), ladder.mark(-0.009)) == ("", "")
    assert ladder.mark(0.011) == " +"
    assert "not equal" in ladder.mark(-0.02)
