"""Retrieve: medoids sampled by importance, their neighbours merged, each with its reason."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import chisquare
from worlds import DAY, change

from pinnersage import allocate, erased, people, retrieve, takedown
from pinnersage.config import build
from pinnersage.errors import DataError
from pinnersage.online.latest import Latest
from pinnersage.release import Index, Medoids, Release, Releases
from pinnersage.retrieve import Context, Reader, Wishes
from pinnersage.stores import open_keyvalue
from pinnersage.stores.disk import write_atomically
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import canonical
from pinnersage.stores.neighbours import Memory
from pinnersage.stores.packing import Profile, key_of, pack
from pinnersage.stores.vectors import arrange


def test_the_first_medoid_is_drawn_in_proportion_to_importance():
    importance = np.array([8.0, 4.0, 2.0, 1.0, 1.0])
    rng = np.random.default_rng(11)
    draws = 20_000

    first = [retrieve.sample_medoids(importance, 3, rng=rng)[0] for _ in range(draws)]

    counts = np.bincount(first, minlength=5)
    assert chisquare(counts, importance / importance.sum() * draws).pvalue > 0.001


def test_the_next_medoids_are_drawn_in_proportion_among_those_left():
    importance = np.array([5.0, 3.0, 2.0, 1.0])
    rng = np.random.default_rng(12)
    draws = 20_000

    seen = Counter(tuple(retrieve.sample_medoids(importance, 3, rng=rng)) for _ in range(draws))

    expected = {}
    for order in permutations(range(4), 3):
        left, chance = importance.sum(), 1.0
        for one in order:
            chance *= importance[one] / left
            left -= importance[one]
        expected[order] = chance * draws
    assert seen.keys() <= expected.keys(), "none twice"
    assert chisquare([seen[order] for order in expected], list(expected.values())).pvalue > 0.001


@pytest.mark.parametrize("k", [1, 2, 3])
def test_all_medoids_are_taken_when_there_are_no_more(k):
    rng = np.random.default_rng(0)
    chosen = retrieve.sample_medoids(np.arange(1.0, k + 1), 3, rng=rng)

    assert sorted(chosen) == list(range(k))


def test_importances_of_very_different_size_can_be_sampled():
    importance = np.array([200.0, 1e-30, 1e-300])

    chosen = retrieve.sample_medoids(importance, 3, rng=np.random.default_rng(0))

    assert sorted(chosen) == [0, 1, 2]


def test_a_draw_depends_on_user_day_and_number_alone():
    def numbers(*who):
        return retrieve.generator(*who).random(4).tolist()

    assert numbers("ann", "2026-01-01", 0) == numbers("ann", "2026-01-01", 0)
    assert numbers(7, "2026-01-01", 0) == numbers("7", "2026-01-01", 0)
    others = [("bob", "2026-01-01", 0), ("ann", "2026-01-02", 0), ("ann", "2026-01-01", 1)]
    assert len({tuple(numbers(*who)) for who in [("ann", "2026-01-01", 0), *others]}) == 4
    assert numbers("1/2026", "x", 0) != numbers("1", "2026/x", 0)


class Profiles:
    """A key-value version in a dictionary."""

    about: dict[str, str] = {}  # noqa: RUF012

    def __init__(self, **users):
        self.users = {key_of(user): pack(profile) for user, profile in users.items()}

    def get(self, key):
        return self.users.get(key)

    def close(self):
        """Nothing to let go of."""


def lets_through(where, rows):
    """Row i was made i days before the release's day is over, and is of topic i modulo 4."""
    made = np.array([DAY - timedelta(days=int(row)) for row in rows])
    topics = np.array([f"t{row % 4}" for row in rows])
    fresh = np.ones(len(rows), bool) if where.fresh_since is None else made >= where.fresh_since
    return fresh & (np.isin(topics, where.topics) if where.topics else True)


class Exact:
    """An index that compares with every vector of some rows, and counts its searches."""

    def __init__(self, matrix, rows):
        self.matrix, self.every, self.limits = matrix, np.asarray(rows), []
        self.rows = self.every

    def search(self, queries, limit, where=None):
        self.limits.append((len(queries), limit))
        self.rows = self.every if where is None else self.every[lets_through(where, self.every)]
        # One by one: a matrix product rounds by the size of its batch, and an index does not.
        cosines = np.stack([self.matrix[self.rows] @ query for query in queries])
        order = np.argsort(-cosines, axis=1)[:, :limit]
        return arrange(
            [(self.rows[o].tolist(), c[o].tolist()) for o, c in zip(order, cosines, strict=True)],
            limit,
        )

    def close(self):
        """Nothing to let go of."""


