"""Hand-over: while releases come and go under load, an action counts once, in every answer.

Yesterday's actions are in the state of their user when the load begins; the release of yesterday
has them in its clusters, the one of the day before has not. Merge threshold 0 leaves each pin a
cluster of its own, so an answer shows every action that it counts, one by one.
"""

import http.client
import itertools
import json
import random
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta
from typing import NamedTuple

import numpy as np
import pytest
from served import bearer, running
from worlds import DAY, clock

from pinnersage import release
from pinnersage.extract import end_of
from pinnersage.online.events import EPOCH, MICROSECOND
from pinnersage.release import Index, Medoids, Releases
from pinnersage.serve import live
from pinnersage.stores import embeddings, open_keyvalue, open_lake, open_vectors
from pinnersage.stores.packing import Profile, key_of, pack

USERS = [str(4_700 + i) for i in range(5)]
OLD, NEW = DAY, DAY + timedelta(days=1)
"""The days of the releases; what is posted under load is done after both."""
STORED, YESTERDAY, LATER, MOST = 3, 8, 60, 20
ROUNDS, READERS = 4, 6
SETTINGS = {
    "PINNERSAGE__MODEL__MERGE_THRESHOLD": "0",
    "PINNERSAGE__RETRIEVAL__ALLOCATION": "round_robin",
    "PINNERSAGE__ONLINE__KEEP_DAYS": "36500",
}


class Did(NamedTuple):
    """One action; they sort by time."""

    acted_at: int
    """Microseconds."""
    pin: int


class User:
    """What a user has in the releases, does, and what of it was posted and acknowledged."""

    def __init__(self, name, pins, rng):
        self.name, self.rng = name, rng
        pins = rng.sample(pins, STORED + YESTERDAY + LATER)
        self.stored = {pin: rng.randint(1, 9) for pin in pins[:STORED]}
        other = iter(pins[STORED:])
        yesterday = sorted(rng.sample(range(1, 86_400_000_000), YESTERDAY))
        self.yesterday = [Did(micros(OLD) + at, next(other)) for at in yesterday]
        # One in five is on a pin that is a medoid of both releases.
        self.later = [
            Did(micros(NEW) + 1000 * i, pins[0] if i % 5 == 0 else next(other))
            for i in range(LATER)
        ]
        self.batches = [self.yesterday, *self.shuffled()]
        """What is posted, in this order; each is taken whole."""
        self.begun = self.acknowledged = 0

    def shuffled(self):
        """Later actions in batches: late ones, and some for the second time."""
        order = sorted(range(LATER), key=lambda i: i + self.rng.random() * 8)
        done, rest = [], [self.later[i] for i in order]
        while rest:
            n = self.rng.randint(1, 3)
            batch, rest = rest[:n], rest[n:]
            again = self.rng.sample(done, min(len(done), self.rng.randint(0, 2)))
            done += batch
            yield batch + again

    def counted(self, day, n):
        """The actions that an answer of a day's release counts after some batches."""
        newest = sorted(set(itertools.chain(*self.batches[:n])))[-MOST:]
        return [one for one in newest if one.acted_at >= micros(day)]

    def of_release(self, day):
        """Actions by medoid in a day's release; yesterday's has what was done on it."""
        return Counter(self.stored) + Counter(d.pin for d in self.yesterday if day == NEW)

    def clusters(self, day, n):
        """Actions by medoid as an answer must have them."""
        return self.of_release(day) + Counter(did.pin for did in self.counted(day, n))


def micros(day):
    """The day's end."""
    return (end_of(day) - EPOCH) // MICROSECOND


class Answer(NamedTuple):
    """What somebody was told, and the fewest and most batches that it may have known."""

    user: User
    least: int
    most: int
    body: dict

    @property
    def day(self):
        return OLD if self.body["day"] == str(OLD) else NEW

    def told(self):
        """What the answer says, in the form of ``expected``."""
        online = self.body["online"]["actions"], self.body["online"]["last_acted_at"]
        if "clusters" in self.body:
            return *online, {c["pin_id"]: c["n_actions"] for c in self.body["clusters"]}
        return *online, set(self.body["medoids"])

    def expected(self, day, n):
        """What an answer of a day's release says after some batches."""
        counted, clusters = self.user.counted(day, n), self.user.clusters(day, n)
        last = EPOCH + counted[-1].acted_at * MICROSECOND if counted else None
        text = last and last.isoformat().replace("+00:00", "Z")
        return len(counted), text, clusters if "clusters" in self.body else set(clusters)

    def possible(self, day):
        return [self.expected(day, n) for n in range(self.least, self.most + 1)]


