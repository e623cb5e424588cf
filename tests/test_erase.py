"""Erase: a user is in no byte of a home, does not come back, and nobody else notices."""

import html
import json
import os
import shutil
from datetime import UTC, datetime, timedelta

import pyarrow.parquet as pq
import pytest
from events import DAY, changed, days_before, event, make, rows_of, write_log, write_pins
from worlds import clock

from pinnersage import (
    cluster,
    compare,
    config,
    erase,
    erased,
    maintain,
    pages,
    parity,
    people,
    publish,
    release,
    retrieve,
    scrub,
    stage,
    validate,
    waive,
)
from pinnersage.config import Settings
from pinnersage.errors import ChecksError, ConfigError, DataError, TransientError
from pinnersage.online import keep
from pinnersage.stores import open_keyvalue, open_lake, open_states, open_storage
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import Lake
from pinnersage.stores.versions import Shelf

USER = "erase<me>42"
OTHERS = [f"kept-{i}" for i in range(7)]
PINS = [f"pin-{i}" for i in range(20)]
AT = datetime(2026, 4, 6, 12, 30, tzinfo=UTC)
SALT = "5a17"
NEXT = DAY + timedelta(days=1)
CHECKS = {"max_duplicate_share": 0.5, "max_unusable_share": 0.05}
FIRST = days_before(1)


def events_of(users):
    """Some actions a user and day; one of USER's comes twice, some of the last day have no pin."""
    found = []
    for number, user in enumerate([USER, *OTHERS]):
        for back in range(-1, 5):
            for hour in range(3):
                pin = PINS[(number * 5 + hour + back) % len(PINS)]
                when = f"{days_before(back)} {hour + 8:02}:00"
                one = event(user, pin, when, event_id=f"{number}/{back}/{hour}")
                if user == USER and back == -1 and hour:
                    one["pin_id"] = None
                found += [one] * (2 if (user, back, hour) == (USER, 0, 1) else 1)
    return [one for one in found if one["user_id"] in users]


def home_of(root, users):
    """A home in which two days went live, one after the other."""
    import pyarrow as pa

    log = write_log(root / "log" / "log.parquet", events_of(users), ids=pa.string())
    items = write_pins(root / "items", PINS)
    settings = make(root / "home", log, items, sections={"checks": CHECKS}, event="event_id")
    for one in (FIRST, DAY):
        run(one, settings)
    return settings


def run(one, settings):
    """A day without an index."""
    stage.run(one, settings)
    list(cluster.run_all(one, settings))
    parity.run(one, settings)
    validate.run(one, settings)
    publish.run(one, settings)
    return release.release_medoids(one, clock, settings)


def opened(template, tmp_path):
    shutil.copytree(template.home, tmp_path / "copy")
    return config.build(tmp_path / "copy", template.model_dump(exclude={"home"}))


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A home with USER in it; a third day failed because of a few of their rows."""
    settings = home_of(tmp_path_factory.mktemp("with"), [USER, *OTHERS])
    with pytest.raises(ChecksError):
        stage.run(NEXT, settings)
    return settings


@pytest.fixture(scope="module")
def without(tmp_path_factory):
    return home_of(tmp_path_factory.mktemp("without"), OTHERS)


@pytest.fixture
def never(without, tmp_path) -> Settings:
    """A home in which USER never was."""
    return opened(without, tmp_path / "never")


@pytest.fixture
def settings(template, tmp_path) -> Settings:
    return opened(template, tmp_path)


def order(settings, user=USER, by="ann", reason="asked by letter", at=AT):
    return erase.run(user, by, reason, at, SALT, settings)


def mentions(settings, user=USER):
    """Every file of a home that has a user in it, in any spelling, tables decoded."""
    spelled = {user, html.escape(user), json.dumps(user)[1:-1]}
    found = []
    for path in sorted(p for p in settings.home.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if any(text.encode() in data for text in spelled):
            found.append(path)
        elif path.suffix == ".parquet":
            table = pq.ParquetFile(path).read()
            if "user_id" in table.column_names and user in table["user_id"].to_pylist():
                found.append(path)
    return [str(path.relative_to(settings.home)) for path in found]


def tables(settings):
    """What is in the lake, whatever the manifests are called: files, and hashes of values."""
    lake = open_lake(settings)
    files = {
        path.relative_to(settings.home): path.read_bytes()
        for table in ("actions", "medoids")
        for path in (settings.home / "lake" / table).rglob("data/*.parquet")
    }
    folders = {
        (m.table, *m.partition.values()): (m.content_hash, m.rows, m.files) for m in current(lake)
    }
    return files, folders


def current(lake):
    for entry in lake.storage.list(""):
        found = entry.key.split("/")
        if found[0] in erase.TABLES and found[-1] == "manifest.json":
            keys = dict(part.split("=") for part in found[1:-1])
            yield lake.current(found[0], **keys)


def profiles(settings):
    """Every user's value by day."""
    store, found = open_keyvalue(settings), {}
    for version in store.versions():
        with store.open(version) as reader:
            found.setdefault(reader.about["day"], []).append(dict(reader.items()))
    return found