def profile_of(pins, importance=None):
    k = len(pins)
    return Profile(
        np.array(pins, dtype=np.int64 if isinstance(pins[0], int) else object),
        np.array(importance or [1.0] * k),
        np.ones(k, np.uint32),
        np.zeros(k, np.float32),
        np.zeros(k, np.int64),
    )


def nobody_asks():
    raise AssertionError("without a time nobody asks what was done since")


@pytest.fixture
def reader_of(tmp_path):
    """Make a reader over 60 random pins, numbered from 100, of which some are indexed."""
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(60, 8)).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)

    def make(profile, *, indexed=range(60), text=False, **config):
        ids = [f"pin{i:02}" for i in range(60)] if text else list(range(100, 160))
        table = Embeddings("e1", DAY, matrix, pa.array(ids), tmp_path, "embeddings/version=e1@x")
        medoids = Medoids(day=DAY, manifest="m", keyvalue="k", embeddings="e1")
        made = Release(
            number=1,
            medoids=medoids,
            index=Index(day=DAY, version="i", embeddings="e1"),
            previous=None,
        )
        index = Exact(matrix, list(indexed))
        # What most tests are about.
        settings = build(tmp_path, {"retrieval": {"allocation": "equal"} | config})
        record = Folder(tmp_path)
        context = Context(
            Memory(100), takedown.Watch(record), erased.Watch(record), Latest(nobody_asks)
        )
        return Reader(made, Profiles(ann=profile), table, index, settings, context)

    return make


@pytest.mark.parametrize(("n_clusters", "each"), [(1, 13), (2, 6), (3, 4), (9, 4)])
def test_each_medoid_brings_an_equal_share(reader_of, n_clusters, each):
    reader = reader_of(profile_of([100 + 3 * i for i in range(n_clusters)]), n_candidates=13)

    made = reader.recommend("ann")

    e = min(3, n_clusters)
    assert len(made.medoids) == len(set(made.medoids)) == e
    assert reader.index.limits == [(e, 14)], "one batch; one more, for the medoid itself"
    assert max(Counter(c.medoid for c in made.candidates).values()) <= each
    assert len(made.candidates) <= 13


def by_brute_force(reader, medoids, each):
    """Best cosine of each candidate over the medoids that have it among their nearest."""
    matrix, best = reader.embeddings.matrix.astype(np.float64), {}
    for medoid in medoids:
        cosines = matrix @ matrix[medoid - 100]
        others = [row for row in np.argsort(-cosines) if row != medoid - 100][:each]
        for row in others:
            best[100 + row] = max(best.get(100 + row, (-2.0, 0)), (cosines[row], medoid))
    return best


def test_candidates_are_merged_without_repeats_and_keep_their_nearest_medoid(reader_of):
    reader = reader_of(profile_of([100, 101, 102]), n_candidates=60)

    made = reader.recommend("ann")

    expected = by_brute_force(reader, [100, 101, 102], 20)
    assert len(expected) < 60, "some were brought twice"
    assert {c.pin_id for c in made.candidates} == expected.keys()
    assert len(made.candidates) == len(expected)
    for candidate in made.candidates:
        cosine, medoid = expected[candidate.pin_id]
        assert candidate.medoid == medoid
        assert candidate.cosine == pytest.approx(cosine, abs=1e-6)
    cosines = [c.cosine for c in made.candidates]
    assert cosines == sorted(cosines, reverse=True)


def test_a_medoid_is_not_its_own_candidate(reader_of):
    reader = reader_of(profile_of([100]), n_candidates=59)

    made = reader.recommend("ann")

    assert {c.pin_id for c in made.candidates} == set(range(101, 160))


def test_a_medoid_that_is_not_in_the_index_is_still_a_query(reader_of):
    reader = reader_of(profile_of([100]), indexed=range(1, 60), n_candidates=20)

    made = reader.recommend("ann")

    assert made.medoids == [100]
    assert {c.pin_id for c in made.candidates} == by_brute_force(reader, [100], 20).keys()


