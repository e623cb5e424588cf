"""Maintain: what goes, what stays for whom, and that readers never notice. On hand-made days.

``MAINTAIN_EVERY=1`` kills at every change instead of every ninth; ``MAINTAIN_EXAMPLES`` says how
many histories are tried.
"""

import contextlib
import json
import os
import shutil
import signal
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from kept import FIRST, Home, assert_reads_whole, build_index, nth
from worlds import DAY, change, clock

from pinnersage import day, doctor, maintain, people, release, retention, retrieve
from pinnersage.errors import DataError, TransientError
from pinnersage.release import Pointer, Releases
from pinnersage.stores import open_keyvalue
from pinnersage.stores.folder import Folder
from pinnersage.stores.lake import Manifest
from pinnersage.stores.lmdb_store import LmdbStore
from pinnersage.stores.versions import Shelf

LATER = datetime(2100, 1, 1, tzinfo=UTC)
"""When everything that tests write has long been at rest."""
AT_ONCE = datetime(2001, 1, 1, tzinfo=UTC)
"""When everything is within the grace."""


@pytest.fixture(scope="session")
def small_index(tmp_path_factory):
    return build_index(tmp_path_factory.mktemp("small-index"))


@pytest.fixture
def home(tmp_path, small_index):
    return Home(tmp_path / "home", small_index)


@pytest.fixture(scope="session")
def ten_days(tmp_path_factory, small_index):
    """Ten days, from day 4 on with other embeddings; something to remove of every kind."""
    home = Home(tmp_path_factory.mktemp("ten") / "home", small_index)
    for n in range(10):
        if n == 4:
            home.embed(nth(4), scale=2)
        home.day(n)
    home.medoids(nth(9), "corrected")
    home.file("medoids", "of a killed step", day=nth(8), bucket=0)
    return home


@pytest.fixture
def ten(ten_days, tmp_path):
    return ten_days.copy(tmp_path / "ten")


def run(home, now=LATER, *, dry_run=False):
    return maintain.run(now, home.settings, dry_run=dry_run)


def gone(report):
    return {kind.kind: [item.name for item in kind.gone] for kind in report.kinds if kind.gone}


def kind(report, name):
    return next(one for one in report.kinds if one.kind == name)


def test_days_go_that_are_older_than_each_table_keeps(ten):
    went = gone(run(ten))

    assert went["actions"] == [f"actions/day={nth(n)}" for n in range(6)]
    assert went["medoids"] == [f"medoids/day={nth(n)}" for n in range(7)]
    assert went["reports"] == [f"reports/quality/day={nth(n)}" for n in range(5)]
    assert ten.lake.days("actions") == [nth(n) for n in range(6, 10)]
    assert ten.lake.days("medoids") == [nth(n) for n in range(7, 10)]
    assert not any("day=2026-03-01" in key for key in ten.files())
    assert_reads_whole(ten)


def test_a_dry_run_changes_nothing_and_says_exactly_what_the_real_run_removes(ten):
    before = ten.files()
    said = run(ten, dry_run=True)
    assert ten.files() == before
    assert not ten.storage.list("reports/maintenance")

    done = run(ten)

    assert done.model_dump(exclude={"dry_run"}) == said.model_dump(exclude={"dry_run"})
    removed = before - ten.files()
    keys = {item.name for one in said.kinds for item in one.gone}
    assert len(removed) == sum(max(item.files, 1) for one in said.kinds for item in one.gone)
    assert all(any(name in key for name in keys) for key in removed)


def test_a_second_run_removes_nothing(ten):
    assert run(ten).n_gone
    before = ten.files()

    again = run(ten)

    assert again.n_gone == 0
    assert ten.files() == before


def test_the_report_of_every_run_of_a_day_is_kept(ten):
    first, second = run(ten), run(ten)

    kept = json.loads(ten.storage.read("reports/maintenance/2100-01-01.json"))
    assert kept == [first.model_dump(mode="json"), second.model_dump(mode="json")]


