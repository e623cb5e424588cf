"""Parity: online against batch over the same actions; what is compared, and when nothing is."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import DAY, changed, days_before, event, make, rows_of, write_log, write_pins

from pinnersage import (
    cluster,
    erase,
    online_against_batch,
    pages,
    parity,
    stage,
    validate,
)
from pinnersage.errors import DataError
from pinnersage.extract import end_of
from pinnersage.quality import QualityReport
from pinnersage.stores import embeddings, open_lake, open_storage

EVE = days_before(1)
WINDOW = 5
TOPICS, PINS_A_TOPIC = 6, 200
N_USERS = 150


def turned(*degrees):
    """Unit vectors in a plane."""
    angles = np.radians(degrees)
    flat = np.zeros((len(degrees), 8), np.float32)
    flat[:, 0], flat[:, 1] = np.cos(angles), np.sin(angles)
    return flat


def home_of(root, events, matrix, *, n_buckets=1, **sections):
    """A home with the medoids of the eve passed and the day staged."""
    log = write_log(root / "log" / "log.parquet", events)
    items = write_pins(root / "items", list(range(len(matrix))), matrix)
    settings = make(root / "home", log, items, n_buckets=n_buckets)
    sections.setdefault("model", {}).setdefault("window_days", WINDOW)
    checks = {"max_duplicate_share": 1.0}
    settings = changed(settings, checks=checks, **sections)
    pass_day(EVE, settings)
    stage.run(DAY, settings)
    return settings


def pass_day(day, settings):
    """Medoids of a day that passed, by whatever was judged."""
    stage.run_missing([day - timedelta(days=n) for n in range(WINDOW)], settings)
    list(cluster.run_all(day, settings))
    lake = open_lake(settings)
    report = QualityReport(day=day, outcomes=[], measures={"n_users": 0})
    lake.commit(validate.day_manifest(report, validate.current_buckets(lake, day), settings))


def on(back, hour=12, minute=0):
    return f"{days_before(back)} {hour:02}:{minute:02}"


def md5(user):
    return hashlib.md5(str(user).encode(), usedforsecurity=False).digest()


def row_of(settings, user):
    lake = open_lake(settings)
    return next(r for r in rows_of(lake, lake.current("parity", day=DAY)) if r["user_id"] == user)


# --- a world of separated interests --------------------------------------------------------------


def separated():
    """Pins of six topics far apart, and users who act on a few of them, up to 20 times a day."""
    rng = np.random.default_rng(11)
    centres = np.eye(TOPICS, 256, dtype=np.float32).repeat(PINS_A_TOPIC, axis=0)
    noise = rng.normal(size=centres.shape) * 0.03
    matrix = (centres + noise).astype(np.float32)
    matrix /= np.linalg.norm(matrix, axis=1, keepdims=True)
    events = []
    for user in range(1, N_USERS + 1):
        liked = rng.choice(TOPICS, rng.integers(1, 5), replace=False)
        for back in range(WINDOW + 1):
            new = rng.choice(TOPICS) if back == 0 else liked[0]
            for n in range(rng.integers(1, 21 if back == 0 else 9)):
                topic = rng.choice([*liked, new])
                pin = int(topic * PINS_A_TOPIC + rng.integers(PINS_A_TOPIC))
                events.append(event(user, pin, on(back, 8 + n // 4, n)))
    return events, matrix


@pytest.fixture(scope="module")
def of_separated(tmp_path_factory):
    """That world with its day measured; not to be changed."""
    settings = home_of(tmp_path_factory.mktemp("separated"), *separated())
    return settings, parity.run(DAY, settings)


def test_online_equals_batch_for_nearly_all_users_of_separated_interests(of_separated):
    _, report = of_separated
    assert report.all_users.users == report.up_to_max_actions.users == N_USERS
    assert report.up_to_max_actions.identical >= 0.95


def without_offsets(real):
    def broken(clusters, *given, **more):
        return real(replace(clusters, offset=np.zeros(len(clusters.rows))), *given, **more)

    return broken


def test_a_correction_that_is_lost_is_noticed_and_warned_of(of_separated, tmp_path, monkeypatch):
    """Without the offsets of medoids actions stay out of clusters that they belong to."""
    settings = home_of(tmp_path, *separated())
    right = parity.run(DAY, settings)
    assert right == of_separated[1]
    list(cluster.run_all(DAY, settings))
    assert outcome_of(settings).status == "passed"

    monkeypatch.setattr(parity, "update", without_offsets(parity.update))
    wrong = parity.run(DAY, settings)

    assert wrong.up_to_max_actions.identical < 0.5
    outcome = outcome_of(settings)
    assert (outcome.status, outcome.severity) == ("warned", "warn")
    assert outcome.runbook == "online against batch"
    worst = online_against_batch.of_day(open_lake(settings), DAY).worst
    assert [row["user_id"] for row in outcome.examples] == [user.user_id for user in worst]
    assert open_lake(settings).current("medoids", day=DAY), "a warning is published"


def outcome_of(settings):
    validate.run(DAY, settings)
    report = pages.read_quality(open_storage(settings), DAY)
    return next(o for o in report.outcomes if o.rule == "online agrees with batch")


# --- by hand -------------------------------------------------------------------------------------


def test_a_pin_of_its_own_and_one_of_a_stored_cluster_give_the_batchs_clusters(tmp_path):
    events = [event(1, 0, on(3)), event(1, 0, on(2)), event(1, 0, on(0)), event(1, 1, on(0, 13))]
    settings = home_of(tmp_path, events, turned(0, 90))

    report = parity.run(DAY, settings)

    assert (report.all_users.users, report.left_out) == (1, {})
    for found in (report.all_users, report.up_to_max_actions, report.stored_kept, report.sliding):
        assert (found.identical, found.jaccard, found.cosine) == (1, 1, 1)
    assert report.with_more.users == 0
    row = row_of(settings, 1)
    assert (row["n_actions"], row["n_new"], row["online_medoids"]) == (4, 2, None)


def test_what_only_a_batch_may_merge_is_told_apart_from_what_online_got_wrong(tmp_path):
    """Two stored clusters, 63 degrees apart, between which the day's one action lies.

    The batch merges all three: their middle is the medoid. Online never merges stored clusters;
    the action joins the nearer one, whose medoid stays, since two members tie.
    """
    events = [event(1, 0, on(3)), event(1, 1, on(2)), event(1, 2, on(0))]
    settings = home_of(tmp_path, events, turned(0, 63, 31))

    report = parity.run(DAY, settings)

    assert report.all_users.identical == report.all_users.jaccard == 0
    assert report.stored_kept.users == 0
    row = row_of(settings, 1)
    assert not row["stored_kept"]
    assert (row["online_medoids"], row["batch_medoids"]) == ([0, 1], [2])
    between = (np.cos(np.radians(31)), np.cos(np.radians(32)))
    ages = (3.5, 2.5, 0.5)
    fresh = np.exp(-0.01 * np.array(ages))
    assert row["online_importance"] == pytest.approx([fresh[0] + fresh[2], fresh[1]])
    assert row["batch_importance"] == pytest.approx([fresh.sum()])
    share = row["online_importance"][0] / fresh.sum()
    expected = (share * between[0] + (1 - share) * between[1] + max(between)) / 2
    assert row["cosine"] == pytest.approx(expected, abs=1e-6)
    (user,) = online_against_batch.of_day(open_lake(settings), DAY).worst
    assert [(m.pin_id, m.online is None, m.batch is None) for m in user.medoids] == [
        ("2", True, False),
        ("0", False, True),
        ("1", False, True),
    ]


def test_what_the_windows_first_day_leaves_behind_is_sliding_and_not_onlines_fault(tmp_path):
    first = WINDOW  # in the window of the eve alone
    events = [event(1, 1, on(first)), event(1, 0, on(2)), event(1, 0, on(0))]
    settings = home_of(tmp_path, events, turned(0, 90))

    report = parity.run(DAY, settings)

    assert (report.all_users.identical, report.all_users.jaccard) == (1, 1)
    assert (report.sliding.identical, report.sliding.jaccard) == (1, 0.5)
    assert report.sliding.cosine < 1
    assert row_of(settings, 1)["n_actions"] == 3


def test_users_with_more_actions_than_online_has_are_apart_and_never_identical(tmp_path):
    events = [event(1, 0, on(3)), *(event(1, 1, on(0, 10, n)) for n in range(4))]
    events += [event(2, 0, on(3)), *(event(2, 1, on(0, 10, n)) for n in range(3))]
    settings = home_of(tmp_path, events, turned(0, 90), online={"max_actions": 3})

    report = parity.run(DAY, settings)

    assert (report.with_more.users, report.up_to_max_actions.users) == (1, 1)
    assert report.with_more.identical is None
    assert row_of(settings, 1)["identical"] is False
    assert report.with_more.jaccard == report.up_to_max_actions.identical == 1
    online, batch = (row_of(settings, 1)[f"{side}_importance"] for side in ("online", "batch"))
    assert sum(online) < sum(batch), "the first of the four was pushed out"


def test_new_users_are_counted_and_not_compared(tmp_path):
    events = [event(1, 0, on(3)), event(1, 0, on(0)), event(2, 0, on(0))]
    report = parity.run(DAY, home_of(tmp_path, events, turned(0, 90)))
    assert (report.all_users.users, report.left_out) == (1, {parity.WITHOUT: 1})


def test_of_too_many_users_those_of_the_smallest_md5_are_compared(tmp_path):
    users = range(1, 9)
    events = [event(user, 0, on(back)) for user in users for back in (2, 0)]
    settings = home_of(tmp_path, events, turned(0, 90), online={"parity_users": 3})

    report = parity.run(DAY, settings)

    assert (report.all_users.users, report.left_out) == (3, {parity.BEYOND: 5})
    lake = open_lake(settings)
    found = [row["user_id"] for row in rows_of(lake, lake.current("parity", day=DAY))]
    by_md5 = sorted(users, key=md5)
    assert found == sorted(by_md5[:3])


def test_buckets_take_turns(tmp_path):
    users = range(1, 31)
    events = [event(user, 0, on(back)) for user in users for back in (2, 0, -1)]
    settings = home_of(tmp_path, events, turned(0, 90), n_buckets=2)
    later = DAY + timedelta(days=1)

    first = parity.run(DAY, settings)
    pass_day(DAY, settings)
    stage.run(later, settings)
    second = parity.run(later, settings)

    assert {first.bucket, second.bucket} == {0, 1}
    assert first.all_users.users + second.all_users.users == len(users)


# --- when nothing is compared --------------------------------------------------------------------


@pytest.fixture
def plain(tmp_path):
    """One user with an action a day."""
    events = [event(1, back % 2, on(back)) for back in range(WINDOW + 2)]
    return home_of(tmp_path, events, turned(0, 90))


def nothing_passed(settings):
    open_lake(settings).retire("medoids", day=EVE)
    return settings, f"no medoids of {EVE} passed"


def other_settings(settings):
    other = changed(settings, model={"merge_threshold": 2.0})
    return other, f"the medoids of {EVE} were made with other settings of the model"


def other_embeddings(settings):
    lake = open_lake(settings)
    table = embeddings.open_valid(lake, DAY)
    made = embeddings.write(
        lake, table.pin_ids, -np.asarray(table.matrix), valid_from=DAY, first_day=DAY,
        max_bad_share=0,
    )  # fmt: skip
    return settings, f"{table.version}, and {made.version} are valid on {DAY}"


def staged_again(settings):
    lake = open_lake(settings)
    staged = lake.require("actions", "stage", day=days_before(4))
    lake.commit(staged.model_copy(update={"report": staged.report | {"users": 7}}))
    return settings, f"the window of {EVE} was staged again since its medoids were made"


@pytest.mark.parametrize("why", [nothing_passed, other_settings, other_embeddings, staged_again])
def test_a_day_that_cannot_be_compared_says_why_and_does_not_fail(plain, why):
    settings, says = why(plain)

    report = parity.run(DAY, settings)

    assert says in report.not_measured
    assert report.all_users.users == 0
    lake = open_lake(settings)
    manifest = lake.require("parity", "parity", day=DAY)
    assert (manifest.rows, manifest.files) == (0, ())
    assert online_against_batch.of_day(lake, DAY).summary.not_measured == report.not_measured


@pytest.mark.parametrize(("users", "who"), [((), "nobody"), ((2,), "nobody with stored clusters")])
def test_a_day_on_which_nobody_can_be_compared_says_so(tmp_path, users, who):
    events = [event(1, 0, on(2)), *(event(user, 0, on(0)) for user in users)]
    report = parity.run(DAY, home_of(tmp_path, events, turned(0, 90)))
    assert report.not_measured == f"{who} of bucket 0 acted on {DAY}"


def test_a_day_that_is_not_staged_is_an_error(plain):
    with pytest.raises(DataError, match="Run first: pinnersage stage"):
        parity.run(DAY + timedelta(days=1), plain)


def test_what_was_measured_before_the_day_was_staged_again_does_not_count(plain):
    parity.run(DAY, plain)
    lake = open_lake(plain)
    assert online_against_batch.of_day(lake, DAY).summary.all_users.users == 1
    staged = lake.require("actions", "stage", day=DAY)
    lake.commit(staged.model_copy(update={"report": staged.report | {"users": 7}}))
    says = online_against_batch.of_day(lake, DAY).summary.not_measured
    assert says == f"the day was staged again since; measure it: pinnersage parity --day {DAY}"


def plant(settings, alter):
    """Rewrite the stored medoids of the eve."""
    lake = open_lake(settings)
    bucket = lake.require("medoids", "cluster", day=EVE, bucket=0)
    table = pq.ParquetFile(lake.path(bucket.files[0])).read()
    rows = alter(table.to_pylist())
    with lake.workspace() as work:
        pq.write_table(pa.Table.from_pylist(rows, table.schema), work / "planted.parquet")
        file = lake.add(work / "planted.parquet", "medoids", len(rows), day=EVE, bucket=0)
    bucket = lake.commit(bucket.model_copy(update={"files": (file,)}))
    whole = lake.require("medoids", "validate", day=EVE)
    lake.commit(whole.model_copy(update={"files": (file,), "reads": (bucket.ref,)}))


FAULTS = {
    "pin": lambda rows: [row | {"pin_id": 1 - row["pin_id"]} for row in rows],
    "importance": lambda rows: [row | {"importance": row["importance"] * 1.001} for row in rows],
    "offset": lambda rows: [row | {"offset": row["offset"] + 0.01} for row in rows],
    "lost": lambda rows: rows[:1],
}


@pytest.mark.parametrize("fault", FAULTS)
def test_stored_medoids_that_their_actions_do_not_give_are_an_error(plain, fault):
    plant(plain, FAULTS[fault])
    with pytest.raises(DataError, match=r"stored medoids of user 1 .* runbook: online against b"):
        parity.run(DAY, plain)
    assert open_lake(plain).current("parity", day=DAY) is None


# --- what is written -----------------------------------------------------------------------------


def written(settings):
    folder = settings.home / "lake" / "parity"
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_second_run_changes_nothing_whatever_the_threads(of_separated):
    settings, report = of_separated
    before = written(settings)
    assert parity.run(DAY, changed(settings, run={"threads": 2})) == report
    assert written(settings) == before


def test_no_user_is_in_the_report_or_the_manifest(tmp_path):
    events = [event(123454321, 0, on(3)), event(123454321, 1, on(2)), event(123454321, 2, on(0))]
    settings = home_of(tmp_path, events, turned(0, 63, 31))
    report = parity.run(DAY, settings)
    manifest = open_lake(settings).require("parity", "parity", day=DAY)
    assert "123454321" not in report.model_dump_json() + manifest.model_dump_json()
    worst = online_against_batch.of_day(open_lake(settings), DAY).worst
    assert [user.user_id for user in worst] == ["123454321"]


def test_medoids_are_kept_of_those_who_agree_least_alone(of_separated):
    settings, report = of_separated
    lake = open_lake(settings)
    manifest = lake.require("parity", "parity", day=DAY)
    rows = rows_of(lake, manifest)
    apart = [row for row in rows if row["jaccard"] < 1 or not row["identical"]]
    kept = [row for row in rows if row["online_medoids"] is not None]
    assert len(kept) == min(len(apart), online_against_batch.WORST)
    others = [row for row in apart if row not in kept]
    assert {row["identical"] or not row["stored_kept"] for row in others} == {True}
    assert max(row["cosine"] for row in kept if row["identical"]) <= min(
        row["cosine"] for row in others
    )
    assert np.mean([row["cosine"] for row in rows]) == pytest.approx(report.all_users.cosine)


def test_an_erased_user_is_in_no_row_and_on_no_page(tmp_path):
    user = 987656789
    events = [event(user, 0, on(3)), event(user, 1, on(2)), event(user, 2, on(0))]
    events += [event(2, 0, on(back)) for back in (3, 0)]
    settings = home_of(tmp_path, events, turned(0, 63, 31))
    strict = changed(settings, checks={"min_online_agreement": 1.0})
    parity.run(DAY, strict)
    list(cluster.run_all(DAY, strict))
    validate.run(DAY, strict)
    page = open_storage(strict).read(f"reports/quality/day={DAY}/index.html").decode()
    assert str(user) in page
    lake = open_lake(strict)
    before = lake.require("parity", "parity", day=DAY)

    erase.run(str(user), "ann", "asked", end_of(DAY), "salt", strict)

    manifest = lake.require("parity", "parity", day=DAY)
    assert (manifest.version, manifest.rows, manifest.erased) == (before.version, 1, 1)
    assert [row["user_id"] for row in rows_of(lake, manifest)] == [2]
    left = [
        path for path in (strict.home / "reports").rglob("*") if path.is_file()
        and str(user) in path.read_text()
    ]  # fmt: skip
    assert left == []
    report = json.loads((strict.home / f"reports/quality/day={DAY}/report.json").read_text())
    assert report["parity"]["summary"]["all_users"]["users"] == 2, "what was counted stays"