def test_a_medoid_without_an_embedding_is_an_error_and_not_a_wrong_answer(reader_of):
    with pytest.raises(DataError, match=r"Medoids \[999\] have no embedding in version e1"):
        reader_of(profile_of([999])).recommend("ann")


def test_text_ids_come_back_as_text(reader_of):
    made = reader_of(profile_of(["pin07"]), text=True).recommend("ann")

    assert made.medoids == ["pin07"]
    assert all(type(c.pin_id) is str and c.medoid == "pin07" for c in made.candidates)


def test_more_medoids_than_candidates_bring_nothing(reader_of):
    assert reader_of(profile_of([100, 101, 102]), n_candidates=2).recommend("ann").candidates == []


def test_a_user_without_clusters_has_no_recommendation(reader_of):
    assert reader_of(profile_of([100])).recommend("nobody") is None


def test_a_release_without_an_index_says_what_to_run(reader_of):
    reader = reader_of(profile_of([100]))
    reader.index = None

    with pytest.raises(DataError, match="pinnersage index --day 2026-04-05"):
        reader.recommend("ann")


# What a request may wish for.


@pytest.mark.parametrize("allocation", ["proportional", "round_robin"])
def test_all_medoids_are_asked_by_the_other_allocations(reader_of, allocation):
    pins = [100, 101, 102, 103, 104]
    reader = reader_of(profile_of(pins, [5.0, 4.0, 3.0, 2.0, 1.0]), n_candidates=15)

    made = reader.recommend("ann", wishes=Wishes(allocation))

    assert made.allocation == allocation
    assert made.medoids == pins
    assert {c.medoid for c in made.candidates} == set(pins)
    assert len(made.candidates) <= 15
    assert made.candidates == reader.recommend("ann", draw=7, wishes=Wishes(allocation)).candidates
    sampled = reader_of(profile_of(pins), n_candidates=15).recommend("ann")
    assert (sampled.allocation, len(sampled.medoids)) == ("equal", 3)


def test_a_setting_chooses_the_allocation_and_a_request_may_choose_another(reader_of):
    reader = reader_of(profile_of([100, 101, 102, 103]), allocation="round_robin", n_candidates=4)

    assert [c.medoid for c in reader.recommend("ann").candidates] == [100, 101, 102, 103]
    assert len(reader.recommend("ann", wishes=Wishes("equal")).medoids) == 3


def test_shares_follow_importance(reader_of):
    reader = reader_of(profile_of([100, 101], [9.0, 1.0]), n_candidates=20)

    made = reader.recommend("ann", wishes=Wishes("proportional"))

    near = by_brute_force(reader, [100], 18) | by_brute_force(reader, [101], 2)
    assert {c.pin_id for c in made.candidates} == near.keys()


def test_excluded_pins_do_not_come_and_the_next_in_line_take_their_place(reader_of):
    reader = reader_of(profile_of([100, 101]), n_candidates=20)
    near = by_brute_force(reader, [100], 19).keys()
    first = [pin for pin in near if pin != 101][:3]

    wishes = Wishes("round_robin", exclude=frozenset({*first, "105", "no pin", 10**30}))
    made = reader.recommend("ann", wishes=wishes)

    assert len(made.candidates) == 20
    assert not {*first, 105} & {c.pin_id for c in made.candidates}


def test_who_has_seen_all_that_is_near_gets_nothing(reader_of):
    reader = reader_of(profile_of([100]), n_candidates=10)
    seen = frozenset(c.pin_id for c in reader.recommend("ann").candidates)

    assert reader.recommend("ann", wishes=Wishes(exclude=seen)).candidates == []


@pytest.mark.parametrize("pin", [2**63 - 1, -(2**63), 9_000_000_000_000_000_003])
def test_ids_of_64_bits_are_excluded_and_blocked(reader_of, pin):
    reader = reader_of(profile_of([100]), n_candidates=59)
    ids = sorted([*range(101, 160), pin])
    reader.embeddings = replace(reader.embeddings, pin_ids=pa.array(ids))
    reader.profiles.users[key_of("ann")] = pack(profile_of([ids[5]]))

    def candidates(**wishes):
        return {c.pin_id for c in reader.recommend("ann", wishes=Wishes(**wishes)).candidates}

    assert pin in candidates()
    assert pin not in candidates(exclude=frozenset({str(pin)}))
    reader.watch.pins = lambda: frozenset({str(pin)})
    assert pin not in candidates()