def everything(settings):
    """Every file of a home but locks; times and inodes do not matter."""
    return {
        str(path.relative_to(settings.home)): path.read_bytes()
        for path in settings.home.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "data.mdb"
    } | {"profiles": profiles(settings)}


# --- gone ----------------------------------------------------------------------------------------


def test_the_world_mentions_the_user_in_every_place_that_may(settings):
    places = {path.split("/")[0] + "/" + path.split("/")[1] for path in mentions(settings)}
    assert places == {"lake/actions", "lake/medoids", "reports/quality", "stores/keyvalue"}
    kinds = {path.rpartition(".")[2] for path in mentions(settings)}
    assert kinds == {"parquet", "json", "html", "mdb"}


def test_no_byte_of_the_home_mentions_an_erased_user(settings):
    report = order(settings)

    assert mentions(settings) == []
    assert report.found
    assert (report.new, report.done, len(report.versions)) == (True, AT, 2)
    assert USER not in report.model_dump_json()


def be_online(settings, *users):
    """Give users an online state, and the journal events of theirs."""
    events = [json.dumps({"user_id": user}).encode() for user in users]
    with open_states(settings) as states:
        states.change(
            [user.encode() for user in users],
            lambda values: {key: b"state of " + key for key in values},
            [event for event in events for _ in range(3)],
        )


def test_no_byte_of_the_online_states_mentions_an_erased_user(settings, monkeypatch):
    monkeypatch.setattr(scrub, "JOURNAL_PART", 2)
    be_online(settings, USER, *OTHERS, USER + "-a-longer-id")
    with open_states(settings) as states:
        before = dict(states.items())
        assert "stores/online" in {path.rpartition("/1/")[0] for path in mentions(settings)}

        report = order(settings)

        assert (report.online, order(settings).online) == (4, 0)
        assert dict(states.items()) == {k: v for k, v in before.items() if k != USER.encode()}
        events = [json.loads(event)["user_id"] for _, event in states.oldest(100)]
        assert events == [user for user in (*OTHERS, USER + "-a-longer-id") for _ in range(3)]
    order(settings, USER + "-a-longer-id")
    assert mentions(settings) == []


def test_an_erased_user_who_came_back_online_goes_with_maintenance(settings):
    order(settings)
    be_online(settings, USER)  # by a consumer that does not know yet
    with open_states(settings) as states:
        states.remove([entry for entry, _ in states.oldest(10)])
    keep.run(AT, settings, dry_run=False)
    assert mentions(settings) == []


def test_what_was_in_the_journal_only_goes_with_maintenance_whoever_flushed_it(settings):
    be_online(settings, *OTHERS)
    order(settings)
    with open_states(settings) as states:
        states.change([], dict, [json.dumps({"user_id": USER}).encode()])
        states.remove([entry for entry, _ in states.oldest(100)])
    assert mentions(settings), "freed pages keep their bytes"
    keep.run(AT, settings, dry_run=True)
    assert mentions(settings), "a dry run changes nothing"
    keep.run(AT, settings, dry_run=False)
    assert mentions(settings) == []


