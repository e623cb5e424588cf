"""Planted effect: simulated users of the service, whose lift is known, and the analysis finds it.

Users of a synthetic world act on what they are shown as often as it is of their true interests. One
arm's users act more often than that by a share that is planted, or by none. Everything between is
the real thing: the service, its log, staged actions, the command's analysis.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fastapi.testclient import TestClient
from worlds import FIRST_DAY, change, clock, items_of, source_of

from pinnersage import config, day, init, retrieve, stage
from pinnersage.config import Settings
from pinnersage.experiment import analyse
from pinnersage.experiment.running import Running
from pinnersage.serve.app import make_app
from pinnersage.synthetic import World, write

pytestmark = pytest.mark.slow

LIVE = FIRST_DAY + timedelta(days=18)
TODAY = LIVE + timedelta(days=1)
"""The day of the experiments; its actions are those that the tests simulate."""
SHOWN_AT = datetime.combine(TODAY, time(8), UTC)
WORLD = World(
    n_users=2_500, n_pins=1_000, n_topics=40, dimensions=16, n_days=20, first_day=FIRST_DAY, seed=7
)
SAME = [{"name": "control", "share": 0.5}, {"name": "other", "share": 0.5}]
POLICIES = [
    {"name": "control", "share": 0.5, "allocation": "equal", "n_medoids": 1},
    {"name": "other", "share": 0.5, "allocation": "proportional"},
]
PLANTED = 0.5
N_NAMES = 100
N_DAYS = 20


@dataclass(frozen=True)
class Town:
    """A home whose service people use, and what they are like."""

    settings: Settings
    actions: str
    topic_of: dict
    interests: dict
    users: list

    def wanted(self, user, pins):
        """The share of some pins that are of a user's interests."""
        mine = self.interests.get(user, frozenset())
        return sum(self.topic_of[pin] in mine for pin in pins) / max(1, len(pins))

    def with_experiment(self, name, arms):
        return change(self.settings, experiment={"name": name, "arms": arms})

    def act(self, shown, rates, seed):
        """Write and stage a day on which users act, each as often as their rate has it by chance.

        Parameters
        ----------
        shown : dict
            Pins by user.
        rates : dict
            Actions to expect, by user.
        """
        rng = np.random.default_rng(seed)
        rows = []
        for user, pins in shown.items():
            # Some people are busy and most are not: rates differ as much as they are.
            for _ in range(rng.poisson(rng.exponential(rates[user]))):
                when = SHOWN_AT + timedelta(seconds=float(rng.uniform(1, 50_000)))
                pin = pins[int(rng.integers(len(pins)))]
                rows.append((len(rows), user, pin, "repin", when))
        names = ("event_id", "user_id", "pin_id", "action", "acted_at")
        old = pq.read_schema(self.actions)
        columns = dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))
        pq.write_table(pa.table(columns).select(old.names).cast(old), self.actions)
        stage.run(TODAY, self.settings)


@pytest.fixture(scope="module")
def town(tmp_path_factory):
    folder = tmp_path_factory.mktemp("town")
    write(WORLD, folder / "world")
    init.run(folder / "home", source_of(folder / "world"), items_of(folder / "world"), n_buckets=2)
    settings = change(
        config.load(folder / "home"),
        model={"window_days": 15},
        retrieval={"n_candidates": 40},
        service={"authentication": False},
    )
    day.run(LIVE, clock, settings, lambda _step, _report: None)
    stage.run(TODAY, settings)
    pins = pq.read_table(folder / "world" / "pins.parquet", columns=["pin_id", "topic"])
    interests = {}
    for row in pq.read_table(folder / "world" / "interests.parquet").to_pylist():
        if row["first_day"] <= TODAY <= row["last_day"]:
            interests.setdefault(row["user_id"], set()).add(row["topic"])
    with retrieve.open_live(settings) as reader:
        users = sorted(int(key) for key, _ in reader.profiles.items())
    return Town(
        settings,
        str(folder / "world" / "actions" / f"{TODAY}.parquet"),
        dict(zip(*(column.to_pylist() for column in pins.columns), strict=True)),
        interests,
        users,
    )


