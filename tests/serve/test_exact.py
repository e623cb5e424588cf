"""What the service finds is what comparing with every pin finds; also from what processes share."""

import numpy as np
import pytest
from fastapi.testclient import TestClient
from served import NOW, bearer
from worlds import DAY, change

from pinnersage import publish, refine
from pinnersage.extract import end_of
from pinnersage.serve.app import make_app
from pinnersage.stores import embeddings, open_lake
from pinnersage.stores.filters import EPOCH, UNKNOWN

N = 60


@pytest.fixture
def pins(home):
    """Rows in the index, their vectors, when they were made and what they are about."""
    lake = open_lake(home)
    rows, known = refine.kept(lake, lake.current("refined", day=DAY))
    table = embeddings.open_valid(lake, DAY)
    topics = np.array([*known.topics, None], object)[known.topic]
    vectors = np.asarray(table.matrix[rows], np.float64)
    return table, rows, vectors, known.created, topics


def exact(pins, medoids, passes, n=N):
    """The union of each medoid's nearest pins, by comparing it with all that pass."""
    table, rows, vectors, *_ = pins
    found = set()
    for medoid in medoids:
        row = table.row_of(medoid)
        cosines = vectors @ np.asarray(table.matrix[row], np.float64)
        cosines[(rows == row) | ~passes] = -2
        best = np.argsort(-cosines, kind="stable")[: n // len(medoids)]
        found |= {table.pin_ids[int(rows[i])].as_py() for i in best if cosines[i] > -2}
    return found


@pytest.mark.parametrize("share", [None, 0.5, 0.2, 0.05, 0.01])
@pytest.mark.parametrize("about", [False, True])
def test_answers_over_http_are_those_of_comparing_with_every_pin(home, users, pins, share, about):
    settings = change(home, retrieval={"allocation": "equal", "n_candidates": N})
    _, rows, _, created, topics = pins
    passes, query = np.ones(len(rows), bool), {}
    if share:
        first = int(np.quantile(created[created > UNKNOWN], 1 - share))
        passes &= created >= first
        query["fresh_days"] = (end_of(DAY).date() - EPOCH).days - first
    if about:
        query["topics"] = [topics[0], topics[-1]]
        passes &= np.isin(topics.astype(str), query["topics"])
    recall, least = [], 0.95 if query else 0.98
    with TestClient(make_app(settings, lambda: NOW), headers=bearer("ann")) as client:
        for user in users[:15]:
            for how in ("searched", "remembered"):
                answer = client.get(
                    "/v1/recommendations", params={"user": user, "explain": True, **query}
                ).json()
                found = {c["pin_id"] for c in answer["candidates"]}
                expected = exact(pins, answer["medoids"], passes)
                recall.append(len(found & expected) / max(1, len(expected)) if expected else 1.0)
                assert how == "searched" or {c["neighbours"] for c in answer["candidates"]} <= {how}
                assert found <= set(np.asarray(pins[0].pin_ids)[rows[passes]].tolist())
    assert np.mean(recall) >= least
    assert about or passes.any()


@pytest.mark.service
def test_services_on_one_redis_share_profiles_and_what_is_near(home, users, redis_url):
    settings = change(home, keyvalue={"store": "redis", "url": redis_url})
    publish.run(DAY, settings)
    answers = []
    for _ in range(2):  # two processes, as far as their memories go
        with TestClient(make_app(settings, lambda: NOW), headers=bearer("ann")) as client:
            answers.append(
                client.get("/v1/recommendations", params={"user": users[0], "explain": True}).json()
            )
    first, second = answers
    assert {c["neighbours"] for c in first["candidates"]} == {"searched"}
    assert {c["neighbours"] for c in second["candidates"]} == {"remembered"}
    assert [c["pin_id"] for c in first["candidates"]] == [c["pin_id"] for c in second["candidates"]]
