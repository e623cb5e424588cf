import inspect
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from pinnersage import co_actions
from pinnersage.co_actions import co_action_embeddings
from pinnersage.errors import ConfigError, DataError
from pinnersage.synthetic import World, actions_of, pins_of


@pytest.fixture(scope="module")
def world():
    return World(
        n_users=600,
        n_pins=300,
        n_topics=12,
        dimensions=16,
        n_days=60,
        first_day=date(2026, 1, 1),
        seed=3,
    )


@pytest.fixture(scope="module")
def actions(world):
    days = (actions_of(world, d, np.arange(world.n_users)) for d in range(world.n_days))
    return pa.concat_tables(days)


def embedded(actions, **options):
    return co_action_embeddings(actions["user_id"], actions["pin_id"], dimensions=16, **options)


def same(a, b):
    return (
        a.pin_ids == b.pin_ids
        and np.array_equal(a.vectors, b.vectors)
        and a.n_pins_left_out == b.n_pins_left_out
    )


def test_planted_topics_are_recovered(world, actions):
    found = embedded(actions)
    topics = pins_of(world).topics[found.pin_ids.to_numpy() - 50_000_000]
    cosines = found.vectors @ found.vectors.T
    alike = topics[:, None] == topics
    np.fill_diagonal(cosines, np.nan)
    assert np.nanmean(cosines[alike]) > 0.6
    assert abs(np.nanmean(cosines[~alike])) < 0.1


def test_vectors_are_unit_float32_rows_of_sorted_pins(actions):
    found = embedded(actions)
    assert found.vectors.dtype == np.float32
    assert found.vectors.shape == (len(found.pin_ids), 16)
    np.testing.assert_allclose(np.linalg.norm(found.vectors, axis=1), 1, atol=1e-5)
    ids = found.pin_ids.to_pylist()
    assert ids == sorted(set(ids))


def test_order_of_actions_changes_nothing(actions):
    shuffled = actions.take(np.random.default_rng(0).permutation(actions.num_rows))
    assert same(embedded(actions), embedded(shuffled))
    capped = embedded(actions, max_pins_per_user=5)
    assert same(capped, embedded(shuffled, max_pins_per_user=5))


def test_repeated_actions_change_nothing(actions):
    assert same(embedded(actions), embedded(pa.concat_tables([actions, actions])))


def test_text_ids_and_numpy_arrays_give_the_same_vectors(actions):
    found = embedded(actions)
    text = co_action_embeddings(
        actions["user_id"].cast(pa.string()), actions["pin_id"].cast(pa.string()), dimensions=16
    )
    assert text.pin_ids == found.pin_ids.cast(pa.string())
    assert np.array_equal(text.vectors, found.vectors)
    arrays = co_action_embeddings(
        actions["user_id"].to_numpy(), actions["pin_id"].to_numpy(), dimensions=16
    )
    assert same(arrays, found)


def test_unused_entries_of_a_dictionary_are_no_pins(actions):
    encoded = actions["pin_id"].combine_chunks().dictionary_encode()
    sparse = pc.filter(encoded, pc.less(actions["user_id"], 1_000_300).combine_chunks())
    plain = sparse.cast(pa.int64())
    users = actions["user_id"].filter(pc.less(actions["user_id"], 1_000_300))
    assert same(
        co_action_embeddings(users, sparse, dimensions=16),
        co_action_embeddings(users, plain, dimensions=16),
    )


def test_small_blocks_change_nothing(actions, monkeypatch):
    found = embedded(actions)
    monkeypatch.setattr(co_actions, "PAIRS_PER_BLOCK", 1)
    assert same(embedded(actions), found)


def test_information_is_what_the_formula_says():
    users = np.array([0, 0, 0, 1, 1, 2, 2, 3, 3, 3])
    pins = np.array([0, 1, 2, 0, 1, 2, 3, 3, 4, 0])
    taken = co_actions._user_by_pin(users, pins, 5, seed=0, limit=10)
    ours, _ = co_actions._positive_information(taken, 0.75, 10)
    counts = np.zeros((5, 5))
    for user in range(4):
        mine = pins[users == user]
        for a in mine:
            for b in mine:
                counts[a, b] += a != b
    context = counts.sum(axis=0) ** 0.75
    chance = counts.sum(axis=1)[:, None] * (context / context.sum())
    with np.errstate(divide="ignore"):
        naive = np.maximum(np.log(counts / chance), 0)
    np.testing.assert_allclose(ours.toarray(), naive, rtol=1e-6)


