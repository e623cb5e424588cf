"""Since: each cluster now beside what it was, each action with its cluster, nothing blocked."""

import json
from datetime import date

import numpy as np

from pinnersage import since
from pinnersage.extract import end_of
from pinnersage.online.current import Current, batch_alone
from pinnersage.online.events import EPOCH, MICROSECOND
from pinnersage.online.state import Action
from pinnersage.stores.packing import Profile

DAY = date(2026, 4, 5)
NOON = end_of(DAY).replace(hour=12)


def profile_of(**clusters):
    k = len(clusters)
    return Profile(
        np.array(list(clusters), object), np.array(list(clusters.values()), float),
        np.arange(1, k + 1, dtype=np.uint32), np.zeros(k, np.float32), np.zeros(k, np.int64),
    )  # fmt: skip


def acted(hour, pin):
    at = (end_of(DAY).replace(hour=hour) - EPOCH) // MICROSECOND
    return Action(at, pin, pin.encode())


STORED = profile_of(a=6, b=2)
KNOWN = Current(
    profile_of(a=5, d=3, b=2), ("both", "online", "batch"), (0, -1, 1), STORED,
    actions=(acted(3, "d"), acted(4, "c"), acted(5, "d")), labels=(1, 0, 1), left_out=2,
)  # fmt: skip


def test_each_cluster_stands_beside_what_it_was_and_each_action_beside_its_cluster():
    told = since.told(KNOWN, DAY, NOON, str)

    assert [(c["rank"], c["pin_id"], c["from"], c["n_new"]) for c in told["clusters"]] == [
        (0, "a", "both", 1), (1, "d", "online", 2), (2, "b", "batch", 0)
    ]  # fmt: skip
    a, d, b = told["clusters"]
    assert (a["share"], a["was"]["share"]) == (0.5, 0.75)
    assert (a["was"]["n_actions"], d["was"], b["was"]["pin_id"]) == (1, None, "b")
    assert [(one["pin_id"], one["cluster"], one["acted_at"]) for one in told["actions"]] == [
        ("d", 1, "2026-04-06 05:00:00"), ("c", 0, "2026-04-06 04:00:00"),
        ("d", 1, "2026-04-06 03:00:00"),
    ], "the newest first"  # fmt: skip
    assert (told["since"], told["now"]) == ("2026-04-06 00:00", "2026-04-06 12:00")
    assert (told["answered"], told["left_out"]) == (True, 2)
    json.dumps(told, allow_nan=False)


def test_what_must_not_be_shown_is_left_out():
    told = since.told(KNOWN, DAY, NOON, lambda pin: None if pin in "ac" else pin)

    assert [(c["rank"], c["pin_id"]) for c in told["clusters"]] == [(1, "d"), (2, "b")]
    assert [one["pin_id"] for one in told["actions"]] == ["d", "d"]


def test_a_user_of_whom_the_release_knows_nothing_has_only_what_she_did():
    known = Current(
        profile_of(d=1), ("online",), (-1,), None, actions=(acted(3, "d"),), labels=(0,)
    )

    told = since.told(known, DAY, NOON, str)

    assert [(c["from"], c["was"]) for c in told["clusters"]] == [("online", None)]


def test_states_that_are_away_are_no_day_without_actions():
    assert not since.told(batch_alone(STORED, answered=False), DAY, NOON, str)["answered"]
