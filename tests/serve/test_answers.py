"""Answers: what the service says is what the library says, of one release."""

import json
from datetime import timedelta

import numpy as np
import pytest
import redis
from fastapi.testclient import TestClient
from served import NOW, bearer
from worlds import DAY, change

from pinnersage import features, parked, takedown
from pinnersage.extract import end_of
from pinnersage.retrieve import Wishes
from pinnersage.serve import answers
from pinnersage.serve.app import make_app
from pinnersage.stores import open_keyvalue, watched
from pinnersage.stores.packing import key_of


def recommended(client, user, **query):
    answer = client.get("/v1/recommendations", params={"user": user, **query})
    assert answer.status_code == 200, answer.text
    answers.OneRecommended.model_validate(answer.json())
    return answer.json()


@pytest.mark.parametrize(
    "wishes",
    [
        {},
        {"draw": 3},
        {"allocation": "proportional"},
        {"allocation": "round_robin", "min_cosine": 0.3},
        {"relevance": 0.5},
    ],
)
def test_recommendations_are_those_of_the_library(client, reader, users, wishes):
    wanted = {k: v for k, v in wishes.items() if k != "draw"}
    for user in users[:8]:
        expected = reader.recommend(user, draw=wishes.get("draw", 0), wishes=Wishes(**wanted))

        found = recommended(client, user, **wishes)

        assert [(c["pin_id"], c["cosine"]) for c in found["candidates"]] == [
            (c.pin_id, c.cosine) for c in expected.candidates
        ]
        assert found["medoids"] == expected.medoids
        assert (found["release"], found["fallback"]) == (reader.release.number, False)


def test_excluded_pins_do_not_come(client, users):
    first = recommended(client, users[0])["candidates"]
    gone = [str(first[0]["pin_id"]), str(first[3]["pin_id"])]

    kept = recommended(client, users[0], exclude=gone)["candidates"]

    assert not {str(c["pin_id"]) for c in kept}.intersection(gone)


def test_an_explanation_says_medoid_and_how_it_was_found(client, users):
    first = recommended(client, users[0], explain=True)
    again = recommended(client, users[0], explain=True)

    assert {c["medoid"] for c in first["candidates"]} <= set(first["medoids"])
    assert {c["neighbours"] for c in first["candidates"]} == {"searched"}
    assert {c["neighbours"] for c in again["candidates"]} == {"remembered"}
    assert "medoid" not in recommended(client, users[0])["candidates"][0]


def test_a_user_of_whom_nothing_is_known_gets_popular_pins_marked_so(client, reader):
    found = recommended(client, "nobody", exclude=[str(reader.popular()[0])])

    assert found["fallback"]
    assert found["medoids"] == []
    assert [c["pin_id"] for c in found["candidates"]] == reader.popular()[1:]
    assert {c["cosine"] for c in found["candidates"]} == {None}
    assert len(found["candidates"]) > 5


def test_several_users_in_their_order_from_one_release(client, users):
    asked = [users[3], "nobody", int(users[1])]

    answer = client.post("/v1/recommendations", json={"users": asked, "draw": 2})

    found = answers.ManyRecommended.model_validate(answer.json())
    assert [one.user for one in found.results] == asked
    assert [one.fallback for one in found.results] == [False, True, False]
    single = recommended(client, users[3], draw=2)
    assert answer.json()["results"][0]["candidates"] == single["candidates"]


def test_medoids_are_the_profile(client, reader, users):
    profile = reader.profile(users[0])

    found = client.get("/v1/medoids", params={"user": users[0]}).json()

    answers.UsersMedoids.model_validate(found)
    assert [c["pin_id"] for c in found["clusters"]] == profile.pin_ids.tolist()
    assert [c["importance"] for c in found["clusters"]] == profile.importance.tolist()
    assert [c["n_actions"] for c in found["clusters"]] == profile.n_actions.tolist()
    assert found["clusters"][0]["last_acted_at"].endswith("Z")