def test_a_home_without_online_states_gets_none(settings):
    assert order(settings).online == 0
    assert not (settings.home / "stores" / "online").exists()


def test_what_is_left_is_to_the_byte_what_a_home_has_that_never_knew_the_user(settings, never):
    order(settings)

    assert tables(settings) == tables(never)
    assert profiles(settings) == profiles(never)


def test_every_name_still_leads_somewhere(settings):
    before = {m.ref: m for m in current(open_lake(settings))}
    live = release.Releases(settings).live()
    order(settings)

    lake = open_lake(settings)
    after = {m.ref: m for m in current(lake)}
    assert after.keys() == before.keys()
    assert [m.reads for m in after.values()] == [m.reads for m in before.values()]
    assert all(lake.holds(file) for m in after.values() for file in m.files)
    assert {m.erased for m in after.values()} == {0, 1}
    for manifest in after.values():
        assert lake.version(manifest.table, manifest.version, **manifest.partition) == manifest
    assert release.Releases(settings).live() == live
    release.require_present(live, settings)


def test_a_version_that_is_not_current_is_rewritten_too(settings):
    lake = open_lake(settings)
    old = lake.require("medoids", "validate", day=DAY)
    faster = changed(settings, model={"decay_per_day": 0.5})
    list(cluster.run_all(DAY, faster))
    validate.run(DAY, faster)
    order(settings)

    assert lake.require("medoids", "validate", day=DAY).version != old.version
    rewritten = lake.version("medoids", old.version, day=DAY)
    assert all(lake.holds(file) for file in rewritten.files)
    assert {row["user_id"] for row in rows_of(lake, rewritten)} == set(OTHERS)
    assert mentions(settings) == []


def test_files_that_no_manifest_names_go_too(settings):
    lake = open_lake(settings)
    manifest = next(m for m in current(lake) if m.table == "medoids" and m.erased == 0 and m.rows)
    (folder,) = {lake.path(file).parent for file in manifest.files[:1]}
    for path in list(folder.glob("*.parquet")):
        shutil.copy(path, folder / f"unnamed{path.stem[7:]}.parquet")
    order(settings)
    assert mentions(settings) == []


def test_unfinished_files_of_killed_writers_go_too(settings):
    reports = settings.home / "reports" / "quality" / f"day={DAY}"
    (reports / ".report.json.abcd_123").write_text(json.dumps({"user_id": USER}))
    (reports / ".index.html.abcd_123").write_text(html.escape(USER))
    for root in (settings.home / "lake" / ".scratch", settings.home / "stores" / "keyvalue"):
        (root / ".aside-dead").mkdir(parents=True)
        (root / ".aside-dead" / "data").write_text(USER)
    assert order(settings).leftovers == 2
    assert mentions(settings) == []


def test_a_bucket_of_one_user_may_become_empty(template, tmp_path):
    settings = opened(template, tmp_path)
    for user in (*OTHERS, USER):
        order(settings, user)
    lake = open_lake(settings)
    assert {(m.rows, m.files) for m in current(lake)} == {(0, ())}
    assert profiles(settings) == {str(FIRST): [{}], str(DAY): [{}]}
    assert list((settings.home / "lake").rglob("medoids/**/data/*")) == []


def test_the_bucket_of_a_user_is_the_one_that_stage_uses(settings):
    lake = open_lake(settings)
    for file in lake.require("actions", "stage", day=DAY).files:
        for user in pq.ParquetFile(lake.path(file)).read()["user_id"].unique().to_pylist():
            assert lake.layout.bucket_of(user) == file.bucket


# --- at once -------------------------------------------------------------------------------------


def test_a_running_reader_says_nothing_of_an_erased_user_within_seconds(settings, monkeypatch):
    now = [0.0]
    watch = erased.Watch(erased.record_of(settings), lambda: now[0])
    assert not watch.has(USER)
    monkeypatch.setattr(scrub, "partition", stop)
    with pytest.raises(ZeroDivisionError):
        order(settings)

    now[0] += 2.0
    assert watch.has(USER)
    assert not watch.has(OTHERS[0])
    with retrieve.open_live(settings) as reader:
        assert reader.profiles.get(USER.encode()) is not None, "it is not done yet"
        assert reader.profile(USER) is None
        assert reader.recommend(USER) is None
        assert reader.profile(OTHERS[0]) is not None
        with pytest.raises(DataError, match="has no clusters"):
            people.clusters(reader, settings, USER)


