"""Events: a day of the synthetic world as live traffic, at a rate of your choice.

    python benchmarks/events.py http://127.0.0.1:8100 --key KEY --rate 500 --seconds 60

Users come by Zipf's law, each with their own actions of the world's day, one after another. Events
are dated when they are sent, but some are late: dated up to an hour before. Some come twice. Every
ten seconds there is a burst of five times the rate, for a second. The home must be of the same
world (``pinnersage synthetic``), since what is sent are its users' and pins' ids.
"""

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from pinnersage.synthetic import World, actions_of

DAY = date(2026, 1, 7)
ZIPF = 1.2
LATE_SECONDS = 3600
BURST_EVERY = 10.0
POST_EVERY = 0.02


class Traffic(NamedTuple):
    """How events come."""

    rate: float
    """Events a second, on average outside bursts."""
    late_share: float = 0.05
    doubled_share: float = 0.02
    burst: float = 5.0
    """Times the rate, for one second in ten."""


class Sent(NamedTuple):
    """One event and when it is to be sent, in seconds from the beginning."""

    after: float
    late: float
    """Seconds that it is dated before it is sent."""
    event: dict[str, Any]

    def dated(self, began: datetime) -> dict[str, Any]:
        """Return the event with its time."""
        at = began + timedelta(seconds=self.after - self.late)
        return self.event | {"acted_at": at.isoformat()}


def world(n_users: int, n_pins: int, dimensions: int, n_days: int = 7) -> World:
    """Return the world that the events are of."""
    return World(
        n_users=n_users,
        n_pins=n_pins,
        n_topics=max(2, n_pins // 1000),
        dimensions=dimensions,
        n_days=n_days,
        first_day=DAY - timedelta(days=n_days - 1),
        seed=7,
    )


def traffic(of: World, n: int, how: Traffic, rng: np.random.Generator) -> Iterator[Sent]:
    """Yield ``n`` events in the order in which they are sent, repeats among them."""
    table = actions_of(of, of.n_days, np.arange(of.n_users)).to_pydict()  # the day after its last
    mine: dict[Any, list[int]] = {}
    for row, user in enumerate(table["user_id"]):
        mine.setdefault(user, []).append(row)
    users, turns = list(mine), dict.fromkeys(mine, 0)
    waiting: list[tuple[int, dict[str, Any]]] = []
    for number, after in enumerate(moments(n, how)):
        again = waiting and waiting[0][0] <= number
        if again:
            event = waiting.pop(0)[1]
        else:
            user = users[int(rng.zipf(ZIPF) - 1) % len(users)]
            row = mine[user][turns[user] % len(mine[user])]
            turns[user] += 1
            event = {
                "event_id": f"live-{number}",
                "user_id": user,
                "pin_id": table["pin_id"][row],
                "action": table["action"][row],
            }
            if rng.random() < how.doubled_share:
                waiting.append((number + 1 + int(rng.integers(200)), event))
                waiting.sort(key=lambda pair: pair[0])
        late = float(rng.random() * LATE_SECONDS) if rng.random() < how.late_share else 0.0
        yield Sent(after, late, event)


def moments(n: int, how: Traffic) -> Iterator[float]:
    """Yield when each event is sent: evenly, and faster for the last second of each ten."""
    at = 0.0
    for _ in range(n):
        yield at
        at += 1 / (how.rate * (how.burst if at % BURST_EVERY >= BURST_EVERY - 1 else 1))


def batches(sent: Iterator[Sent], every: float) -> Iterator[tuple[float, list[Sent]]]:
    """Yield events that are due within the same moment, and when."""
    due, batch = every, list[Sent]()
    for one in sent:
        while one.after >= due:
            if batch:
                yield due, batch
                batch = []
            due += every
        batch.append(one)
    if batch:
        yield due, batch


def main() -> None:
    """Send events to a service and say how they were answered."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("url")
    parser.add_argument("--key", required=True)
    parser.add_argument("--rate", type=float, default=100.0, help="events a second")
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--users", type=int, default=1_000, help="of the world")
    parser.add_argument("--pins", type=int, default=20_000, help="of the world")
    parser.add_argument("--dimensions", type=int, default=64, help="of the world")
    args = parser.parse_args()
    of = world(args.users, args.pins, args.dimensions)
    sent = traffic(of, int(args.rate * args.seconds), Traffic(args.rate), np.random.default_rng(0))
    clock, answers = time.perf_counter(), list[float]()
    began = datetime.now(UTC)  # noqa: TID251 (live traffic)
    for due, batch in batches(sent, POST_EVERY):
        time.sleep(max(0.0, clock + due - time.perf_counter()))
        body = json.dumps({"events": [one.dated(began) for one in batch]}).encode()
        asked = urllib.request.Request(  # noqa: S310 (the service's own)
            f"{args.url}/v1/events",
            body,
            {"Authorization": f"Bearer {args.key}", "Content-Type": "application/json"},
        )
        start = time.perf_counter()
        with urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310
            answer.read()
        answers.append((time.perf_counter() - start) * 1e3)
    spent = time.perf_counter() - clock
    print(
        f"{len(answers):,} posts in {spent:.1f} s; p50 and p99 of an answer, ms:", file=sys.stderr
    )
    print(json.dumps([round(float(np.quantile(answers, q)), 2) for q in (0.5, 0.99)]))


if __name__ == "__main__":
    main()
