"""Current: the release's clusters and what was done since, as one."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from pinnersage.config import ModelConfig, OnlineConfig
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.online import current as module
from pinnersage.online import state
from pinnersage.online.state import Action
from pinnersage.online.update import Actions, Clusters, update
from pinnersage.stores.embeddings import Embeddings
from pinnersage.stores.packing import Profile

DAY = date(2026, 4, 5)
END = end_of(DAY)
NOW = END + timedelta(hours=12)
MODEL, ONLINE = ModelConfig(), OnlineConfig()
MATRIX = np.repeat(np.eye(8, dtype=np.float32), 5, axis=0)
MATRIX[:, 0] += 0.01 * np.arange(40, dtype=np.float32)
MATRIX /= np.linalg.norm(MATRIX, axis=1, keepdims=True)
"""Eight topics of five pins: 0 to 4 are alike, 5 to 9 are, and so on."""


@pytest.fixture(params=[False, True], ids=["integer", "text"])
def table(request, tmp_path):
    """Pins 100 to 139, or the same with a letter before them."""
    ids = pa.array([f"p{i}" for i in range(100, 140)] if request.param else range(100, 140))
    return Embeddings("e1", DAY, MATRIX, ids, tmp_path, "embeddings/version=e1@x")


def ids_of(table, rows):
    return table.pin_ids.take(pa.array(rows)).to_pylist()


def profile_of(table, rows, importance=None, n_actions=None):
    k = len(rows)
    return Profile(
        table.pin_ids.take(pa.array(rows)).to_numpy(zero_copy_only=False).copy(),
        np.array(importance or [9.0 - i for i in range(k)]),
        np.array(n_actions or [10] * k, np.uint32),
        np.full(k, 0.001, np.float32),
        np.full(k, module.micros(END) - 1, np.int64),
    )


def state_of(table, *acted):
    """The state after actions, each a row and how long after the day's end."""
    made = [
        Action(module.micros(END + after), str(ids_of(table, [row])[0]), state.event_of(f"e{i}"))
        for i, (row, after) in enumerate(acted)
    ]
    return state.merged((), made, 20)


def of(table, profile, state_, **changed):
    values = {
        "day": DAY, "now": NOW, "table": table, "blocked": frozenset(), "model": MODEL,
        "online": ONLINE,
    }  # fmt: skip
    return module.current(profile, state_, **(values | changed))


def hours(n):
    return timedelta(hours=n)


def test_without_actions_it_is_what_is_stored_to_the_object(table):
    profile = profile_of(table, [0, 5])

    found = of(table, profile, ())

    assert found.profile is profile
    assert (found.came_from, found.stored) == (("batch", "batch"), (0, 1))
    assert (found.actions, found.left_out, found.answered) == ((), 0, True)
    assert found.last_acted_at is None
    assert of(table, None, ()).profile is None


def test_each_cluster_says_where_it_comes_from(table):
    profile = profile_of(table, [0, 5])

    found = of(table, profile, state_of(table, (6, hours(1)), (20, hours(2)), (21, hours(3))))

    where = dict(zip(found.profile.pin_ids.tolist(), found.came_from, strict=True))
    assert where[ids_of(table, [0])[0]] == "batch"
    assert where[ids_of(table, [20])[0]] == "online"
    assert sorted(found.came_from) == ["batch", "both", "online"]
    assert sorted(found.stored) == [-1, 0, 1]
    assert found.profile.n_actions.sum() == 20 + 3
    of_action = [found.came_from[label] for label in found.labels]
    assert of_action == ["both", "online", "online"]
    assert found.last_acted_at == END + hours(3)


