"""Daily: what was released is measured on what users then did, and nothing else is read."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from events import rows_of
from worlds import DAY, NOW, change, clock

from pinnersage import cluster, config, publish, release, stage, validate
from pinnersage.config import RetrievalConfig
from pinnersage.errors import DataError
from pinnersage.evaluate import daily, recorded, released, report, trend, words
from pinnersage.evaluate import log as logs
from pinnersage.evaluate.policies import Policy
from pinnersage.evaluate.results import Estimate
from pinnersage.evaluate.search import Exact, Indexed
from pinnersage.extract import end_of
from pinnersage.release import Releases
from pinnersage.schema import MEDOIDS, METRICS
from pinnersage.stores import embeddings, open_lake, open_storage, open_vectors
from pinnersage.stores.lake import Layout, Manifest

NEXT = DAY + timedelta(days=1)
LATER = NEXT + timedelta(days=1)


@pytest.fixture(scope="module")
def next_day(finished_home, tmp_path_factory):
    """A home where ``DAY`` is live and the next day is staged."""
    home = tmp_path_factory.mktemp("next") / "home"
    shutil.copytree(finished_home, home)
    stage.run(NEXT, config.load(home))
    return home


@pytest.fixture
def home(next_day, tmp_path):
    """Settings of a copy of that home, with few candidates: there are 400 pins."""
    shutil.copytree(next_day, tmp_path / "home")
    return change(config.load(tmp_path / "home"), evaluation={"n_candidates": 30})


@pytest.fixture(scope="module")
def measured(next_day):
    """What is measured there, with the same settings."""
    settings = change(config.load(next_day), evaluation={"n_candidates": 30})
    return daily.measure(NEXT, live(settings), settings)


def live(settings):
    return Releases(settings).live()


def by_name(table):
    return {recorded.named(row.model, row.policy): row for row in table.rows}


# --- what is measured ------------------------------------------------------------------------


def test_the_medoids_are_those_of_the_release_and_not_the_lakes_current_ones(home, measured):
    medoids = rows_of(open_lake(home), open_lake(home).current("medoids", day=DAY))

    other = change(home, model={"merge_threshold": 0.0})
    for bucket in range(other.lake.n_buckets):
        cluster.run(DAY, bucket, other)
    validate.run(DAY, other)
    again = rows_of(open_lake(home), open_lake(home).current("medoids", day=DAY))
    assert len(again) > len(medoids)

    assert daily.measure(NEXT, live(home), home) == measured


def test_a_users_vectors_are_her_released_medoids_most_important_first(home):
    lake, one = open_lake(home), live(home)
    table = embeddings.named(lake, one.embeddings)
    window = timedelta(days=home.model.window_days)
    log = logs.of_staged(NEXT - window, NEXT, table, home, since=NEXT)
    found = released.medoids_of(one, log, home)
    users, pins = found.user_ids.to_pylist(), table.pin_ids.to_pylist()

    rows = rows_of(lake, lake.current("medoids", day=DAY))
    acting = set(log.user_ids.to_pylist())
    expected = {user: [] for user in sorted({r["user_id"] for r in rows} & acting)}
    for row in sorted(rows, key=lambda row: row["rank"]):
        if row["user_id"] in expected:
            expected[row["user_id"]].append((row["pin_id"], row["importance"]))
    ranges = zip(found.offsets[:-1], found.offsets[1:], strict=True)
    assert expected
    assert expected == {
        user: [(pins[found.rows[i]], found.importance[i]) for i in range(begin, end)]
        for user, (begin, end) in zip(users, ranges, strict=True)
    }


def test_what_users_do_after_the_day_changes_nothing(home, measured):
    stage.run(LATER, home)
    assert daily.measure(NEXT, live(home), home) == measured


def test_a_day_of_the_window_that_is_not_staged_is_not_staged_by_it(home):
    days = open_lake(home).days("actions")
    daily.run(NEXT, home)
    assert open_lake(home).days("actions") == days


def test_everyone_who_acted_is_a_case_or_is_counted_as_left_out(home, measured):
    found = measured
    rows = rows_of(open_lake(home), open_lake(home).current("actions", day=NEXT))
    known = embeddings.named(open_lake(home), found.embeddings).pin_ids.to_pylist()
    wanted = set(home.source.interest_actions)
    acted = {r["user_id"] for r in rows if r["action"] in wanted and r["pin_id"] in set(known)}
    assert found.n_cases == found.n_users
    assert found.n_cases + found.left_out[daily.WITHOUT] == len(acted)


def test_a_user_without_released_medoids_is_left_out(home, monkeypatch, measured):
    whole = measured
    real = released.medoids_of

    def without_first(one, log, settings):
        found = real(one, log, settings)
        cut = found.offsets[1]
        return released.Medoids(
            found.user_ids[1:], found.offsets[1:] - cut, found.rows[cut:],
            found.importance[cut:], found.last_us[cut:],
        )  # fmt: skip

    monkeypatch.setattr(released, "medoids_of", without_first)
    found = daily.measure(NEXT, live(home), home)
    assert found.n_cases == whole.n_cases - 1
    assert found.left_out[daily.WITHOUT] == whole.left_out[daily.WITHOUT] + 1


def test_at_most_max_users_are_measured(home, measured):
    few = change(home, evaluation={"max_users": 3})
    assert daily.measure(NEXT, live(home), few).n_cases <= 3
    assert measured.n_cases > 3


def test_the_policy_in_force_is_chosen_and_stands_beside_the_others(home):
    for allocation, name in {
        "equal": "sample 2, equal shares",
        "proportional": "all, proportional shares",
        "round_robin": "all, equal shares",
    }.items():
        asked = change(home, retrieval={"allocation": allocation, "n_medoids": 2})
        found = daily.measure(NEXT, live(home), asked)
        assert recorded.in_force(found) == f"Released medoids, {name}"
        budget = "equal cost" if allocation == "equal" else "equal candidates"
        (given,) = [one for one in found.tables if one.title.endswith("as readers were given them")]
        assert f", {budget}, " in given.title
        lifts = by_name(given)[f"Released medoids, {name}"].lifts
        short = daily.in_short(found, released.budget_of(asked.retrieval))
        assert short["recall, new"] == words.lift(lifts["recall, new"])
        for table in found.tables:
            names = [recorded.named(row.model, row.policy) for row in table.rows]
            assert names[:2] == ["Last pin", "Decay average, λ = 0.01"]
            assert {
                "Released medoids, sample 3, equal shares",
                "Released medoids, all, proportional shares",
            } <= set(names)
            assert len(names) == len(set(names))


def test_at_equal_candidates_every_set_is_as_large(measured):
    _, equal = measured.tables
    assert {row.values["candidates"].value for row in equal.rows} == {30.0}


def test_the_age_of_medoids_is_the_mean_over_what_was_released(home, measured):
    found = measured
    rows = rows_of(open_lake(home), open_lake(home).current("actions", day=NEXT))
    known = set(embeddings.named(open_lake(home), found.embeddings).pin_ids.to_pylist())
    wanted = set(home.source.interest_actions)
    acted = {r["user_id"] for r in rows if r["action"] in wanted and r["pin_id"] in known}
    medoids = rows_of(open_lake(home), open_lake(home).current("medoids", day=DAY))
    start = np.datetime64(NEXT)
    ages = [
        (start - np.datetime64(m["last_acted_at"].replace(tzinfo=None))) / np.timedelta64(1, "D")
        for m in medoids
        if m["user_id"] in acted
    ]
    rows = by_name(found.tables[0])
    told = rows["Released medoids, sample 3, equal shares"].values[recorded.AGE]
    assert told.value == pytest.approx(np.mean(ages))
    assert told.low < told.value < told.high
    assert recorded.AGE not in rows["Last pin"].values


def test_the_releases_index_is_searched_and_exact_search_where_it_is_gone(home):
    one, matrix = live(home), np.eye(3, dtype=np.float32)
    with released.searcher(one, matrix, home) as found:
        assert isinstance(found, Indexed)
    with released.searcher(one.model_copy(update={"index": None}), matrix, home) as found:
        assert isinstance(found, Exact)
    indexed = daily.measure(NEXT, one, home)
    open_vectors(home).drop(one.index.version)
    exact = daily.measure(NEXT, one, home)
    assert one.index.version in indexed.notes[0]
    assert "exact" in exact.notes[0]


def test_the_release_is_the_last_that_went_live_with_the_days_medoids(home):
    releases = Releases(home)
    assert released.release_of(DAY, home) == releases.live()
    assert releases.live().number == 2, "medoids first, then with their index"
    assert released.release_of(NEXT, home) is None
    stage.run(NEXT, home)
    for bucket in range(home.lake.n_buckets):
        cluster.run(NEXT, bucket, home)
    validate.run(NEXT, home)
    publish.run(NEXT, home)
    release.release_medoids(NEXT, clock, home)
    assert released.release_of(DAY, home).number == 2
    assert released.release_of(NEXT, home).number == 3


def test_a_release_that_went_live_after_the_day_is_said_to_be_late(home, measured):
    late = f"went live on {NOW:%Y-%m-%d at %H:%M} UTC, after {NEXT}"
    (said,) = [note for note in measured.notes if "as if released in time" in note]
    assert late in said

    for bucket in range(home.lake.n_buckets):
        cluster.run(NEXT, bucket, home)
    validate.run(NEXT, home)
    publish.run(NEXT, home)
    release.release_medoids(NEXT, lambda: end_of(LATER) - timedelta(seconds=1), home)
    stage.run(LATER, home)
    found = daily.measure(LATER, released.release_of(NEXT, home), home)
    assert not [note for note in found.notes if "as if released in time" in note]


def test_one_and_two_threads_measure_the_same(home, measured):
    two = change(home, run={"threads": 2})
    assert daily.measure(NEXT, live(home), two) == measured


# --- days of which nothing can be measured ----------------------------------------------------


def test_a_day_that_is_not_staged_is_an_error_that_says_what_to_run(home):
    stage.run(LATER, home)
    with pytest.raises(DataError, match=r"pinnersage stage --day"):
        daily.measure(LATER + timedelta(days=1), live(home), home)


def test_a_day_after_which_nothing_was_released_is_no_failure_and_says_why(home):
    stage.run(LATER, home)
    found = daily.run(LATER, home)
    assert found.nothing == f"no release of the medoids of {NEXT} was ever live"
    assert (found.release, found.cases, found.lifts, found.page) == (None, 0, {}, "")
    manifest = open_lake(home).current("metrics", day=LATER)
    assert (manifest.rows, manifest.files) == (0, ())
    assert manifest.report["nothing"] == found.nothing
    page = open_storage(home).read(f"{report.DAILY}/index.html").decode()
    assert found.nothing in page


def test_a_day_without_actions_is_no_failure_and_says_why(home):
    lake = open_lake(home)
    staged = lake.current("actions", day=NEXT)
    lake.commit(staged.model_copy(update={"files": (), "rows": 0}))
    found = daily.run(NEXT, home)
    assert found.nothing == f"nobody acted on {NEXT} on a pin with an embedding"
    assert found.release == live(home).number
    assert open_lake(home).current("metrics", day=NEXT).rows == 0


def test_a_day_of_which_nothing_can_be_measured_any_more_keeps_no_page(home):
    daily.run(NEXT, home)
    lake, storage = open_lake(home), open_storage(home)
    where = report.folder(NEXT, report.DAILY)
    version = report.read(storage, NEXT, root=report.DAILY).version
    staged = lake.current("actions", day=NEXT)
    lake.commit(staged.model_copy(update={"files": (), "rows": 0}))

    assert daily.run(NEXT, home).nothing
    assert report.read(storage, NEXT, root=report.DAILY) is None
    kept = {f"{version}.{ending}" for ending in ("html", "json", "md")}
    assert set(storage.names(where)) == kept, "by version alone"


def test_a_day_on_which_nobody_with_medoids_acted_is_no_failure(home, monkeypatch):
    real = logs.of_staged

    def strangers(*args, **wishes):
        log = real(*args, **wishes)
        ids = pa.array([-1 - n for n in range(len(log.user_ids))][::-1], log.user_ids.type)
        return log._replace(user_ids=ids)

    monkeypatch.setattr(logs, "of_staged", strangers)
    with pytest.raises(daily.NothingToMeasureError, match="nobody for whom medoids were released"):
        daily.measure(NEXT, live(home), home)


# --- what is written --------------------------------------------------------------------------


def test_the_table_says_what_the_page_says_in_the_tables_order(home, measured):
    daily.run(NEXT, home)
    lake = open_lake(home)
    manifest = lake.current("metrics", day=NEXT)
    (path,) = lake.paths(manifest)
    table = pq.ParquetFile(path).read()
    assert table.schema.equals(METRICS.arrow())
    rows = table.to_pylist()
    keys = [(row["model"], row["metric"]) for row in rows]
    assert keys == sorted(set(keys)), "total order, none twice"

    of = dict(zip(keys, rows, strict=True))
    for told, budget in zip(measured.tables, ("equal cost", "equal candidates"), strict=True):
        for name, row in by_name(told).items():
            for measure in ("relevance, new", "recall, all", "diversity", "coverage"):
                key = name, f"{measure}, {budget}"
                assert (
                    Estimate(**{k: of[key][k] for k in ("value", "low", "high")})
                    == (row.values[measure])
                )
            if name != "Last pin":
                lift = of[name, f"lift of recall, new, {budget}"]
                assert lift["value"] == row.lifts["recall, new"].value
                assert lift["n"] == measured.n_targets["new"]
    assert of["Last pin", "vectors"]["value"] == 1
    assert of["Last pin", "vectors"]["n"] == measured.n_cases
    whose = {model for model, metric in keys if metric == recorded.AGE}
    assert whose == {"Released medoids"}, "whatever the policy"


def test_the_query_of_the_docs_reads_what_is_in_force_and_no_replaced_version(home, monkeypatch):
    daily.run(NEXT, home)
    page = Path(__file__).parents[2] / "docs" / "how-to" / "evaluate-every-day.md"
    said = page.read_text()
    end = "    ORDER BY day;\n"
    query = said[said.index("    CREATE TEMP TABLE") : said.index(end) + len(end)]
    replaced = change(home, retrieval={"allocation": "equal", "n_medoids": 2})
    daily.run(NEXT, replaced)
    assert len(open_storage(home).names(f"lake/metrics/day={NEXT}/data")) == 2
    stage.run(LATER, home)
    daily.run(LATER, home)  # without rows

    monkeypatch.chdir(home.home)
    with duckdb.connect() as con:
        rows = con.execute(query).fetchall()
    (day,) = [one for one in recorded.read(home, longest=10) if one.found]
    told = day.found[day.in_force, "lift of relevance, new, equal cost"]
    assert rows == [(NEXT, told.value, told.low, told.high)]


def test_twice_the_same_bytes(home):
    first = daily.run(NEXT, home)
    keys = [f"{report.DAILY}/day={NEXT}/{name}" for name in ("report.json", "index.html")]
    storage = open_storage(home)
    data = [storage.read(key) for key in (*keys, f"{report.DAILY}/index.html")]
    assert daily.run(NEXT, home) == first
    assert [storage.read(key) for key in (*keys, f"{report.DAILY}/index.html")] == data
    assert len(storage.names(f"lake/metrics/day={NEXT}/manifests")) == 1
    assert len(storage.names(f"lake/metrics/day={NEXT}/data")) == 1


def test_a_manifest_names_the_medoids_that_were_released_and_the_actions(home):
    daily.run(NEXT, home)
    one, manifest = live(home), open_lake(home).current("metrics", day=NEXT)
    assert manifest.reads[0] == f"medoids/day={DAY}@{one.medoids.manifest}"
    days = {ref.partition("@")[0] for ref in manifest.reads if ref.startswith("actions/")}
    assert f"actions/day={NEXT}" in days
    assert len(days) == home.model.window_days + 1


def test_the_daily_evaluation_keeps_its_report_apart_from_others(home, measured):
    daily.run(NEXT, home)
    storage = open_storage(home)
    assert report.read(storage, NEXT) is None
    found = report.read(storage, NEXT, root=report.DAILY)
    assert found == measured


# --- the page of all days ---------------------------------------------------------------------


def test_the_page_of_all_days_has_each_day_its_numbers_and_its_link(home):
    daily.run(NEXT, home)
    stage.run(LATER, home)
    daily.run(LATER, home)
    days = recorded.read(home, longest=10)
    assert [one.day for one in days] == [LATER, NEXT]
    page = trend.render(days, day_url="day={day}/index.html").decode()
    assert f'href="day={NEXT}/index.html"' in page
    assert f'href="day={LATER}/index.html"' not in page
    assert "no release of the medoids" in page
    assert f"{days[1].in_force}, equal candidates" in page
    for lift in trend.LIFTS:
        told = days[1].found[days[1].in_force, f"{lift}, equal candidates"]
        assert words.lift(told) == trend.in_force(days[1], lift)
        assert words.lift(told) in page
    assert page == open_storage(home).read(f"{report.DAILY}/index.html").decode()
    assert (
        "../index.html" in open_storage(home).read(f"{report.DAILY}/day={NEXT}/index.html").decode()
    )


def test_each_day_is_shown_at_the_budget_of_what_readers_were_given(home):
    daily.run(NEXT, home)
    (filled,) = recorded.read(home, longest=1)
    daily.run(NEXT, change(home, retrieval={"allocation": "equal"}))
    (sampled,) = recorded.read(home, longest=1)
    assert (filled.budget, sampled.budget) == ("equal candidates", "equal cost")
    both = [sampled._replace(day=LATER), filled]
    shown = trend.trend("recall, new", both)
    assert shown.models == sorted({key.model for day in both for key in day.found
                                   if key.metric.startswith("recall, new")})  # fmt: skip
    for day, (of, values) in zip(both, shown.rows, strict=True):
        assert of == day.day
        assert values == [
            words.value(day.found.get((model, f"recall, new, {day.budget}")))
            for model in shown.models
        ]


def test_only_the_newest_days_are_read(home):
    daily.run(NEXT, home)
    daily.run(DAY, home)
    assert [one.day for one in recorded.read(home, longest=1)] == [NEXT]


def test_before_any_day_the_page_says_how_one_comes():
    assert b"evaluate-release" in trend.render([], day_url="{day}")


def test_a_policy_of_turns_is_equal_shares_of_all():
    assert released.policy_of(RetrievalConfig(allocation="round_robin")) == Policy("all")
    asked = RetrievalConfig(allocation="equal", n_medoids=5)
    assert released.policy_of(asked) == Policy("sample", 5)


def test_medoids_of_text_ids_are_read_from_every_bucket_in_order(tmp_path):
    settings = config.build(tmp_path, {})
    lake = open_lake(settings)
    lake.create(Layout(n_buckets=2, user_id="string", pin_id="string"))
    start = datetime(2026, 4, 1, tzinfo=UTC)
    users = [["b", "é", "é"], ["a", "c"]]
    pins = [["y", "x", "z"], ["z", "x"]]
    ranks = [[0, 0, 1], [0, 0]]
    files = []
    with lake.workspace() as work:
        for bucket in range(2):
            n = len(users[bucket])
            rows = {
                "user_id": users[bucket], "rank": ranks[bucket], "pin_id": pins[bucket],
                "importance": [n - i + 0.5 for i in range(n)], "n_actions": [1] * n,
                "offset": [0.0] * n, "first_acted_at": [start] * n, "last_acted_at": [start] * n,
                "cohesion": [1.0] * n,
            }  # fmt: skip
            table = pa.table(rows, schema=MEDOIDS.arrow("string", "string"))
            files.append(lake.add_table(table, "medoids", work, day=DAY, bucket=bucket))
    manifest = lake.commit(
        Manifest(table="medoids", partition={"day": str(DAY)}, files=tuple(files), rows=5)
    )
    told = release.Medoids(day=DAY, manifest=manifest.version, keyvalue="", embeddings="v")
    one = release.Release(number=1, medoids=told, index=None, previous=None)
    none = np.empty(0, np.intp)
    log = logs.Log(
        pa.array(["a", "b", "d", "é"]), np.zeros(5, np.intp), none, none.astype(np.int64),
        np.eye(3, dtype=np.float32), pa.array(["x", "y", "z"]), "v", {},
    )  # fmt: skip

    found = released.medoids_of(one, log, settings)

    assert found.user_ids.to_pylist() == ["a", "b", "é"], "c did not act, d has none"
    assert found.offsets.tolist() == [0, 1, 2, 4]
    assert found.rows.tolist() == [2, 1, 0, 2]
    assert found.importance.tolist() == [2.5, 3.5, 2.5, 1.5]
    with pytest.raises(DataError, match="no embedding in version v, such as"):
        released.medoids_of(one, log._replace(pin_ids=pa.array(["x", "y"])), settings)
