"""Inbox: events that are posted are judged alone, safe when answered, and seen at once."""

import json
from datetime import timedelta

import pytest
from fastapi.testclient import TestClient
from served import KEYS, NOW, bearer
from worlds import DAY, change

from pinnersage import erase, takedown
from pinnersage.errors import TransientError
from pinnersage.extract import end_of
from pinnersage.online import events, feedback
from pinnersage.serve import answers, inbox
from pinnersage.serve.app import make_app
from pinnersage.stores import watched
from pinnersage.stores.packing import key_of

NEW = "4711"
"""A user whom no release has."""


@pytest.fixture
def client(app):
    """A client that shows a sender's key."""
    with TestClient(app, headers=bearer("shop")) as opened:
        yield opened


@pytest.fixture
def pins(reader):
    """Pins that are indexed, the popular ones first."""
    return reader.popular()


def event(user=NEW, pin=None, minutes=5, **more):
    """An event of some minutes ago."""
    at = (NOW - timedelta(minutes=minutes)).isoformat()
    return {"user_id": user, "pin_id": pin, "action": "repin", "acted_at": at} | more


def post(client, *given, status=200):
    answer = client.post("/v1/events", json={"events": list(given)})
    assert answer.status_code == status, answer.text
    answers.EventsTaken.model_validate(answer.json())
    return answer.json()


def recommended(client, user, **query):
    answer = client.get("/v1/recommendations", params={"user": user, **query})
    assert answer.status_code == 200, answer.text
    answers.OneRecommended.model_validate(answer.json())
    return answer.json()


def test_what_is_posted_moves_what_is_shown_next(client, pins, users):
    before = recommended(client, NEW)
    assert (before["fallback"], before["online"]) == (True, {"actions": 0, "last_acted_at": None})

    assert post(client, event(pin=pins[0])) == {"verdicts": {"kept": 1}, "refused": []}

    after = recommended(client, NEW, explain=True)
    assert (after["fallback"], after["medoids"]) == (False, [pins[0]])
    assert after["online"]["actions"] == 1
    assert after["online"]["last_acted_at"].startswith("2026-06-01T11:55:00")
    assert {c["from"] for c in after["candidates"]} == {"online"}
    assert recommended(client, users[0])["online"]["actions"] == 0


def test_stored_clusters_and_new_actions_answer_together(client, reader, pins, users):
    user = users[0]
    stored = reader.profile(user)
    mine = stored.pin_ids[0].item()
    post(client, event(user, mine), event(user, pins[3], minutes=4))

    found = client.get("/v1/medoids", params={"user": user}).json()

    answers.UsersMedoids.model_validate(found)
    assert found["online"]["actions"] == 2
    where = {c["pin_id"]: c["from"] for c in found["clusters"]}
    assert where[mine] == "both"
    assert sum(c["n_actions"] for c in found["clusters"]) == stored.n_actions.sum() + 2
    made = recommended(client, user, explain=True)
    of_medoid = {c["medoid"]: c["from"] for c in made["candidates"]}
    assert of_medoid.items() <= where.items()


def test_the_library_says_the_same_at_the_same_time(client, reader, pins, users):
    post(client, event(users[0], pins[0]), event(NEW, pins[1]))
    for user in (users[0], NEW):
        expected = reader.recommend(user, now=NOW)
        found = recommended(client, user)
        assert [(c["pin_id"], c["cosine"]) for c in found["candidates"]] == [
            (c.pin_id, c.cosine) for c in expected.candidates
        ]
        assert expected.n_online == found["online"]["actions"] == 1
        assert len(expected.came_from) == len(expected.medoids)
    assert reader.recommend(NEW) is None, "without a time it is the batch alone"


def test_features_stay_those_of_the_release(client, pins, users):
    before = client.post("/v1/features", json={"users": [users[0]]}).json()
    post(client, event(users[0], pins[0]))
    assert client.post("/v1/features", json={"users": [users[0]]}).json() == before


BAD = {
    "malformed": [
        17, None, "text", [], {}, event(pin=None), event(pin=1, extra=1), event(pin=True),
        event(user="", pin=1), event(user="x" * 512, pin=1), event(pin="\ud800"), event(pin=1.5),
        event(pin=1) | {"acted_at": 1_780_000_000}, event(pin=1) | {"acted_at": "yesterday"},
        event(pin=1) | {"acted_at": "2026-06-01T11:00:00"}, event(pin=10**90), event(pin="no pin"),
    ],
    "oversized": [event(pin=1, event_id="é" * 3_000), event(user="x" * 1_000_000 , pin=1)],
    "from_the_future": [event(pin=1, minutes=-2)],
    "too_old": [event(pin=1, minutes=7 * 24 * 60)],
    "unknown_pin": [event(pin=10**15)],
}  # fmt: skip