def test_it_is_update_of_what_counts(table):
    profile = profile_of(table, [0, 5])
    rows, after = [6, 20, 21], [1, 2, 3]

    found = of(table, profile, state_of(table, *zip(rows, map(hours, after), strict=True)))

    end = module.micros(END)
    expected = update(
        Clusters(np.array([0, 5]), profile.importance, profile.n_actions.astype(np.int64),
                 profile.offset.astype(float), profile.last_acted_at, end),
        Actions(np.array(rows), end + np.array(after) * 3_600_000_000),
        module.micros(NOW), embeddings=MATRIX, merge_threshold=1.0, decay_per_day=0.01,
    )  # fmt: skip
    assert found.profile.pin_ids.tolist() == ids_of(table, expected.rows)
    np.testing.assert_array_equal(found.profile.importance, expected.importance)
    np.testing.assert_array_equal(found.profile.n_actions, expected.n_actions)
    np.testing.assert_array_equal(found.profile.last_acted_at, expected.last_acted_at)
    assert found.profile.n_actions.dtype == np.uint32
    assert found.profile.pin_ids.dtype.kind == profile.pin_ids.dtype.kind


def test_a_user_without_stored_clusters_has_those_of_her_actions(table):
    found = of(table, None, state_of(table, (0, hours(1)), (1, hours(2)), (30, hours(3))))

    assert found.came_from == ("online", "online")
    assert found.profile.n_actions.tolist() == [2, 1]


def test_the_batch_has_what_was_done_before_the_days_end(table):
    profile = profile_of(table, [0])
    tick = timedelta(microseconds=1)

    before = of(table, profile, state_of(table, (20, -tick)))
    at_the_end = of(table, profile, state_of(table, (20, -tick), (21, timedelta(0))))
    next_release = of(
        table, profile, state_of(table, (20, hours(1)), (21, hours(25))), day=DAY + hours(24),
        now=NOW + hours(24),
    )  # fmt: skip

    assert before.profile is profile
    assert [action.acted_at for action in at_the_end.actions] == [module.micros(END)]
    assert len(next_release.actions) == 1, "what the batch of the next day has consumed is gone"


def test_an_action_counts_for_keep_days(table):
    online = OnlineConfig(keep_days=2.0)
    acted = state_of(table, (20, hours(10)))

    kept = of(table, None, acted, online=online, now=END + hours(58) - timedelta(microseconds=1))
    gone = of(table, None, acted, online=online, now=END + hours(58))

    assert (len(kept.actions), gone.profile, gone.left_out) == (1, None, 0)


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(seconds=50)])
def test_an_action_ahead_of_the_clock_counts_as_of_its_own_time(table, ahead):
    profile = profile_of(table, [0])
    acted = state_of(table, (20, hours(12) + ahead))

    found = of(table, profile, acted)

    at = list(found.came_from).index("online")
    assert found.profile.importance[at] == 1.0
    days = (hours(12) + ahead) / timedelta(days=1)
    assert found.profile.importance[1 - at] == pytest.approx(9.0 * np.exp(-0.01 * days))


def test_blocked_and_unknown_pins_do_not_count_and_are_told(table):
    profile = profile_of(table, [0])
    acted = state_of(table, (20, hours(1)), (21, hours(2)), (6, hours(3)))
    unknown = Action(acted[0].acted_at, "777", state.event_of("x"))
    no_id = Action(acted[0].acted_at, "no pin", state.event_of("y"))

    found = of(
        table, profile, tuple(sorted((unknown, no_id, *acted))),
        blocked=frozenset({str(ids_of(table, [20])[0])}),
    )  # fmt: skip
    none = of(table, profile, (unknown,))

    assert found.left_out == 3
    assert [action.pin for action in found.actions] == [str(p) for p in ids_of(table, [21, 6])]
    assert none.profile is profile
    assert none.left_out == 1


def test_a_medoid_without_an_embedding_is_an_error(table):
    bad = profile_of(table, [0])
    bad.pin_ids[0] = 777 if bad.pin_ids.dtype.kind == "i" else "p777"
    with pytest.raises(
        DataError, match=r"777.*no embedding in version e1.*runbook: mixed versions"
    ):
        of(table, bad, state_of(table, (0, hours(1))))


def test_microseconds_are_exact():
    moment = datetime(2026, 4, 6, 1, 2, 3, 999_999, tzinfo=UTC)
    assert module.micros(moment) == int(moment.timestamp()) * 1_000_000 + 999_999