def test_no_candidate_is_farther_than_wished(reader_of):
    reader = reader_of(profile_of([100, 101, 102]), n_candidates=60)

    made = reader.recommend("ann", wishes=Wishes(min_cosine=0.3))

    assert made.candidates == [c for c in reader.recommend("ann").candidates if c.cosine >= 0.3]
    assert 0 < len(made.candidates) < 60
    assert reader.recommend("ann", wishes=Wishes(min_cosine=1.0)).candidates == []


def test_variety_changes_the_order_and_not_the_candidates(reader_of):
    reader = reader_of(profile_of([100, 101, 102]), n_candidates=30)
    plain = reader.recommend("ann").candidates

    varied = reader.recommend("ann", wishes=Wishes(relevance=0.3)).candidates

    assert varied[0] == plain[0]
    assert varied != plain
    assert sorted(varied, key=plain.index) == plain


@pytest.mark.parametrize(
    ("wishes", "rows"),
    [
        ({"fresh_days": 10}, range(10)),
        ({"fresh_days": 1}, range(1)),
        ({"fresh_days": 10_000}, range(60)),
        ({"topics": ("t1",)}, range(1, 60, 4)),
        ({"topics": ("t1", "t3", "no such")}, range(1, 60, 2)),
        ({"topics": ("t2",), "fresh_days": 20}, range(2, 20, 4)),
        ({"topics": ("no such",)}, range(0)),
    ],
)
def test_only_pins_that_a_filter_lets_through_come(reader_of, wishes, rows):
    reader = reader_of(profile_of([100, 101]), n_candidates=40)

    made = reader.recommend("ann", wishes=Wishes(**wishes))

    matrix, expected = reader.embeddings.matrix, set()
    for medoid in (0, 1):
        others = [row for row in np.argsort(-(matrix @ matrix[medoid])) if row != medoid]
        expected |= set([100 + row for row in others if row in rows][:20])
    assert {c.pin_id for c in made.candidates} == expected


def test_a_filter_is_remembered_for_itself_alone(reader_of):
    reader = reader_of(profile_of([100, 101, 102]))
    asked = [{}, {"fresh_days": 9}, {"fresh_days": 8}, {"topics": ("t1",)}, {"topics": ("t2",)}]
    asked += [{"topics": ("t1", "t2")}, {"topics": ("t1",), "fresh_days": 9}]

    cold = [reader.recommend("ann", wishes=Wishes(**wishes)) for wishes in asked]
    warm = [reader.recommend("ann", wishes=Wishes(**wishes)) for wishes in asked]

    assert [len(made.searched) for made in cold] == [3] * len(asked)
    assert [len(made.searched) for made in warm] == [0] * len(asked)
    assert [made.candidates for made in warm] == [made.candidates for made in cold]
    same = reader.recommend("ann", wishes=Wishes(topics=("t2", "t1", "t2")))
    assert not same.searched, "their order does not matter"


@pytest.mark.parametrize("fresh_days", [0, -1, 10**9])
def test_a_number_of_days_that_is_none_is_refused(reader_of, fresh_days):
    with pytest.raises(DataError, match="1 or more days"):
        reader_of(profile_of([100])).recommend("ann", wishes=Wishes(fresh_days=fresh_days))


# What is remembered.


def test_a_medoid_is_searched_for_once(reader_of):
    reader = reader_of(profile_of([100, 101, 102]), n_candidates=12)

    first, again = reader.recommend("ann"), reader.recommend("ann", draw=1)

    assert (first.searched, again.searched) == (set(first.medoids), set())
    assert reader.index.limits == [(3, 13)]
    assert first.candidates == again.candidates
    assert (reader.neighbours.counts.hits, reader.neighbours.counts.misses) == (3, 3)


def test_only_what_is_not_remembered_is_searched_for_in_one_batch(reader_of):
    reader = reader_of(profile_of([100, 101, 102, 103, 104]), n_candidates=12)
    reader.near([101, 103])

    _, searched = reader.near([100, 101, 102, 103])

    assert searched == {100, 102}
    assert reader.index.limits == [(2, 13), (2, 13)]