@pytest.mark.parametrize("reason", BAD)
def test_a_bad_event_is_refused_alone_with_its_reason(client, pins, reason):
    for bad in BAD[reason]:
        good = [event(pin=pins[0], event_id="a"), event(pin=pins[1], event_id="b")]
        body = json.dumps({"events": [good[0], bad, good[1]]})
        answer = client.post(
            "/v1/events", content=body, headers={"Content-Type": "application/json"}
        )

        assert answer.status_code == 200, (bad, answer.text)
        found = answer.json()
        assert found["verdicts"] == {"kept": 2, reason: 1}, bad
        assert [(r["position"], r["reason"]) for r in found["refused"]] == [(1, reason)]
        assert found["refused"][0]["says"]


def test_every_reason_to_refuse_is_tried():
    assert set(BAD) | {"erased_user"} == set(events.REASONS)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{}", b"[]", b'{"events": []}', b'{"events": {}}', b'{"events": [1], "more": 1}',
        b'{"events": 7}', json.dumps({"events": [1] * 1_001}).encode(),
    ],
)  # fmt: skip
def test_what_is_no_list_of_events_is_refused_whole(client, body):
    answer = client.post("/v1/events", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_what_is_of_no_interest_is_known_and_does_not_count(client, pins):
    found = post(client, event(pin=pins[0], action="hide"))
    assert found == {"verdicts": {"not_interest": 1}, "refused": []}
    assert recommended(client, NEW)["fallback"]


def test_to_post_again_changes_nothing(client, pins):
    given = [event(pin=pin, event_id=f"e{i}") for i, pin in enumerate(pins[:4])]
    post(client, *given)
    first = recommended(client, NEW, explain=True)
    post(client, *given[:2])
    post(client, *reversed(given))
    again = recommended(client, NEW, explain=True)
    assert [c | {"neighbours": ""} for c in again["candidates"]] == [
        c | {"neighbours": ""} for c in first["candidates"]
    ]
    assert again["online"] == first["online"]


def test_a_key_that_may_send_is_needed_in_the_header(app, pins):
    with TestClient(app) as client:
        body = {"events": [event(pin=pins[0])]}
        assert client.post("/v1/events", json=body).status_code == 401
        client.cookies.set("pinnersage_key", KEYS["boss"])
        assert client.post("/v1/events", json=body).status_code == 401
        assert client.get("/v1/medoids?user=nobody").status_code == 404, "it may ask"
        client.cookies.clear()
        refused = client.post("/v1/events", json=body, headers=bearer("ann"))
        assert refused.status_code == 403
        assert "--role sender" in refused.json()["error"]
        for name in ("shop", "boss"):
            assert client.post("/v1/events", json=body, headers=bearer(name)).status_code == 200
        asked = client.post("/v1/block", json={"pin": 1, "reason": "x"}, headers=bearer("shop"))
        assert asked.status_code == 403


def test_what_became_of_events_is_counted(client, pins):
    def counted(verdict):
        lines = client.get("/metrics").text.splitlines()
        name = f'pinnersage_events_total{{verdict="{verdict}"}} '
        return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = {word: counted(word) for word in ("kept", "malformed")}
    post(client, event(pin=pins[0]), event(pin=pins[1]), 17)
    assert counted("kept") - before["kept"] == 2
    assert counted("malformed") - before["malformed"] == 1


# --- what must not be shown ----------------------------------------------------------------------


def test_a_pin_taken_down_is_no_medoid_and_no_candidate_though_it_was_acted_on(
    app, home, pins, monkeypatch
):
    monkeypatch.setattr(watched, "SECONDS", 0.0)
    with TestClient(app, headers=bearer("shop")) as client:
        post(client, event(pin=pins[0]), event(pin=pins[5], minutes=3))
        assert pins[0] in recommended(client, NEW)["medoids"]

        takedown.order("block", str(pins[0]), "ann", "a reason", NOW, home)

        found = recommended(client, NEW)
        assert pins[0] not in found["medoids"]
        assert pins[0] not in [c["pin_id"] for c in found["candidates"]]
        assert found["online"]["actions"] == 1
        assert post(client, event("4712", pins[0]))["verdicts"] == {"kept": 1}
        assert recommended(client, "4712")["fallback"], "it is the only one, and taken down"


def test_actions_near_a_blocked_medoid_are_a_cluster_of_their_own(
    app, home, reader, users, monkeypatch
):
    monkeypatch.setattr(watched, "SECONDS", 0.0)
    user = users[0]
    stored = reader.profile(user)
    mine = stored.pin_ids[0].item()
    near = reader.similar(mine)[0].pin_id
    with TestClient(app, headers=bearer("shop")) as client:
        takedown.order("block", str(mine), "ann", "a reason", NOW, home)
        post(client, event(user, near))

        found = client.get("/v1/medoids", params={"user": user}).json()["clusters"]

    assert mine not in [c["pin_id"] for c in found]
    assert sum(c["n_actions"] for c in found) == stored.n_actions[1:].sum() + 1


def test_a_user_who_is_erased_gets_nothing_though_the_state_is_there(
    app, home, pins, users, monkeypatch
):
    monkeypatch.setattr(watched, "SECONDS", 0.0)
    user = users[0]
    with TestClient(app, headers=bearer("shop")) as client:
        post(client, event(user, pins[0]))
        states = app.state.live.context.latest.states()
        left = states.get_many([key_of(user)])[0]
        erase.run(user, "ann", "asked to be", NOW, "salt", home)
        # As a consumer that was late would leave it.
        states.change([key_of(user)], lambda _: {key_of(user): left})

        found = recommended(client, user)
        assert found["fallback"]
        assert found["online"]["actions"] == 0
        assert client.get("/v1/medoids", params={"user": user}).status_code == 404
        refused = post(client, event(user, pins[1]))
        assert refused["verdicts"] == {"erased_user": 1}
        assert user not in refused["refused"][0]["says"]


def test_feedback_is_in_the_lake_when_the_service_has_ended(app, home, pins):
    shown = event(pin=pins[0], action="impression", event_id="e1", release=1, medoid=pins[1])
    with TestClient(app, headers=bearer("shop")) as client:
        post(client, shown, event(pin=pins[0]))
        post(client, shown)
    (found,) = feedback.by_medoid(NOW.date(), NOW.date(), home).to_pylist()
    assert (found["n_impressions"], found["n_engagements"]) == (1, 0)
    assert (found["user_id"], found["medoid"]) == (int(NEW), pins[1])


# --- what goes wrong -----------------------------------------------------------------------------


class Away:
    """States that do not answer."""

    def get_many(self, _keys):
        raise TransientError("gone")

    def change(self, *_):
        raise TransientError("gone")

    def close(self):
        """Nothing to let go of."""


def test_without_its_states_it_answers_from_the_release_and_says_so(app, pins, users, monkeypatch):
    with TestClient(app, headers=bearer("shop")) as client:
        whole = recommended(client, users[0])
        monkeypatch.setattr(app.state.live.context.latest, "_states", Away())

        found = recommended(client, users[0])
        assert found["online"] is None
        assert [c["pin_id"] for c in found["candidates"]] == [
            c["pin_id"] for c in whole["candidates"]
        ]
        assert client.get("/v1/medoids", params={"user": users[0]}).json()["online"] is None
        answer = client.post("/v1/events", json={"events": [event(pin=pins[0])]})
        assert answer.status_code == 503, "never taken for safe"


def test_before_anything_is_live_events_are_kept_and_count_later(settings):
    keyless = change(settings, service={"authentication": False})
    with TestClient(make_app(keyless, lambda: NOW)) as client:
        assert post(client, event(pin=17))["verdicts"] == {"kept": 1}
        assert client.get(f"/v1/recommendations?user={NEW}").status_code == 503


# --- handed on -----------------------------------------------------------------------------------


class Sender:
    """Where events are put."""

    def __init__(self):
        self.sent, self.full = [], False

    def send(self, given):
        if self.full:
            raise TransientError("too many wait")
        self.sent += given


@pytest.fixture
def sender(client, monkeypatch):
    made = Sender()
    monkeypatch.setattr(client.app.state.inbox, "sender", made)
    return made


def test_what_consumers_take_is_handed_on_with_its_user_and_not_taken_here(client, sender, pins):
    good = event(pin=pins[0], event_id="é")
    found = post(client, good, 17, event(pin=pins[1], minutes=-60), status=202)

    assert found["verdicts"] == {"from_the_future": 1, "handed_on": 1, "malformed": 1}
    assert [r["position"] for r in found["refused"]] == [1, 2]
    ((user, data),) = sender.sent
    assert (user, json.loads(data)) == (NEW, good)
    assert recommended(client, NEW)["online"]["actions"] == 0


def test_of_nothing_good_nothing_is_handed_on(client, sender):
    sender.full = True
    assert post(client, 17, status=202)["verdicts"] == {"malformed": 1}


def test_where_too_many_wait_posts_are_refused_for_now(client, sender, pins):
    sender.full = True
    answer = client.post("/v1/events", json={"events": [event(pin=pins[0])]})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")


def test_an_action_of_the_releases_own_day_is_the_batchs(home, pins):
    """The clock stands an hour after the day: what was done before it is the release's."""
    now = end_of(DAY) + timedelta(hours=1)
    with TestClient(make_app(home, lambda: now), headers=bearer("shop")) as client:
        for hours, pin in ((2, pins[0]), (0.5, pins[3])):
            at = (now - timedelta(hours=hours)).isoformat()
            post(client, event(pin=pin) | {"acted_at": at})
        assert recommended(client, NEW)["medoids"] == [pins[3]]


def test_the_body_is_one_event_by_itself():
    given = {"a": "é\ud800", "b": [1.5, None, True, 10**30]}
    assert json.loads(inbox.as_bytes(given).decode(errors="surrogatepass")) == given