def stop(*_args, **_more):
    raise ZeroDivisionError


def test_the_live_release_reads_and_rollback_leads_back(settings):
    order(settings)
    with retrieve.open_live(settings) as reader:
        assert reader.profile(USER) is None
        assert all(reader.profile(user) is not None for user in OTHERS)
    assert release.rollback(clock, settings).live.medoids.day == FIRST
    with retrieve.open_live(settings) as reader:
        assert reader.profile(USER) is None
        assert all(reader.profile(user) is not None for user in OTHERS)
    assert release.promote(DAY, clock, settings).moved


# --- stays gone ----------------------------------------------------------------------------------


def test_staging_again_leaves_the_user_out_and_counts_it(settings, never):
    order(settings)
    report = stage.run(DAY, settings)
    assert report.dropped == {"erased": 4}
    assert report.checks == stage.run(DAY, never).checks, "nothing is said of them"
    assert tables(settings)[0] == tables(never)[0]
    assert mentions(settings) == []


def test_days_go_on_after_an_erasure(settings, never):
    """Also the day that had failed because of the user alone."""
    order(settings)
    assert run(NEXT, settings).moved
    run(NEXT, never)
    assert tables(settings)[0] == tables(never)[0]
    assert profiles(settings)[str(NEXT)] == profiles(never)[str(NEXT)]
    assert mentions(settings) == []


def test_a_day_may_be_judged_and_published_again_after_an_erasure(settings, never):
    order(settings)
    publish.run(DAY, settings)
    report = validate.run(DAY, settings)
    assert report.content_hash == open_lake(never).current("medoids", day=DAY).content_hash
    assert report.measures["n_users"] == len(OTHERS)
    assert publish.run(DAY, settings).users == len(OTHERS)
    assert release.release_medoids(DAY, clock, settings).moved


def test_what_was_never_published_is_published_without_the_user(settings):
    store = open_keyvalue(settings)
    for version in store.versions():
        store.drop(version)
    order(settings)
    assert publish.run(DAY, settings).users == len(OTHERS)


def test_an_order_for_nobody_stands_and_says_that_nothing_was_found(settings):
    before = everything(settings)
    report = order(settings, "nobody")
    assert (report.new, report.found, report.versions) == (True, False, [])
    after = everything(settings)
    assert after.pop(f"takedown/{erased.RECORD}")
    assert after == before


@pytest.mark.parametrize("under_way", [False, True])
def test_an_undone_order_keeps_the_user_out_of_what_is_computed(settings, monkeypatch, under_way):
    """A crash after the order: the lake still has the user, and days go on."""
    settings = changed(settings, checks={"min_user_coverage": 0.5})
    with monkeypatch.context() as patch:
        patch.setattr(erase, "scrub_lake", stop)
        with pytest.raises(ZeroDivisionError):
            order(settings)
    if not under_way:
        order(settings)
    assert run(NEXT, settings).moved
    lake = open_lake(settings)
    assert {row["user_id"] for row in rows_of(lake, lake.current("medoids", day=NEXT))} == {*OTHERS}
    assert USER.encode() not in profiles(settings)[str(NEXT)][0]
    assert validate.run(DAY, settings) if not under_way else True
    order(settings)
    assert mentions(settings) == []