def test_an_answer_does_not_depend_on_what_is_remembered(reader_of):
    pins = [100 + i for i in range(12)]
    cold = [reader_of(profile_of(pins)).recommend("ann", draw=draw) for draw in range(8)]
    reader = reader_of(profile_of(pins))
    warm = [reader.recommend("ann", draw=draw) for draw in range(8)]

    assert [made.candidates for made in warm] == [made.candidates for made in cold]
    searched = [sum(len(made.searched) for made in runs) for runs in (warm, cold)]
    assert searched[0] <= 12 < searched[1]


@pytest.mark.parametrize("allocation", ["proportional", "round_robin"])
def test_medoids_that_could_bring_nothing_are_not_asked(reader_of, allocation):
    pins, importance = [100 + i for i in range(40)], [2.0**-i + 0.05 for i in range(40)]
    reader = reader_of(profile_of(pins, importance), n_candidates=12)

    made = reader.recommend("ann", wishes=Wishes(allocation))

    near, _ = reader.near(pins)
    shares = allocate.shares(np.array(importance), 12)
    twin = (
        allocate.filled([n for n, s in zip(near, shares, strict=True) if s], shares[shares > 0], 12)
        if allocation == "proportional"
        else allocate.in_turns(near, 12)
    )
    assert [pin - 100 for pin in made.pin_ids] == twin.rows.tolist()
    assert made.cosines == twin.cosines.tolist()
    assert 1 < len(made.medoids) <= 12


def test_similar_pins_are_the_nearest_and_never_the_pin_itself_or_a_blocked_one(reader_of):
    reader = reader_of(profile_of([100]), n_candidates=9)
    expected = by_brute_force(reader, [107], 9)

    assert {c.pin_id: c.cosine for c in reader.similar(107)} == pytest.approx(
        {pin: cosine for pin, (cosine, _) in expected.items()}
    )
    assert reader.similar(7) is None
    assert reader.similar("no number") is None


def test_another_way_of_searching_is_another_memory(finished, user):
    context = retrieve.open_context(finished)
    searched = []
    for ef in (512, 64, 512):
        with retrieve.open_live(change(finished, index={"hnsw_ef_search": ef}), context) as reader:
            searched.append(bool(reader.recommend(user).searched))
    assert searched == [True, True, False]


def test_what_is_remembered_cannot_be_changed_by_who_gets_it(reader_of):
    reader = reader_of(profile_of([100]))
    (near,), _ = reader.near([100])
    with pytest.raises(ValueError, match="read-only"):
        near.rows[0] = 7


def test_memory_goes_along_to_another_release_and_answers_for_its_own_index_alone(reader_of):
    reader = reader_of(profile_of([100]))
    reader.recommend("ann")
    other = reader_of(profile_of([100]), indexed=range(30))
    other.neighbours = reader.neighbours
    other.search = "j"

    made = other.recommend("ann")

    assert made.searched == {100}
    assert {c.pin_id for c in made.candidates} == set(range(101, 130))


# The live release of the tiny world.


@pytest.fixture
def user(finished):
    """Its user with the most clusters."""
    with retrieve.open_live(finished) as reader:
        sizes = {key: len(reader.profile(key.decode())) for key, _ in reader.profiles.items()}
    return max(sizes, key=sizes.get).decode()


def test_a_recommendation_can_be_replayed(finished, user):
    finished = change(finished, retrieval={"allocation": "equal"})
    with retrieve.open_live(finished) as reader:
        first = [reader.recommend(user, draw=draw) for draw in range(20)]
    with retrieve.open_live(finished) as reader:
        again = [reader.recommend(user, draw=draw) for draw in range(20)]
        assert reader.recommend(int(user), draw=3).candidates == first[3].candidates

    assert first == again
    assert len({tuple(made.medoids) for made in first}) > 1


def test_each_cosine_is_true(finished, user):
    with retrieve.open_live(finished) as reader:
        made = reader.recommend(user)
        table = reader.embeddings
        pins = table.rows_of([c.pin_id for c in made.candidates])
        medoids = table.rows_of([c.medoid for c in made.candidates])
        true = np.einsum("ij,ij->i", table.matrix[pins], table.matrix[medoids])
        np.testing.assert_allclose([c.cosine for c in made.candidates], true, atol=1e-5)
        assert {c.medoid for c in made.candidates} <= set(made.medoids)
        assert made.release == reader.release.number