def test_a_pin_keeps_the_neighbours_that_tell_most(actions):
    users, pins = (
        co_actions._codes(actions["user_id"], "user")[0],
        co_actions._codes(actions["pin_id"], "pin")[0],
    )
    taken = co_actions._user_by_pin(users, pins, 300, seed=0, limit=500)
    everything, _ = co_actions._positive_information(taken, 0.75, 300)
    few, _ = co_actions._positive_information(taken, 0.75, 7)
    assert np.diff(everything.indptr).min() > 7
    assert (np.diff(few.indptr) == 7).all()
    worth = everything.toarray() * (taken.T @ taken).toarray()
    lost = np.where(few.toarray() == 0, worth, 0)
    assert (np.where(few.toarray() > 0, worth, np.inf).min(axis=1) >= lost.max(axis=1)).all()


def test_a_user_of_thousands_costs_no_more_than_the_cap():
    users, pins = np.zeros(5_000, np.int64), np.arange(5_000)
    taken = co_actions._user_by_pin(users, pins, 5_000, seed=0, limit=500)
    assert taken.sum() == 500
    assert np.ptp(taken.indices) > 4_000


def test_pins_without_company_are_counted_and_get_nothing(actions):
    lonely = pa.table({"user_id": pa.array([1, 2, 3]), "pin_id": pa.array([7, 8, 9])})
    before = embedded(actions)
    found = embedded(pa.concat_tables([actions.select(["user_id", "pin_id"]), lonely]))
    assert found.n_pins_left_out == before.n_pins_left_out + 3
    assert found.pin_ids == before.pin_ids
    assert np.array_equal(found.vectors, before.vectors)


def test_the_future_cannot_be_read():
    given = inspect.signature(co_action_embeddings).parameters
    assert not {"day", "now", "end", "acted_at", "folder", "settings"} & set(given)


@pytest.mark.parametrize(("users", "pins"), [([], []), ([1], [1]), ([1, 2], [1, 2])])
def test_too_few_pins_say_what_to_do(users, pins):
    empty = pa.array(users, pa.int64()), pa.array(pins, pa.int64())
    with pytest.raises(DataError, match=r"0 of \d pins share users beyond chance; 64 dimensions"):
        co_action_embeddings(*empty)


def test_more_dimensions_than_the_data_supports_say_how_many_it_does(actions):
    with pytest.raises(DataError, match=r"301 such pins\. Ask for fewer dimensions"):
        co_action_embeddings(actions["user_id"], actions["pin_id"], dimensions=300)
    # Every pin of a star shares users with its centre alone: two directions, however many pins.
    users = np.repeat(np.arange(30), 2)
    pins = np.column_stack([np.zeros(30, int), np.arange(1, 31)]).ravel()
    with pytest.raises(DataError, match=r"support 2 dimensions, not 4\. Ask for at most 2"):
        co_action_embeddings(users, pins, dimensions=4)
    assert len(co_action_embeddings(users, pins, dimensions=2).pin_ids) == 31


def test_missing_ids_are_refused():
    with pytest.raises(DataError, match="1 of 2 actions have no pin id"):
        co_action_embeddings(pa.array([1, 2]), pa.array([1, None]))


def test_columns_of_different_length_are_refused():
    with pytest.raises(DataError, match="2 user ids came with 1 pin ids"):
        co_action_embeddings(pa.array([1, 2]), pa.array([1]))


@pytest.mark.parametrize(
    "options",
    [{"dimensions": 0}, {"context_smoothing": 0}, {"max_pins_per_user": 1}, {"max_neighbours": 0}],
)
def test_impossible_parameters_are_refused(options):
    with pytest.raises(ConfigError, match=next(iter(options))):
        co_action_embeddings(pa.array([1]), pa.array([1]), **options)


@pytest.mark.slow
def test_items_bought_together_are_nearer_than_random_ones(real_data):
    table = pq.read_table(real_data / "online_retail" / "actions.parquet")
    found = co_action_embeddings(table["user_id"], table["item_id"])

    def cosine(a, b):
        return np.median(np.einsum("ij,ij->i", found.vectors[a], found.vectors[b]))

    rng = np.random.default_rng(0)
    random = cosine(*rng.integers(0, len(found.pin_ids), (2, 20_000)))
    rows = pc.index_in(table["item_id"], value_set=found.pin_ids).fill_null(-1).to_numpy()
    user, time = (table[name].dictionary_encode().combine_chunks() for name in ("user_id", "ts"))
    baskets = [np.asarray(part.indices) for part in (user, time)]
    order = np.lexsort((rows, *baskets))
    order = order[rows[order] >= 0]
    one, next_one = order[:-1], order[1:]
    together = np.all([part[one] == part[next_one] for part in baskets], axis=0)

    assert random < 0.15
    assert cosine(rows[one[together]], rows[next_one[together]]) > random + 0.1