@pytest.mark.parametrize("step", ["stage", "cluster", "parity", "validate", "publish"])
def test_an_order_given_while_a_step_runs_is_obeyed_by_it(settings, monkeypatch, step, never):
    """Given just before the step's last write, from what it read before."""
    given = []

    def once(real):
        def write(*args, **more):
            if not given:
                given.append(order(settings))
            return real(*args, **more)

        return write

    if step == "publish":
        store = open_keyvalue(settings)
        for version in store.versions():
            store.drop(version)
        monkeypatch.setattr(Shelf, "finish", once(Shelf.finish))
    else:
        monkeypatch.setattr(Lake, "commit", once(Lake.commit))
    if step == "stage":
        stage.run(DAY, settings)
    elif step == "cluster":
        list(cluster.run_all(DAY, settings))
    elif step == "parity":
        parity.run(DAY, settings)
    elif step == "validate":
        validate.run(DAY, settings)
    else:
        publish.run(DAY, settings)
    monkeypatch.undo()

    assert given[0].new
    assert mentions(settings) == []
    assert tables(settings)[0] == tables(never)[0]
    lake = open_lake(settings)
    assert all(lake.holds(file) for m in current(lake) for file in m.files)
    assert run(DAY, settings).live.medoids.day == DAY


def test_a_step_that_is_handed_its_rows_once_asks_to_be_run_again(settings, monkeypatch):
    lake, commit = open_lake(settings), Lake.commit
    staged = [lake.current("actions", day=days_before(n)) for n in range(2, -1, -1)]
    paths = [path for m in staged for path in lake.paths(m, bucket=0)]
    import duckdb

    rows = duckdb.read_parquet(paths, hive_partitioning=True).to_arrow_table()

    def late(self, manifest):
        order(settings)
        return commit(self, manifest)

    monkeypatch.setattr(Lake, "commit", late)
    with pytest.raises(TransientError, match="Run the step again"):
        cluster.run(DAY, 0, settings, rows.to_reader())
    assert mentions(settings) == []