def test_bytes_are_those_of_the_files(ten):
    sizes = {entry.key: entry.size for entry in ten.storage.list("")}

    report = run(ten)

    left = {entry.key for entry in ten.storage.list("") if "maintenance" not in entry.key}
    for_lake = [one for one in report.kinds if "versions" not in one.kind]
    expected = sum(size for key, size in sizes.items() if key not in left)
    stores = sum(size for key, size in sizes.items() if key not in left and "stores/" in key)
    assert sum(one.bytes for one in for_lake) == expected - stores
    assert sum(one.bytes for one in report.kinds) == expected


def test_versions_stay_of_the_newest_days_and_of_the_way_back(ten):
    run(ten)

    days = {version[:10] for version in ten.keyvalue.versions()}
    assert days == {str(nth(n)) for n in (8, 9)}
    # nth(9) was corrected: both of its versions lie on the way back.
    assert len(ten.keyvalue.versions()) == 3


def test_a_refined_file_stays_while_a_later_day_names_it(ten):
    """The days take the file that lies in the folder of the first of them."""
    file = ten.lake.current("refined", day=nth(9)).files[0]
    assert f"day={nth(4)}" in file.path

    went = gone(run(ten))

    assert f"refined/day={nth(4)}" in went["refined"]
    assert ten.lake.holds(file)
    assert not ten.lake.current("refined", day=nth(4))


def test_embeddings_and_pins_stay_from_the_oldest_that_a_kept_day_uses(home):
    first = home.embed(FIRST)
    for n in range(8):
        second = home.embed(nth(4), scale=2) if n == 4 else None
        home.day(n)
    coming = home.embed(nth(30), scale=3)
    assert gone(run(home)).get("embeddings") == [f"embeddings/version={first}"]
    del second

    assert {m.partition["version"] for m in home.lake.versions("pins")} == {
        m.partition["version"] for m in home.lake.versions("embeddings")
    }
    assert coming in {m.partition["version"] for m in home.lake.versions("embeddings")}
    assert_reads_whole(home)


def measure(home, n):
    """The metrics of a day and its page, as ``evaluate.daily`` leaves them."""
    day, before = nth(n), home.lake.current("medoids", day=nth(n - 1))
    vectors = before.report["embeddings"]
    reads = (before.ref, home.lake.current("embeddings", version=vectors).ref)
    file = home.file("metrics", str(day), day=day)
    keys = {"day": str(day)}
    home.lake.commit(
        Manifest(table="metrics", partition=keys, files=(file,), rows=file.rows, reads=reads)
    )
    home.storage.write(f"reports/evaluation/daily/day={day}/report.json", b"{}")


def test_what_parity_found_goes_with_the_reports_and_holds_nothing_else(home):
    for n in range(8):
        if n == 4:
            home.embed(nth(4), scale=2)
        home.day(n)
    bare = gone(run(home, dry_run=True))
    for n in range(1, 8):
        before = home.lake.current("medoids", day=nth(n - 1))
        vectors = home.lake.current("embeddings", version=before.report["embeddings"])
        file = home.file("parity", str(n), day=nth(n), bucket=0)
        keys, reads = {"day": str(nth(n))}, (vectors.ref, before.ref)
        home.lake.commit(
            Manifest(table="parity", partition=keys, files=(file,), rows=file.rows, reads=reads)
        )

    went = gone(run(home))

    assert went["parity"] == [f"parity/day={nth(n)}" for n in (1, 2)]
    assert home.lake.days("parity") == [nth(n) for n in range(3, 8)]
    assert went["embeddings"] == bare["embeddings"]
    assert went["medoids"] == bare["medoids"]