class Days:
    """A home whose two days are made live by hand, again and again."""

    def __init__(self, settings, users):
        self.settings, self.releases = settings, Releases(settings)
        table = embeddings.open_valid(open_lake(settings), DAY)
        about = {"embeddings": table.version, "popular": []}
        self.medoids = {}
        for day in (OLD, NEW):
            version = f"{day}-{day.toordinal():016x}"
            items = [(key_of(u.name), pack(profile(u.of_release(day), day))) for u in users]
            open_keyvalue(settings).write(version, items, about)
            self.medoids[day] = Medoids(
                day=day, manifest="m", keyvalue=version, embeddings=table.version
            )
        rows = np.arange(len(table.pin_ids))
        open_vectors(settings).build("f" * 16, rows, table.matrix[:], about)
        self.index = Index(day=OLD, version="f" * 16, embeddings=table.version)

    def go_live(self, day):
        with self.releases.locked():
            pointer = self.releases.pointer()
            self.releases.move(self.medoids[day], self.index, pointer, "by hand", clock)


def profile(clusters, day):
    """Clusters that are pins acted on some times."""
    n = len(clusters)
    return Profile(
        np.array(list(clusters)),
        np.sort(np.random.default_rng(n).uniform(1, 5, n))[::-1],
        np.array(list(clusters.values()), np.uint32),
        np.zeros(n, np.float32),
        np.full(n, micros(day) - 1),
    )


@pytest.fixture
def users(home):
    table = embeddings.open_valid(open_lake(home), DAY)
    _, first = np.unique(table.matrix, axis=0, return_index=True)
    pins = [table.pin_ids[int(row)].as_py() for row in sorted(first)]
    return [User(name, pins, random.Random(name)) for name in USERS]


@pytest.fixture
def days(home, users):
    made = Days(home, users)
    made.go_live(OLD)
    return made


def post(user, connection):
    """Post the next batch of a user."""
    batch = user.batches[user.begun]
    given = [
        {"event_id": f"{did.acted_at}", "user_id": user.name, "pin_id": did.pin, "action": "repin",
         "acted_at": (EPOCH + did.acted_at * MICROSECOND).isoformat()}
        for did in batch
    ]  # fmt: skip
    user.begun += 1
    connection.request(
        "POST", "/v1/events", json.dumps({"events": given}),
        bearer("shop") | {"Content-Type": "application/json"},
    )  # fmt: skip
    answer = connection.getresponse()
    body = json.loads(answer.read())
    assert (answer.status, body["verdicts"]) == (200, {"kept": len(batch)}), body
    user.acknowledged += 1


def post_all(service, user, seconds, errors):
    """Post what a user does later, spread over as many seconds."""
    pause = seconds / len(user.batches)
    try:
        with closing(connect(service)) as connection:
            while user.begun < len(user.batches):
                post(user, connection)
                time.sleep(pause)
    except Exception as error:  # noqa: BLE001 (told by the test)
        errors.append(error)


def ask_all(end, service, users, seen, errors):
    """Ask for one user after the other, by either route, until the end."""
    questions = itertools.cycle([(r, u) for u in users for r in ("medoids", "recommendations")])
    try:
        with closing(connect(service)) as connection:
            for route, user in questions:
                if end.is_set():
                    return
                least = user.acknowledged
                status, body = service.get(f"/v1/{route}?user={user.name}", connection)
                assert status == 200, body
                seen.append(Answer(user, least, user.begun, body))
    except Exception as error:  # noqa: BLE001 (told by the test)
        errors.append(error)


def connect(service):
    return http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)


@pytest.mark.parametrize("workers", [1, 2])
def test_an_action_counts_once_in_every_answer_while_releases_come_and_go(
    days, users, workers, record_property
):
    seen, errors, end = [], [], threading.Event()
    variables = SETTINGS | {"PINNERSAGE__SERVICE__WORKERS": str(workers)}
    with running(days.settings, **variables) as service:
        with closing(connect(service)) as connection:
            for user in users:
                post(user, connection)
        seconds = ROUNDS * 2 * live.SECONDS
        threads = [
            threading.Thread(target=post_all, args=(service, user, seconds, errors))
            for user in users
        ] + [
            threading.Thread(
                target=ask_all, args=(end, service, users[i:] + users[:i], seen, errors)
            )
            for i in range(READERS)
        ]
        for thread in threads:
            thread.start()
        for _ in range(ROUNDS):
            days.go_live(NEW)
            time.sleep(1.3 * live.SECONDS)
            release.rollback(clock, days.settings)
            time.sleep(1.3 * live.SECONDS)
        end.set()
        for thread in threads:
            thread.join(60)

    record_property("answers checked", len(seen))
    assert not errors
    for answer in seen:
        assert answer.told() in answer.possible(answer.day), (answer.body["day"], answer.most)
    assert {answer.day for answer in seen} == {OLD, NEW}
    assert len({answer.body["release"] for answer in seen if answer.day == NEW}) == ROUNDS
    exact = [answer for answer in seen if answer.least == answer.most]
    assert len(exact) > len(seen) / 2, "most answers could be one thing only"
    other = {OLD: NEW, NEW: OLD}
    assert not any(a.told() in a.possible(other[a.day]) for a in seen if a.day == OLD), (
        "an answer of one release that counted as the other would be found out"
    )
    final = [answer for answer in seen if answer.least == len(answer.user.batches)]
    assert {answer.body["online"]["actions"] for answer in final} == {MOST}