def test_a_step_that_fails_for_another_reason_says_that_reason(settings, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(erase, "scrub_lake", stop)
        with pytest.raises(ZeroDivisionError):
            order(settings)
    tries = []

    def broken():
        tries.append(1)
        raise DataError("a file is broken")

    with pytest.raises(DataError, match="a file is broken"):
        erase.settled(broken, settings, erase.own_days("medoids", [DAY], settings))
    assert len(tries) == 2


@pytest.mark.parametrize("erase_one", [False, True])
def test_erasing_keeps_no_day_that_is_due_to_go(settings, erase_one):
    """Were it work on a day, daily erasures would keep old days for ever."""
    for path in settings.home.rglob("*"):
        os.utime(path, (1e9, 1e9))
    if erase_one:
        order(settings)
    few = changed(
        settings,
        retention={"medoids_days": 1, "spare_action_days": 0},
        checks={"drift_days": 1, "min_drift_days": 1},
        model={"window_days": 1},
    )
    (settings.home / "lake" / "now").touch()
    now = datetime.fromtimestamp((settings.home / "lake" / "now").stat().st_mtime, UTC)
    done = maintain.run(now, few, dry_run=False)
    days = {kind.kind: sorted(gone.name[-10:] for gone in kind.gone) for kind in done.kinds}
    assert days["actions"] == [str(days_before(n)) for n in (3, 2)]
    assert mentions(settings) == [] if erase_one else mentions(settings)
    for lock in (settings.home / "lake").rglob(".*.swap.lock"):
        assert lock.with_name(lock.name[1:].removesuffix(".swap.lock")).exists()


# --- the record ----------------------------------------------------------------------------------


def test_the_record_says_who_why_and_when_but_not_of_whom(settings):
    order(settings, by=" ann ", reason=" asked ")
    (one,) = erased.read(settings).orders
    assert (one.by, one.reason, one.at, one.done) == ("ann", "asked", AT, AT)
    assert one.user == erased.read(settings).digest(USER)
    assert USER not in (settings.home / "takedown" / erased.RECORD).read_text()


def test_an_order_given_again_changes_nothing_and_the_first_stands(settings):
    order(settings)
    before = everything(settings)
    again = erase.run(USER, "bob", "another", AT + timedelta(days=9), "other salt", settings)
    assert (again.new, again.found, again.by, again.done) == (False, False, "ann", AT)
    assert everything(settings) == before


@pytest.mark.parametrize("missing", ["user", "by", "reason"])
def test_an_order_without_user_name_or_reason_is_refused(settings, missing):
    given = {"user": USER, "by": "ann", "reason": "asked"} | {missing: "  "}
    with pytest.raises(ConfigError, match="needs a user, a name and a reason"):
        order(settings, **given)
    assert erased.read(settings).orders == ()


def test_a_reason_that_names_the_user_is_refused(settings):
    with pytest.raises(ConfigError, match="Leave the user's id out"):
        order(settings, reason=f"{USER} asked")
    assert order(settings, "kept", reason="a keptsake").new


def test_a_number_is_one_user_however_it_is_written(tmp_path):
    log = write_log(tmp_path / "log.parquet", [event(user) for user in (7, 70, 8)])
    settings = make(tmp_path / "home", log, write_pins(tmp_path, [10, 11]))
    stage.run(DAY, settings)
    assert order(settings, "007").files
    assert {row["user_id"] for row in rows_of(open_lake(settings), open_lake(settings).current(
        "actions", day=DAY))} == {70, 8}  # fmt: skip
    assert stage.run(DAY, settings).dropped == {"erased": 1}
    with pytest.raises(ConfigError, match="users of this lake are whole numbers"):
        order(settings, "seven")


def test_a_damaged_record_is_no_empty_one(settings):
    order(settings)
    path = settings.home / "takedown" / erased.RECORD
    path.write_bytes(path.read_bytes()[:-30])
    for call in (
        lambda: erased.read(settings),
        lambda: order(settings),
        lambda: erased.Watch(erased.record_of(settings)).has(USER),
        lambda: stage.run(DAY, settings),
        lambda: cluster.run(DAY, 0, settings),
    ):
        with pytest.raises(DataError, match=r"damaged.*runbook: damaged erasure record"):
            call()


def test_two_orders_at_once_are_both_kept(settings, monkeypatch):
    swap, others = Folder.swap, ["kept-1"]

    def beaten(storage, key, old, data):
        if others and key == erased.RECORD:
            user = others.pop()
            order(settings, user)
        return swap(storage, key, old, data)

    monkeypatch.setattr(Folder, "swap", beaten)
    order(settings)
    assert len(erased.read(settings).orders) == 2
    assert mentions(settings) == mentions(settings, "kept-1") == []


def test_days_without_an_erasure_are_the_same_to_the_byte(never):
    for path in (never.home / "lake").rglob("manifests/*.json"):
        assert "known_as" not in json.loads(path.read_text())
    assert not (never.home / "takedown").exists()


# --- reports -------------------------------------------------------------------------------------


def test_reports_keep_all_but_the_users_rows(settings):
    storage = open_storage(settings)
    before = {one: pages.read_quality(storage, one) for one in (DAY, NEXT)}
    assert order(settings).reports
    for one, was in before.items():
        now = pages.read_quality(storage, one)
        assert [o.rule for o in now.outcomes] == [o.rule for o in was.outcomes]
        assert [o.n_wrong for o in now.outcomes] == [o.n_wrong for o in was.outcomes]
        assert now.status == was.status
        page = storage.read(f"{scrub.REPORTS}/day={one}/index.html")
        assert page == pages.page_of(now, storage)


def test_a_page_that_is_older_than_its_report_is_written_too(settings):
    """Killed between its report and its page, a step leaves the page of the report before."""
    folder = settings.home / "reports" / "quality" / f"day={NEXT}"
    report = pages.read_quality(open_storage(settings), NEXT)
    clean = scrub.quality_without(report, {USER}.intersection)
    (folder / "report.json").write_text(clean.model_dump_json(indent=1))
    order(settings)
    assert mentions(settings) == []


def test_a_report_that_cannot_be_read_stops_the_erasure(settings):
    path = settings.home / "reports" / "quality" / f"day={NEXT}" / "report.json"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(DataError, match="nobody knows whom it names"):
        order(settings)
    assert erased.read(settings).under_way


def test_a_waived_day_stays_published_and_its_report_is_not_waived_again(settings):
    """What a person looked at had the user in it: a new waiver needs a new look."""
    checks = {"max_mean_clusters_per_user": 0.5, "waivable": (compare.CLUSTERS,)}
    strict = changed(settings, checks=checks)
    with pytest.raises(ChecksError):
        validate.run(DAY, strict)
    report = waive.last_report(DAY, strict).version
    waive.run(DAY, report, "ann", "true", AT, strict)
    order(strict)

    assert publish.run(DAY, strict).users == len(OTHERS)
    report = waive.last_report(DAY, strict).version
    with pytest.raises(DataError, match="or a user was erased from it"):
        waive.run(DAY, report, "ann", "true", AT, strict)
    with pytest.raises(ChecksError):
        validate.run(DAY, strict)
    report = waive.last_report(DAY, strict).version
    waive.run(DAY, report, "ann", "true", AT, strict)
    assert publish.run(DAY, strict).users == len(OTHERS)


# --- killed --------------------------------------------------------------------------------------


class Killed(BaseException):
    """The process ends here."""


@pytest.mark.slow
def test_killed_at_any_write_an_order_is_finished_by_giving_it_again(
    template, tmp_path, monkeypatch
):
    """Each write of an order is the last thing that it does, or the first that it does not."""
    whole = opened(template, tmp_path / "whole")
    order(whole)
    expected = everything(whole)
    writes = [(Folder, "swap"), (Folder, "remove"), (Folder, "add"), (Folder, "write"),
              (Shelf, "replace")]  # fmt: skip

    def killing(real, left, *, before):
        def write(*args, **more):
            number = left[0] = left[0] - 1
            if before and not number:
                raise Killed
            done = real(*args, **more)
            if not before and not number:
                raise Killed
            return done

        return write

    reached = 0
    for n in range(1, 1000):
        settings = opened(template, tmp_path / str(n))
        with monkeypatch.context() as patch:
            left = [n]
            for kind, name in writes:
                patch.setattr(kind, name, killing(getattr(kind, name), left, before=n % 2 == 0))
            try:
                order(settings)
                break
            except Killed:
                reached += 1
        with retrieve.open_live(settings) as reader:
            assert all(reader.profile(user) is not None for user in OTHERS)
            assert reader.profile(USER) is None or not erased.read(settings).orders
        lake = open_lake(settings)
        assert all(lake.holds(file) for m in current(lake) for file in m.files)
        order(settings)
        assert mentions(settings) == []
        assert everything(settings) == expected
        shutil.rmtree(settings.home)
    assert reached > 30


@pytest.mark.service
def test_redis_and_an_object_store_are_erased_too(
    bucket, redis_url, template, tmp_path, monkeypatch
):
    monkeypatch.setenv("REDIS_URL", redis_url)
    values = template.model_dump(exclude={"home"})
    values["lake"]["root"], values["keyvalue"]["store"] = bucket.url, "redis"
    settings = config.build(tmp_path / "home", values)
    storage = open_storage(settings)
    for path in sorted(p for p in template.home.rglob("*") if p.is_file()):
        key = path.relative_to(template.home).as_posix()
        if key.startswith(("lake/", "reports/", "releases/")) and not path.name.startswith("."):
            storage.write(key, path.read_bytes())
    store = open_keyvalue(settings)
    store.client.flushall()
    for one in (FIRST, DAY):
        publish.run(one, settings)
    assert [len(users[0]) for users in profiles(settings).values()] == [8, 8]
    list(cluster.run_all(DAY, settings))
    assert any("actions" in str(path) for path in settings.home.rglob("*.parquet"))

    report = order(settings)

    assert len(report.versions) == 2
    assert mentions(settings) == [], "copies in the cache"
    again = config.build(tmp_path / "other", values)
    keys = [entry.key for entry in storage.list("")]
    for key in keys:
        data = storage.read(key)
        assert USER.encode() not in data
        if "/data/" in key and ("actions" in key or "medoids" in key):
            assert USER not in pq.ParquetFile(open_storage(again).local(key))\
                .read(columns=["user_id"])["user_id"].to_pylist()  # fmt: skip
    assert {frozenset(users[0]) for users in profiles(settings).values()} == {
        frozenset(user.encode() for user in OTHERS)
    }
    assert not order(settings).found
    with retrieve.open_live(settings) as reader:
        assert reader.profile(USER) is None
        assert reader.profile(OTHERS[0]) is not None