def test_metrics_and_pages_of_releases_go_with_the_reports_and_hold_nothing_else(home):
    for n in range(8):
        if n == 4:
            home.embed(nth(4), scale=2)
        home.day(n)
    bare = gone(run(home, dry_run=True))
    for n in range(1, 8):
        measure(home, n)
    home.storage.write("reports/evaluation/daily/index.html", b"all days")
    home.storage.write(f"reports/evaluation/day={nth(1)}/report.json", b"somebody's experiment")

    went = gone(run(home))

    assert went["metrics"] == [f"metrics/day={nth(n)}" for n in (1, 2)]
    assert home.lake.days("metrics") == [nth(n) for n in range(3, 8)]
    pages = [f"reports/evaluation/daily/day={nth(n)}" for n in (1, 2)]
    assert went["reports"] == [*pages, *bare["reports"]]
    assert home.storage.exists("reports/evaluation/daily/index.html")
    assert home.storage.exists(f"reports/evaluation/day={nth(1)}/report.json")
    assert went["embeddings"] == bare["embeddings"]
    assert went["medoids"] == bare["medoids"]
    assert_reads_whole(home)


def test_a_version_between_two_that_are_used_stays(home):
    """Else a day of its time would be computed with the older one, and nobody would know."""
    home.day(0)
    home.embed(nth(3), scale=2)
    home.day(9)
    release.rollback(clock, home.settings, 2)
    home.embed(nth(20), scale=3)

    run(home)

    assert len(home.lake.versions("embeddings")) == 3


def test_what_was_worked_on_stays_with_its_window_whatever_its_day(ten):
    for entry in ten.storage.list("lake"):
        old = not entry.key.startswith(f"lake/medoids/day={nth(4)}/")
        os.utime(ten.storage.local(entry.key), (1e9, 1e9) if old else None)
    now = datetime.fromtimestamp(Path(ten.settings.home).stat().st_mtime, UTC)

    report = run(ten, now)

    assert set(kind(report, "actions").held) >= {f"actions/day={nth(n)}" for n in (2, 3, 4)}
    assert f"medoids/day={nth(4)}" in kind(report, "medoids").held
    assert ten.lake.days("actions") == [nth(n) for n in (2, 3, 4, 6, 7, 8, 9)]
    assert nth(4) in ten.lake.days("medoids")
    assert str(nth(4)) in {version[:10] for version in ten.keyvalue.versions()}


def test_nothing_goes_within_the_grace(ten):
    before = ten.files()
    assert run(ten, AT_ONCE).n_gone == 0
    assert ten.files() == before


def test_files_that_nothing_names_go_after_the_grace(home):
    home.day(0)
    file = home.file("medoids", "of a killed step", day=nth(0), bucket=0)
    old = home.lake.current("medoids", day=nth(0), bucket=0)
    home.cluster(nth(0), "again")
    left = home.cluster(nth(0), "and again")

    assert run(home, AT_ONCE, dry_run=True).n_gone == 0
    went = gone(run(home))

    assert went == {"unnamed files": [f"medoids/day={nth(0)}"]}
    assert not home.lake.holds(file)
    assert home.lake.holds(old.files[0]), "the live release names it"
    assert home.lake.holds(left.files[0]), "it is current"
    assert home.lake.version("medoids", old.version, day=nth(0), bucket=0) == old


def test_a_day_between_publish_and_release_stays_however_old_it_is(ten):
    """A backfill has computed it, and its release has not run yet."""
    old = ten.storage.list("lake")
    ten.cluster(nth(8), "backfilled")
    ten.validate(nth(8))
    published = ten.publish(nth(8))
    ten.day(12)
    ten.day(13)
    for entry in old:
        os.utime(ten.storage.local(entry.key), (1e9, 1e9))
    now = max(entry.modified for entry in ten.storage.list("lake"))

    report = run(ten, now)

    why = "its day was worked on within 2 days"
    assert kind(report, "key-value versions").held[published] == why
    assert published in ten.keyvalue.versions()
    run(ten)
    assert published not in ten.keyvalue.versions()