def test_filtered_candidates_are_those_of_exact_search_over_the_pins_table(finished, user, tiny):
    world = pq.read_table(tiny / "pins.parquet").to_pylist()
    end = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
    topics = tuple(sorted({row["topic"] for row in world})[:4])
    with retrieve.open_live(finished) as reader:
        table = reader.embeddings
        every = np.arange(len(table.pin_ids))
        indexed = set(table.pin_ids.filter(pa.array(reader.index.holds(every))).to_pylist())
        made = reader.recommend(user, wishes=Wishes(fresh_days=200, topics=topics))
        allowed = [
            row["pin_id"]
            for row in world
            if row["pin_id"] in indexed
            and row["topic"] in topics
            and row["created_at"] >= end - timedelta(days=200)
        ]
        rows = table.rows_of(allowed)
        each, expected = 400 // len(made.medoids), set()
        for medoid in made.medoids:
            cosines = table.matrix[rows] @ table.matrix[table.rows_of([medoid])[0]]
            order = [i for i in np.argsort(-cosines) if allowed[i] != medoid][:each]
            expected |= {allowed[i] for i in order}
    assert len(allowed) > 5
    assert {c.pin_id for c in made.candidates} == expected


def test_popular_pins_under_a_filter_are_those_of_the_index_that_it_lets_through(finished, tiny):
    world = {row["pin_id"]: row for row in pq.read_table(tiny / "pins.parquet").to_pylist()}
    end = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
    with retrieve.open_live(finished) as reader:
        popular = reader.popular()
        topics = (world[popular[0]]["topic"], world[popular[1]]["topic"])
        held = reader.index.holds(reader.embeddings.rows_of(popular))
        found = reader.popular(Wishes(topics=topics, fresh_days=300))
    expected = [
        pin
        for pin, there in zip(popular, held, strict=True)
        if there
        and world[pin]["topic"] in topics
        and world[pin]["created_at"] >= end - timedelta(days=300)
    ]
    assert found == expected
    assert 0 < len(found) < len(popular)


@pytest.mark.parametrize("where", ["keyvalue", "vectors", "record"])
def test_a_mix_of_embedding_versions_is_refused(finished, where):
    releases = Releases(finished)
    live = releases.live()
    if where == "record":
        other = live.index.model_copy(update={"embeddings": "e2"})
        changed = live.model_copy(update={"index": other})
        data = canonical(changed.model_dump(mode="json"))
        write_atomically(releases.storage.root / f"{live.number:06}.json", data)
    else:
        version = live.medoids.keyvalue if where == "keyvalue" else live.index.version
        about = finished.home / "stores" / where / version / "about.json"
        about.write_text(about.read_text().replace(live.embeddings, "another"))

    with pytest.raises(DataError, match="mixes embedding versions"):
        retrieve.open_live(finished)


def test_nothing_live_says_what_to_run(settings):
    with pytest.raises(DataError, match=r"Nothing is live yet\. Run: pinnersage run"):
        retrieve.open_live(settings)


def test_a_store_that_is_gone_is_named(finished):
    live = Releases(finished).live()
    open_keyvalue(finished).drop(live.medoids.keyvalue)

    with pytest.raises(DataError, match=live.medoids.keyvalue):
        retrieve.open_live(finished)


def test_an_unknown_user_is_told_apart_from_an_error(finished):
    with retrieve.open_live(finished) as reader:
        with pytest.raises(DataError, match=r"User 4711 has no clusters on 2026-04-05: .*90 days"):
            people.recommendation(reader, finished, "4711", draw=0)
        with pytest.raises(DataError, match="as UTF-8"):
            people.clusters(reader, finished, "x" * 600)


def test_settings_of_retrieval_are_followed(finished, user):
    few = change(finished, retrieval={"allocation": "equal", "n_medoids": 1, "n_candidates": 5})
    with retrieve.open_live(few) as reader:
        made = reader.recommend(user)

    assert len(made.medoids) == 1
    assert len(made.candidates) == 5
