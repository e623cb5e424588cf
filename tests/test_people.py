"""People: one user's clusters and candidates, with titles."""

import json
from datetime import timedelta

import pytest
from worlds import DAY

from pinnersage import people, retrieve
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.online import state
from pinnersage.online.current import micros
from pinnersage.online.state import Action
from pinnersage.stores import open_states
from pinnersage.stores.packing import key_of


@pytest.fixture
def opened(finished):
    with retrieve.open_live(finished) as reader:
        yield reader


@pytest.fixture
def user(opened):
    return max(opened.profiles.items(), key=lambda item: len(item[1]))[0].decode()


def test_clusters_are_those_that_were_published(opened, finished, user):
    known = people.clusters(opened, finished, user)
    profile = opened.profile(user)

    rows = known["clusters"]
    assert [row["pin_id"] for row in rows] == profile.pin_ids.tolist()
    assert [row["rank"] for row in rows] == list(range(len(profile)))
    assert [row["n_actions"] for row in rows] == profile.n_actions.tolist()
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert all(row["title"] for row in rows)
    assert all(row["last_acted_at"] < "2026-04-06" for row in rows)


def test_what_was_read_is_said(opened, finished, user):
    release = opened.release
    for made in (
        people.clusters(opened, finished, user),
        people.recommendation(opened, finished, user, draw=2),
    ):
        assert made["release"] == release.number
        assert made["embeddings"] == release.embeddings
        assert made["index"] == release.index.version
        assert made["day"] == "2026-04-05"
        json.dumps(made, allow_nan=False)


def test_a_recommendation_has_titles_for_candidates_and_medoids(opened, finished, user):
    made = people.recommendation(opened, finished, user, draw=1)

    assert (made["allocation"], made["draw"]) == (finished.retrieval.allocation, 1)
    assert all(row["title"] and row["medoid_title"] for row in made["candidates"])
    assert [m["pin_id"] for m in made["medoids"]] == opened.recommend(user, draw=1).medoids


def test_every_candidate_stands_under_the_medoid_that_brought_it(opened, finished, user):
    made = people.recommendation(opened, finished, user, draw=0)

    groups = people.by_medoid(made)

    assert [g["pin_id"] for g in groups] == [m["pin_id"] for m in made["medoids"]]
    assert sum(len(g["candidates"]) for g in groups) == len(made["candidates"])
    assert all(c["medoid"] == g["pin_id"] for g in groups for c in g["candidates"])


def test_an_unknown_user_is_an_error_that_says_so(opened, finished):
    with pytest.raises(DataError, match="or no such user"):
        people.clusters(opened, finished, "nobody")


# --- as of now -----------------------------------------------------------------------------------

LATER = end_of(DAY) + timedelta(hours=12)


@pytest.fixture
def acted(opened, finished, user):
    """A user who has acted since on a pin of hers, and one whom the release does not know."""
    mine = opened.profile(user).pin_ids[0]
    action = Action(micros(LATER) - 60_000_000, str(mine), state.event_of("e1"))
    packed = state.pack((action,))
    keys = [key_of(user), key_of("4711")]
    with open_states(finished) as states:
        states.change(keys, lambda _: dict.fromkeys(keys, packed))
    return user, "4711"


def test_as_of_now_it_says_what_is_new_and_what_has_grown(opened, finished, acted):
    old, new = acted
    for user, came_from in ((old, "both"), (new, "online")):
        known = people.clusters(opened, finished, user, now=LATER)
        made = people.recommendation(opened, finished, user, draw=0, now=LATER)

        assert known["clusters"][0]["from"] == made["medoids"][0]["from"] == came_from
        assert {row["from"] for row in known["clusters"][1:]} <= {"batch"}
        assert known["online"] == made["online"] == {
            "actions": 1, "last_acted_at": "2026-04-06 11:59+00:00"
        }  # fmt: skip
    assert people.clusters(opened, finished, old)["online"] is None, "nobody asked"
    with pytest.raises(DataError, match="has no clusters"):
        people.clusters(opened, finished, new)