def test_a_live_release_of_an_old_day_stays_whole(ten):
    release.promote(nth(2), clock, ten.settings)

    report = run(ten)

    live = ten.releases.live()
    assert live.medoids.day == nth(2)
    assert f"release {live.number} is live" in kind(report, "medoids").held.values()
    assert f"release {live.number} is live" in kind(report, "key-value versions").held.values()
    assert_reads_whole(ten)


def test_a_day_that_failed_after_it_went_live_can_still_be_read(ten):
    ten.cluster(nth(9), "wrong")
    ten.lake.retire("medoids", day=nth(9))

    run(ten)

    assert_reads_whole(ten)


def test_a_release_whose_stores_went_says_so(ten):
    numbers = [one.number for one in ten.releases.all()]
    run(ten)

    with pytest.raises(DataError, match=r"Release 2 cannot go live: key-value version .* is gone"):
        release.rollback(clock, ten.settings, numbers[1])
    with pytest.raises(DataError, match="is not published"):
        release.promote(nth(0), clock, ten.settings)
    assert [one.number for one in ten.releases.all()] == numbers


def test_a_version_that_this_lake_does_not_know_is_left_alone(home):
    home.day(0)
    home.keyvalue.write("2020-01-01-0123456789abcdef", [(b"k", b"v")], {})

    report = run(home)

    held = kind(report, "key-value versions").held
    assert held == {
        "2020-01-01-0123456789abcdef": "no manifest and no release of this lake names it"
    }
    assert "2020-01-01-0123456789abcdef" in home.keyvalue.versions()


def test_an_outage_ages_nothing(home):
    for n in range(2):
        home.day(n)
    before = home.files()

    report = run(home, LATER + timedelta(days=3650))

    assert gone(report) == {}
    assert home.files() == before


@pytest.mark.parametrize("how", ["no file", "rows that fail", "empty days"])
def test_a_day_that_did_not_pass_ages_nothing_however_far_ahead(home, how):
    """A slip in ``--day``: sound days would all be old beside it."""
    for n in range(2):
        home.day(n)
    before, far = home.files(), nth(900)
    home.judge(far)
    if how == "rows that fail":
        home.stage(far)
        home.cluster(far)
    elif how == "empty days":
        for back in range(3):
            home.stage_empty(far - timedelta(days=back))

    report = run(home)

    assert gone(report) == {}
    assert before < home.files()
    assert_reads_whole(home)


def test_empty_days_age_no_actions_before_any_day_has_passed(home):
    for n in range(6):
        home.stage(nth(n))
    home.embed(nth(850), scale=3)
    home.stage_empty(nth(900))

    assert gone(run(home)) == {"actions": [f"actions/day={nth(n)}" for n in (0, 1)]}


def test_empty_days_that_passed_age_no_actions(home):
    """Medoids of days without a row pass as long as the window has some."""
    for n in range(4):
        home.day(n)
    for n in range(4, 6):
        home.stage_empty(nth(n))
        home.cluster(nth(n))
        home.validate(nth(n))

    assert "actions" not in gone(run(home))


def test_reports_of_live_days_and_of_waived_days_stay_however_old(ten):
    """They alone say why the day could go live, and who let it."""
    ten.judge(nth(0), {"by": "Ada", "reason": "a holiday"})
    ten.storage.write(f"reports/quality/day={nth(1)}/fedcba9876543210.json",
                      b'{"waived": {"by": "Grace"}}')  # fmt: skip
    release.promote(nth(3), clock, ten.settings)

    report = run(ten)

    assert gone(report)["reports"] == [f"reports/quality/day={nth(n)}" for n in (2, 4)]
    held = kind(report, "reports").held
    assert held == {
        f"reports/quality/day={nth(0)}": "waived by Ada",
        f"reports/quality/day={nth(1)}": "waived by Grace",
        f"reports/quality/day={nth(3)}": f"release {ten.releases.live().number} is live",
    }
    assert ten.storage.exists(f"reports/quality/day={nth(3)}/report.json")