def served(settings, users):
    """What the service shows each user, and in which arm."""
    found = []
    with TestClient(make_app(settings, lambda: SHOWN_AT)) as client:
        for first in range(0, len(users), 100):
            answer = client.post("/v1/recommendations", json={"users": users[first : first + 100]})
            assert answer.status_code == 200, answer.text
            found += answer.json()["results"]
    shown = {one["user"]: [pin["pin_id"] for pin in one["candidates"]] for one in found}
    return shown, {one["user"]: one["arm"] for one in found}


@pytest.mark.parametrize(("planted", "says"), [(PLANTED, "higher"), (-PLANTED, "lower")])
def test_a_planted_effect_is_found_through_the_service(town, planted, says):
    settings = town.with_experiment(f"planted-{says}", SAME)
    shown, arms = served(settings, town.users)
    times = {"control": 1.0, "other": 1.0 + planted}
    rates = {user: 3 * times[arms[user]] * town.wanted(user, pins) for user, pins in shown.items()}
    # Of these very users: who is in which arm is chance too, and shifts the planted lift a little.
    means = {
        arm: np.mean([rate for user, rate in rates.items() if arms[user] == arm]) for arm in times
    }
    truth = means["other"] / means["control"] - 1
    assert truth == pytest.approx(planted, abs=0.1)

    missed, acted_more = 0, 0
    for seed in range(N_DAYS):  # the same users, shown the same, as chance has them act
        town.act(shown, rates, seed)
        report = analyse.run(TODAY, TODAY, settings)
        volume, propensity = report.lifts
        assert report.problems == ()
        assert sum(arm.users for arm in report.arms) == len(town.users)
        assert volume.says == says
        acted_more += propensity.says == says  # who acts at all tells less than how often
        missed += not volume.low < truth < volume.high
    assert acted_more >= N_DAYS // 2, acted_more
    assert missed <= 3, missed  # 1 expected; more than 3 once in 60 times


def test_a_better_policy_has_the_lift_that_it_truly_has(town):
    settings = town.with_experiment("policies", POLICIES)
    shown, _ = served(settings, town.users)
    both = {}
    for arm in POLICIES:  # what everybody would have been shown in either arm
        alone = [{**arm, "share": 0.9999, "name": "control"}, {"name": "x", "share": 0.0001}]
        both[arm["name"]], _ = served(town.with_experiment(f"all-{arm['name']}", alone), town.users)
    wanted = {
        name: np.mean([town.wanted(user, pins) for user, pins in pages.items()])
        for name, pages in both.items()
    }
    truth = wanted["other"] / wanted["control"] - 1
    town.act(shown, {user: 3 * town.wanted(user, pins) for user, pins in shown.items()}, seed=2)

    volume, _ = analyse.run(TODAY, TODAY, settings).lifts

    assert volume.low < truth < volume.high


def test_where_nothing_is_planted_one_in_twenty_is_found(town):
    names = [f"null-{n}" for n in range(N_NAMES)]
    with retrieve.open_live(town.settings) as reader:
        made = {user: reader.recommend(user) for user in town.users}
    shown = {user: one.pin_ids for user, one in made.items()}
    town.act(shown, {user: 3 * town.wanted(user, pins) for user, pins in shown.items()}, seed=3)
    for name in names:
        with Running(town.with_experiment(name, SAME)) as experiment:
            for user, one in made.items():
                experiment.shown(experiment.member(user), one, SHOWN_AT)

    reports = [analyse.run(TODAY, TODAY, town.with_experiment(name, SAME)) for name in names]

    assert [report.problems for report in reports] == [()] * N_NAMES
    for measure in (0, 1):
        found = sum(report.lifts[measure].says != "no difference shown" for report in reports)
        assert 1 <= found <= 12, found  # 5 expected; outside once in 140 times


def test_a_log_that_loses_one_arms_users_is_no_result(town):
    settings = town.with_experiment("lossy", SAME)
    with retrieve.open_live(settings) as reader, Running(settings) as experiment:
        for n, user in enumerate(town.users):
            member = experiment.member(user)
            if member.arm.name == "control" or n % 5:  # every fifth of the other arm's is lost
                experiment.shown(member, reader.recommend(user), SHOWN_AT)

    report = analyse.run(TODAY, TODAY, settings)

    assert report.ratio_p < analyse.RATIO_P
    assert report.lifts == ()