def test_features_are_those_of_the_library_with_embeddings_on_request(home, reader, users):
    asked = [users[2], "nobody", int(users[0])]
    fresh = end_of(DAY) + timedelta(days=1)
    with TestClient(make_app(home, lambda: fresh), headers=bearer("ann")) as client:
        answer = client.post("/v1/features", json={"users": asked, "embeddings": True})
        plain = client.post("/v1/features", json={"users": asked}).json()

    found = answers.ManyFeatures.model_validate(answer.json())
    told = features.online(reader, asked, now=fresh, config=home.features, embeddings=True)
    assert [u.user for u in found.users] == asked
    assert [u.reason for u in found.users] == [None, "unknown_user", None]
    for got, user, vectors in zip(found.users, told.users, told.vectors, strict=True):
        assert (tuple(got.medoids), tuple(got.importance)) == (user.medoid_ids, user.importance)
        assert tuple(got.last_acted_at) == user.last_acted_at
        np.testing.assert_array_equal(
            np.array(got.embeddings, np.float32).reshape(vectors.shape), vectors
        )
    assert "embeddings" not in plain["users"][0]
    assert found.age_days == 1.0


def test_features_of_a_release_that_is_too_old_are_none(client, users):
    found = client.post("/v1/features", json={"users": [users[0]]}).json()
    assert found["users"][0]["reason"] == "too_old", "the tests' clock is weeks after the day"
    assert found["users"][0]["medoids"] == []


def test_similar_pins_are_those_of_the_library(client, reader):
    pin = reader.popular()[0]
    expected = reader.similar(pin)[:7]

    found = client.get("/v1/similar", params={"pin": pin, "limit": 7}).json()

    answers.Similar.model_validate(found)
    assert [(c["pin_id"], c["cosine"]) for c in found["similar"]] == [
        (c.pin_id, c.cosine) for c in expected
    ]


def test_what_is_not_known_is_404_and_says_so(client):
    for path, query in (("medoids", {"user": "nobody"}), ("similar", {"pin": "nothing"})):
        answer = client.get(f"/v1/{path}", params=query)
        assert answer.status_code == 404
        assert next(iter(query.values())) in answer.json()["error"]


def test_readiness_names_the_release_and_its_age(client, reader):
    found = client.get("/ready").json()

    assert found["release"] == reader.release.number
    assert found["age_hours"] == pytest.approx((NOW - end_of(DAY)).total_seconds() / 3600, abs=0.01)
    assert found["problem"] == ""


def test_without_a_release_the_service_starts_and_says_that_nothing_is_live(settings):
    settings = settings.model_copy(
        update={"service": settings.service.model_copy(update={"authentication": False})}
    )
    with TestClient(make_app(settings, lambda: NOW)) as client:
        assert client.get("/health").status_code == 200
        assert client.get("/ready").status_code == 503
        answer = client.get("/v1/recommendations", params={"user": "1"})
    assert answer.status_code == 503
    assert "error" in answer.json()


# --- orders --------------------------------------------------------------------------------------


def test_a_pin_blocked_over_http_is_gone_from_every_answer_within_seconds(app, client, users):
    app.state.live.context.watch._record._clock = lambda: app.state.seconds
    app.state.seconds = 1e9
    before = recommended(client, users[0])
    pin, medoid = before["candidates"][0]["pin_id"], before["medoids"][0]
    for one in (pin, medoid):
        answer = client.post(
            "/v1/block", json={"pin": one, "reason": "court order"}, headers=bearer("boss")
        )
        assert answer.status_code == 200, answer.text
        assert (answer.json()["changed"], answer.json()["by"]) == (True, "boss")

    app.state.seconds += watched.SECONDS

    texts = [
        client.get("/v1/recommendations", params={"user": users[0], "draw": 1}).text,
        client.get("/v1/recommendations", params={"user": "nobody"}).text,
        client.get("/v1/medoids", params={"user": users[0]}).text,
        client.get("/v1/similar", params={"pin": before["candidates"][1]["pin_id"]}).text,
        client.post("/v1/recommendations", json={"users": users[:20]}).text,
    ]
    for one in (pin, medoid):
        assert not [
            text for text in texts if f'"pin_id":{one},' in text or f'"medoid":{one}' in text
        ]
    assert client.get("/v1/similar", params={"pin": pin}).status_code == 404
    again = client.post("/v1/block", json={"pin": pin, "reason": "x"}, headers=bearer("boss"))
    assert not again.json()["changed"]
    lifted = client.post("/v1/unblock", json={"pin": pin, "reason": "x"}, headers=bearer("boss"))
    assert lifted.json()["blocked"] == 1