def test_reports_of_the_way_back_stay(ten):
    release.promote(nth(2), clock, ten.settings)
    release.promote(nth(9), clock, ten.settings)

    held = kind(run(ten), "reports").held

    assert "ready for a rollback" in held[f"reports/quality/day={nth(2)}"]


def test_a_report_that_cannot_be_read_stays_and_is_named(ten):
    ten.storage.write(f"reports/quality/day={nth(0)}/report.json", b"{")
    held = kind(run(ten), "reports").held
    assert held == {
        f"reports/quality/day={nth(0)}": "report.json cannot be read: mend or remove it"
    }


@pytest.mark.parametrize(("days", "words"), [(1, "within 1 day"), (2, "within 2 days")])
def test_one_day_of_grace_is_a_day(home, days, words):
    home.settings = change(home.settings, retention={"grace_days": days})
    for n in range(9):
        home.stage(nth(n))

    held = kind(run(home, AT_ONCE), "actions").held

    assert {why.split("which was ")[-1] for why in held.values()} == {f"worked on {words}"}


def test_a_home_without_a_day_keeps_all(tmp_path, small_index):
    home = Home(tmp_path / "new", small_index)
    assert run(home).n_gone == 0
    assert len(home.lake.versions("embeddings")) == 1


def test_what_is_not_ours_is_left_alone(ten):
    for key in ("lake/notes.txt", "lake/actions/README", "lake/mine/day=2020-01-01/data/a.parquet",
                "reports/users/ann.html", "reports/quality/notes/day.txt"):  # fmt: skip
        ten.storage.write(key, b"mine")
    run(ten)
    assert ten.storage.read("lake/mine/day=2020-01-01/data/a.parquet") == b"mine"
    assert len([e for e in ten.storage.list("") if e.size == 4]) >= 5


# --- against others at the same time -------------------------------------------------------------


def test_a_pointer_that_moves_after_the_plan_is_seen(ten, monkeypatch):
    """A person promotes an old day between our look and our first removal."""
    made = retention.plan

    def then_promote(now, settings):
        plan = made(now, settings)
        monkeypatch.setattr(retention, "plan", made)
        release.promote(nth(3), clock, settings)
        return plan

    monkeypatch.setattr(retention, "plan", then_promote)
    run(ten)

    assert ten.releases.live().medoids.day == nth(3)
    assert_reads_whole(ten)


def test_a_pointer_that_moves_between_two_drops_is_seen_where_nothing_can_be_locked(
    ten, monkeypatch
):
    monkeypatch.setattr(Folder, "locked", lambda *_: contextlib.nullcontext())
    drop, dropped = LmdbStore.drop, []

    def then_promote(store, version):
        drop(store, version)
        dropped.append(version)
        if len(dropped) == 1:
            ten.storage.write("lake/keep", b"")
            release.promote(nth(6), clock, ten.settings)

    last = ten.lake.current("medoids", day=nth(6))
    assert last
    monkeypatch.setattr(LmdbStore, "drop", then_promote)
    monkeypatch.setattr(maintain, "retire", lambda *_: True)
    report = run(ten)

    assert ten.releases.live().medoids.day == nth(6)
    assert_reads_whole(ten)
    assert set(dropped) == {item.name for item in kind(report, "key-value versions").gone}
    assert len(dropped) == len(set(dropped)) > 1


def test_others_that_move_the_pointer_again_and_again_end_in_an_error_that_may_pass(
    ten, monkeypatch
):
    before = ten.files()
    monkeypatch.setattr(maintain, "carry_out", lambda *_: False)
    with pytest.raises(TransientError, match="moved by others 5 times"):
        run(ten)
    assert ten.files() == before


def test_a_partition_that_is_worked_on_after_the_plan_stays(ten, monkeypatch):
    made = retention.plan

    def then_stage(now, settings):
        plan = made(now, settings)
        entry = ten.storage.list(f"lake/actions/day={nth(0)}")[0]
        os.utime(ten.storage.local(entry.key), (4.2e9, 4.2e9))
        return plan

    monkeypatch.setattr(retention, "plan", then_stage)
    went = gone(run(ten))

    assert f"actions/day={nth(0)}" not in went["actions"]
    assert nth(0) in ten.lake.days("actions")


def test_a_reader_that_is_open_reads_on(ten):
    release.promote(nth(2), clock, ten.settings)
    with retrieve.open_live(ten.settings) as reader:
        release.promote(nth(9), clock, ten.settings)
        for n in (7, 8, 9):  # pushes the old day off the way back
            release.promote(nth(n), clock, ten.settings)
        old = reader.release.medoids.keyvalue
        run(ten)
        assert old not in ten.keyvalue.versions()
        assert reader.recommend("user").candidates


def killed(home, at):
    """Maintain in a child that is killed -9 at its n-th change; whether it came so far."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    try:
        changes = 0

        def counted(function):
            def call(*args):
                nonlocal changes
                changes += 1
                if changes == at:
                    os.kill(os.getpid(), signal.SIGKILL)
                return function(*args)

            return call

        Folder.remove, Folder.write = counted(Folder.remove), counted(Folder.write)
        Shelf.drop = counted(Shelf.drop)
        run(home)
    finally:
        os._exit(0)


@pytest.mark.slow
def test_killed_at_any_change_readers_see_what_they_saw_and_the_next_run_finishes(ten, tmp_path):
    ten.embed(nth(30), scale=3)
    live = ten.releases.pointer()
    whole = ten.copy(tmp_path / "whole")
    run(whole)
    at, every = 1, int(os.environ.get("MAINTAIN_EVERY", "9"))
    while True:
        home = ten.copy(tmp_path / f"killed-{at}")
        if not killed(home, at):
            break
        assert home.releases.pointer() == live
        assert_reads_whole(home)
        run(home)
        assert home.files() == whole.files(), at
        shutil.rmtree(home.settings.home)
        at += every
    assert at > 50


# --- whatever happened before --------------------------------------------------------------------

DAYS = st.integers(0, 12)
EVENTS = st.one_of(
    st.tuples(st.just("day"), DAYS, st.sampled_from("ab"), st.sampled_from("xy")),
    st.tuples(st.just("published"), DAYS, st.sampled_from("ab")),
    st.tuples(st.just("unreleased"), DAYS, st.sampled_from("ab")),
    st.tuples(st.just("indexed"), DAYS, st.sampled_from("xyz")),
    st.tuples(st.just("embed"), DAYS, st.integers(1, 3)),
    st.tuples(st.just("failed"), DAYS),
    st.tuples(st.just("promote"), DAYS),
    st.tuples(st.just("rollback")),
    st.tuples(st.just("maintain")),
)


def happen(home, what, *args):
    """One thing that people, DAGs and maintenance do; what is refused is refused."""
    if what == "day":
        home.medoids(nth(args[0]), args[1])
        home.index(nth(args[0]), content=args[2])
        release.release_index(nth(args[0]), clock, home.settings)
    elif what == "published":
        home.medoids(nth(args[0]), args[1])
    elif what == "unreleased":
        home.stage(nth(args[0]), args[1])
        home.cluster(nth(args[0]), args[1])
        home.validate(nth(args[0]))
        home.publish(nth(args[0]))
    elif what == "indexed":
        home.index(nth(args[0]), content=args[1])
        release.release_index(nth(args[0]), clock, home.settings)
    elif what == "embed":
        home.embed(nth(args[0]), scale=args[1])
    elif what == "failed":
        home.lake.retire("medoids", day=nth(args[0]))
    elif what == "promote":
        release.promote(nth(args[0]), clock, home.settings)
    else:
        release.rollback(clock, home.settings)


def maintained(home):
    """Maintain, and see that nothing that is kept for somebody has suffered."""
    pointer = home.releases.pointer()
    said = run(home, dry_run=True)
    done = run(home)
    assert done.model_dump(exclude={"dry_run"}) == said.model_dump(exclude={"dry_run"})
    assert run(home).n_gone == 0
    assert home.releases.pointer() == pointer
    for table in ("medoids", "refined"):
        manifests = [home.lake.current(table, day=one) for one in home.lake.days(table)]
        assert all(home.lake.holds(file) for manifest in manifests for file in manifest.files)


def way_back(home):
    """The live release and those of two other days before it."""
    found, at, seen = [], home.releases.live(), []
    while at is not None and (at.medoids in seen or len(seen) <= 2):
        seen = seen if at.medoids in seen else [*seen, at.medoids]
        found.append(at)
        at = None if at.previous is None else home.releases.get(at.previous)
    return found


@pytest.mark.slow
@given(events=st.lists(EVENTS, min_size=4, max_size=20))
@hypothesis_settings(max_examples=int(os.environ.get("MAINTAIN_EXAMPLES", "8")))
def test_whatever_happened_every_release_that_is_kept_opens_and_reads_whole(events, small_index):
    with tempfile.TemporaryDirectory(prefix="maintain-") as folder:
        home = Home(Path(folder) / "home", small_index)
        home.day(3, content="a")
        for what, *args in events:
            if what == "maintain":
                maintained(home)
                continue
            with contextlib.suppress(DataError):  # refused, as it would be for a person
                happen(home, what, *args)
        maintained(home)
        for one in way_back(home):
            home.releases.pointer()
            home.releases.point(Pointer(live=one.number))
            assert_reads_whole(home)


# --- real days -----------------------------------------------------------------------------------


@pytest.mark.slow
def test_after_maintenance_a_user_is_recommended_the_same_and_the_next_day_is_the_same(finished):
    """Days made by the real steps, with all that may go gone."""
    small = {"spare_action_days": 0, "medoids_days": 1, "index_days": 1, "ready_days": 1}
    settings = change(
        finished,
        retention=small | {"reports_days": 1},
        checks={"drift_days": 1, "min_drift_days": 1},
    )
    quietly = lambda *_: None  # noqa: E731
    for n in (1, 2):
        day.run(DAY + timedelta(days=n), clock, settings, quietly)
    other = settings.model_copy(update={"home": settings.home.parent / "untouched"})
    shutil.copytree(settings.home, other.home)
    keyvalue = open_keyvalue(settings)
    with retrieve.open_live(settings) as reader:
        user = next(iter(reader.profiles.items()))[0].decode()
        before = people.recommendation(reader, settings, user, draw=1)

    went = gone(maintain.run(LATER, settings, dry_run=False))

    assert went["medoids"] == [f"medoids/day={DAY}"]
    assert len(went["refined"]) == 2
    assert len(keyvalue.versions()) == 2
    with retrieve.open_live(settings) as reader:
        assert people.recommendation(reader, settings, user, draw=1) == before
    after = [day.run(DAY + timedelta(days=3), clock, s, quietly) for s in (settings, other)]
    assert [r["validate"].version for r in after] == [after[0]["validate"].version] * 2
    assert [r["index"].version for r in after] == [after[0]["index"].version] * 2
    assert not doctor.live(settings).says.startswith("none")


# --- an object store -----------------------------------------------------------------------------


@pytest.mark.timeout(300)
def test_the_same_goes_from_an_object_store(tmp_path, small_index, bucket):
    home = Home(tmp_path / "s3", small_index, lake={"root": bucket.url})
    for n in range(6):
        home.day(n)
    there = Home(tmp_path / "folder", small_index)
    for n in range(6):
        there.day(n)

    on_disk = run(there)
    report = run(home)

    assert gone(report) == gone(on_disk)
    assert home.files() - {"pinnersage.toml"} == there.files()
    assert run(home).n_gone == 0
    assert isinstance(Releases(home.settings).live(), release.Release)
    assert_reads_whole(home)