def test_an_order_is_on_record_with_the_name_of_its_key(client, home):
    client.post("/v1/block", json={"pin": "77", "reason": "why"}, headers=bearer("boss"))

    (order,) = takedown.read(home).orders

    assert (order.pin, order.by, order.reason, order.at) == ("77", "boss", "why", NOW)


def test_an_order_that_cannot_be_is_refused_in_words(client):
    answer = client.post("/v1/block", json={"pin": "p1", "reason": "x"}, headers=bearer("boss"))
    assert answer.status_code == 409
    assert "whole numbers of 64 bits" in answer.json()["error"]


def test_a_user_erased_over_http_is_unknown_at_once_and_gone_for_good(app, client, home, users):
    app.state.live.context.erased._record._clock = lambda: app.state.seconds
    app.state.seconds = 1e9
    user = users[0]
    order = {"user": user, "reason": "asked for it"}
    assert client.get("/v1/medoids", params={"user": user}).status_code == 200

    answer = client.post("/v1/erase", json=order, headers=bearer("boss"))

    assert answer.status_code == 200, answer.text
    assert (answer.json()["new"], answer.json()["found"], answer.json()["by"]) == (
        True,
        True,
        "boss",
    )
    app.state.seconds += watched.SECONDS
    assert client.get("/v1/medoids", params={"user": user}).status_code == 404
    assert recommended(client, user)["fallback"]
    store = open_keyvalue(home)
    for version in store.versions():
        with store.open(version) as reader:
            assert reader.get(key_of(user)) is None
    again = client.post("/v1/erase", json=order, headers=bearer("boss")).json()
    assert (again["new"], again["found"]) == (False, False)


@pytest.mark.service
def test_an_order_over_http_reaches_what_is_parked_of_the_user(app, client, home, redis_url):
    app.state.settings = change(home, online={"source": "redis", "url": redis_url})
    with redis.Redis.from_url(redis_url) as server:
        server.flushall()
        server.xadd(parked.DEAD, {"data": b'{"user_id": 987654, "pin', "reason": "malformed"})
        order = {"user": "987654", "reason": "asked for it"}
        answer = client.post("/v1/erase", json=order, headers=bearer("boss"))
        assert (answer.status_code, answer.json()["found"]) == (200, True)
        assert server.xlen(parked.DEAD) == 0


def test_a_reason_that_names_the_user_is_not_kept(client, users):
    order = {"user": users[0], "reason": f"{users[0]} wrote to us"}
    answer = client.post("/v1/erase", json=order, headers=bearer("boss"))
    assert answer.status_code == 409
    assert "Leave the user's id out" in answer.json()["error"]


# --- filters -------------------------------------------------------------------------------------


def test_filters_are_those_of_the_library(client, reader, users):
    with_days = Wishes(fresh_days=30)
    for user in users[:5]:
        expected = reader.recommend(user, wishes=with_days)
        found = recommended(client, user, fresh_days=30)
        assert [c["pin_id"] for c in found["candidates"]] == expected.pin_ids
    assert {c["pin_id"] for c in recommended(client, "nobody", fresh_days=30)["candidates"]} <= set(
        reader.popular()
    )


def test_a_filter_that_the_index_cannot_answer_is_409(client, reader, users):
    reader_filters = set(reader.index.filters)
    answer = client.get("/v1/recommendations", params={"user": users[0], "topics": ["art"]})
    assert answer.status_code == (200 if "topic" in reader_filters else 409)
    client.app.state.live._lease.reader.index.filters = []
    for query in ({"topics": ["art"]}, {"fresh_days": 3}):
        answer = client.get("/v1/recommendations", params={"user": users[0], **query})
        assert answer.status_code == 409
        assert "built without" in answer.json()["error"]


# --- metrics -------------------------------------------------------------------------------------


def test_requests_fallbacks_and_the_release_are_counted(client, users, reader):
    def value(name):
        lines = client.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    answered = 'pinnersage_requests_total{route="/v1/recommendations",status="200"}'
    before = value(answered), value("pinnersage_fallbacks_total")
    recommended(client, users[0])
    recommended(client, "nobody")

    assert value(answered) == before[0] + 2
    assert value("pinnersage_fallbacks_total") == before[1] + 1
    assert value("pinnersage_release ") == reader.release.number


def test_the_document_has_an_example_for_every_question(app):
    document = json.dumps(app.openapi())
    for example in ('"u42"', '"p17"', '"Court order 7/26"'):
        assert example in document
