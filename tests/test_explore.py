"""Explore: what the page for people is told of a user is what is served, and no more."""

import json
import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import DAY, TINY, change, clock, items_of, source_of

from pinnersage import config, day, explore, init, retrieve, takedown
from pinnersage.errors import DataError
from pinnersage.model import cluster_actions
from pinnersage.stores import open_lake
from pinnersage.synthetic import write

NEXT = DAY + timedelta(days=1)


@pytest.fixture(scope="module")
def two_days(finished_home, tmp_path_factory):
    """A home where ``NEXT`` is live, and ``DAY`` came before it."""
    home = tmp_path_factory.mktemp("two") / "home"
    shutil.copytree(finished_home, home)
    day.run(NEXT, clock, config.load(home), lambda _step, _report: None)
    return config.load(home)


@pytest.fixture
def home(two_days, tmp_path):
    """The same, for a test that writes."""
    shutil.copytree(two_days.home, tmp_path / "own")
    return config.load(tmp_path / "own")


@pytest.fixture(scope="module")
def opened(two_days):
    with retrieve.open_live(two_days) as reader:
        yield reader


def users_of(reader):
    return [key.decode() for key, _ in reader.profiles.items()]


def busiest(reader):
    return max(users_of(reader), key=lambda user: reader.profile(user).n_actions.sum())


def cut(tree, alpha):
    """Nodes that are clusters at a threshold, as sets of leaves: the browser's way, once more."""
    k = len(tree["leaves"])
    nodes = [frozenset([leaf]) for leaf in range(k)]
    alive = set(range(k))
    for i, (a, b, height) in enumerate(tree["merges"]):
        nodes.append(nodes[a] | nodes[b])
        if height <= alpha:
            alive = alive - {a, b} | {k + i}
    return {node: nodes[node] for node in alive}


def block(settings, pin):
    takedown.order("block", str(pin), "ann", "asked", datetime(2026, 4, 7, tzinfo=UTC), settings)


# --- clusters and tree ---------------------------------------------------------------------------


def test_clusters_are_those_that_are_served(opened, two_days):
    for user in users_of(opened):
        profile, seen = opened.profile(user), explore.user(opened, two_days, user)

        assert seen["as_served"]
        rows = seen["clusters"]
        assert [row["pin_id"] for row in rows] == [str(pin) for pin in profile.pin_ids]
        assert [row["n_actions"] for row in rows] == profile.n_actions.tolist()
        assert [row["importance"] for row in rows] == profile.importance.tolist()
        assert sum(row["share"] for row in rows) == pytest.approx(1)
        last = [datetime.fromtimestamp(at / 1e6, UTC) for at in profile.last_acted_at.tolist()]
        assert [row["last_acted_at"][:16] for row in rows] == [
            at.isoformat(" ")[:16] for at in last
        ]


def test_the_tree_cut_at_the_threshold_is_the_published_clusters(opened, two_days):
    for user in users_of(opened):
        seen = explore.user(opened, two_days, user)
        tree = seen["tree"]

        found = cut(tree, seen["merge_threshold"])

        published = {row["pin_id"]: row for row in seen["clusters"]}
        assert {tree["medoids"][node] for node in found} == set(published)
        for node, leaves in found.items():
            row = published[tree["medoids"][node]]
            own = [tree["leaves"][leaf] for leaf in leaves]
            assert sum(leaf["n_actions"] for leaf in own) == row["n_actions"]
            assert sum(leaf["n_pins"] for leaf in own) == row["n_pins"]
            assert sum(leaf["importance"] for leaf in own) == pytest.approx(row["importance"])
            assert min(leaf["first_acted_at"] for leaf in own) == row["first_acted_at"]
            assert max(leaf["last_acted_at"] for leaf in own) == row["last_acted_at"]
            assert min(leaf["age_days"] for leaf in own) == row["age_days"]


def test_a_heavy_user_has_fewer_leaves_and_the_same_clusters(opened, two_days, monkeypatch):
    user = busiest(opened)
    whole = explore.user(opened, two_days, user)
    n_clusters = len(whole["clusters"])
    monkeypatch.setattr(explore, "MOST_LEAVES", n_clusters)
    seen = explore.user(opened, two_days, user)

    assert whole["tree"]["leaf_height"] == 0
    assert len(whole["tree"]["leaves"]) > n_clusters
    assert len(seen["tree"]["leaves"]) <= n_clusters
    assert seen["clusters"] == whole["clusters"]
    found = cut(seen["tree"], seen["merge_threshold"])
    assert {seen["tree"]["medoids"][node] for node in found} == {
        row["pin_id"] for row in seen["clusters"]
    }


def test_an_answer_is_strict_json_whose_ids_are_text(opened, two_days):
    seen = json.loads(json.dumps(explore.user(opened, two_days, busiest(opened)), allow_nan=False))

    named = {row["pin_id"] for row in seen["clusters"]} | set(seen["tree"]["medoids"])
    for row in seen["recommendations"]["rows"]:
        named |= {row["medoid"]} | {found["pin_id"] for found in row["candidates"]}
    named |= {row["pin_id"] for row in seen["yesterday"]["clusters"]}
    assert all(isinstance(pin, str) for pin in named)
    assert named == set(seen["pins"])
    assert all(pin["title"] for pin in seen["pins"].values())
    assert (seen["release"], seen["day"]) == (opened.release.number, str(NEXT))


def test_the_same_question_has_the_same_answer(two_days):
    def asked():
        with retrieve.open_live(two_days) as reader:
            return json.dumps(explore.user(reader, two_days, busiest(reader), draw=3))

    assert asked() == asked()


def test_text_ids_and_images_come_as_they_are(tmp_path):
    world = tmp_path / "world"
    write(replace(TINY, id_type="text"), world)
    pins = pq.read_table(world / "pins.parquet")
    urls = pa.array([f"https://images.example/{pin}.jpg" for pin in pins["pin_id"].to_pylist()])
    pins = pins.set_column(pins.schema.get_field_index("image_url"), "image_url", urls)
    pq.write_table(pins, world / "pins.parquet")
    items = items_of(world).model_copy(update={"image_url": "image_url"})
    init.run(tmp_path / "home", source_of(world), items)
    settings = config.load(tmp_path / "home")
    day.run(DAY, clock, settings, lambda _step, _report: None)

    with retrieve.open_live(settings) as reader:
        seen = explore.user(reader, settings, busiest(reader))

    assert seen["as_served"]
    assert all(
        pin["image_url"] == f"https://images.example/{name}.jpg"
        for name, pin in seen["pins"].items()
    )


def test_settings_that_have_changed_since_are_seen(opened, two_days):
    other = change(two_days, model={"merge_threshold": 1000.0})

    assert not explore.user(opened, other, busiest(opened))["as_served"]


def test_the_actions_are_those_of_the_release_whatever_came_after(home):
    with retrieve.open_live(home) as reader:
        user = busiest(reader)
        before = explore.user(reader, home, user)
        lake = open_lake(home)
        for back in range(5):
            lake.retire("actions", day=DAY - timedelta(days=back))
        lake.retire("medoids", day=NEXT)

        after = explore.user(reader, home, user)

    assert after["clusters"] == before["clusters"]
    assert after["tree"] == before["tree"]


def test_an_unknown_user_is_an_error_that_says_so(opened, two_days):
    for user in ("nobody", "1", " ", "0" + busiest(opened)):
        with pytest.raises(DataError, match="or no such user"):
            explore.user(opened, two_days, user)


def test_a_users_bucket_is_the_one_that_stage_chose(opened, two_days):
    lake = open_lake(two_days)
    sql = "SELECT (md5_number($user::VARCHAR) >> 64)::UBIGINT % 4"
    with duckdb.connect() as con:
        for user in [*users_of(opened), "ünï", "a" * 300]:
            ((expected,),) = con.sql(sql, params={"user": user}).fetchall()
            assert lake.layout.bucket_of(user) == expected
    manifest = lake.require("medoids", "", day=NEXT)
    for user in users_of(opened):
        assert len(explore.medoids_of(lake, manifest, user)) == len(opened.profile(user))


# --- recommendations -----------------------------------------------------------------------------


@pytest.mark.parametrize("allocation", ["equal", "proportional", "round_robin"])
def test_recommendations_are_those_of_the_draw_under_the_medoid_that_brought_them(
    opened, two_days, monkeypatch, allocation
):
    user = busiest(opened)
    config = two_days.retrieval.model_copy(update={"allocation": allocation})
    monkeypatch.setattr(opened, "config", config)
    asked = set()
    for draw in range(4):
        made = opened.recommend(user, draw=draw)
        seen = explore.user(opened, two_days, user, draw=draw)["recommendations"]

        asked.add(tuple(made.medoids))
        assert seen["allocation"] == allocation
        shown = [str(pin) for pin in made.medoids][: explore.MOST_ROWS]
        assert [row["medoid"] for row in seen["rows"]] == shown
        assert seen["n_candidates"] == len(made.candidates)
        of_shown = sum(str(c.medoid) in shown for c in made.candidates)
        assert sum(row["n_candidates"] for row in seen["rows"]) == of_shown
        for row in seen["rows"]:
            brought = [c for c in made.candidates if str(c.medoid) == row["medoid"]]
            shown = [(c["pin_id"], c["cosine"]) for c in row["candidates"]]
            assert shown == [
                (str(c.pin_id), pytest.approx(c.cosine, abs=1e-6))
                for c in brought[: explore.MOST_CANDIDATES]
            ]
    assert (len(asked) > 1) == (allocation == "equal"), "the draw is of the sampled alone"


def test_what_was_searched_for_and_what_was_remembered_is_told(two_days):
    with retrieve.open_live(two_days) as reader:
        user = busiest(reader)
        first = explore.user(reader, two_days, user)["recommendations"]
        second = explore.user(reader, two_days, user)["recommendations"]

    n_rows = min(first["n_medoids"], explore.MOST_ROWS)
    assert [row["searched"] for row in first["rows"]] == [True] * n_rows > []
    assert [row["searched"] for row in second["rows"]] == [False] * n_rows


def test_all_medoids_asked_are_counted_and_some_shown(home, monkeypatch):
    monkeypatch.setattr(explore, "MOST_ROWS", 2)
    settings = change(home, retrieval={"allocation": "proportional"})
    with retrieve.open_live(settings) as reader:
        user = busiest(reader)
        seen = explore.user(reader, settings, user)["recommendations"]
        assert seen["n_medoids"] == len(reader.profile(user)) > 2

    assert len(seen["rows"]) == 2


def test_a_release_without_an_index_shows_the_rest(home):
    with retrieve.open_live(home) as reader:
        reader.release = reader.release.model_copy(update={"index": None})
        seen = explore.user(reader, home, busiest(reader))

    assert seen["recommendations"] is None
    assert seen["clusters"]


# --- what is blocked -----------------------------------------------------------------------------


def test_a_blocked_pin_is_nowhere_in_the_answer(home):
    with retrieve.open_live(home) as reader:
        user = busiest(reader)
        seen = explore.user(reader, home, user)
        candidate = seen["recommendations"]["rows"][0]["candidates"][0]["pin_id"]
        medoid = seen["clusters"][1]["pin_id"]
        leaf = next(pin for pin in seen["tree"]["medoids"] if pin not in {candidate, medoid})
        gone = {candidate, medoid, leaf}
        titles = [seen["pins"][pin]["title"] for pin in gone]
        for pin in gone:
            block(home, pin)

    with retrieve.open_live(home) as reader:
        after = explore.user(reader, home, user)

    text = json.dumps(after)
    assert not [pin for pin in gone if pin in text]
    assert not [title for title in titles if title in text]
    assert None in after["tree"]["medoids"]
    assert after["as_served"]
    kept = [row["pin_id"] for row in seen["clusters"] if row["pin_id"] not in gone]
    assert [row["pin_id"] for row in after["clusters"]] == kept
    assert [row["rank"] for row in after["clusters"]] == list(range(len(kept)))
    assert [m[2] for m in after["tree"]["merges"]] == [m[2] for m in seen["tree"]["merges"]]
    for row in after["yesterday"]["clusters"]:
        if row["now"] is not None:
            assert 0 <= row["now"] < len(kept)


def test_nothing_is_shown_of_a_user_whose_medoids_are_all_blocked(home):
    with retrieve.open_live(home) as reader:
        user = busiest(reader)
        for pin in reader.profile(user).pin_ids:
            block(home, pin)
    with retrieve.open_live(home) as reader, pytest.raises(DataError, match="is blocked"):
        explore.user(reader, home, user)


# --- yesterday -----------------------------------------------------------------------------------


def medoids_by_user(lake, day):
    manifest = lake.current("medoids", day=day)
    rows = duckdb.read_parquet(lake.paths(manifest)).to_arrow_table().to_pylist()
    found = {}
    for row in sorted(rows, key=lambda row: row["rank"]):
        found.setdefault(str(row["user_id"]), []).append(row)
    return found


def test_yesterdays_clusters_are_found_where_their_medoids_are_now(opened, two_days):
    lake, table = open_lake(two_days), opened.embeddings
    before = medoids_by_user(lake, DAY)
    n_new = 0
    for user in users_of(opened):
        seen = explore.user(opened, two_days, user)
        actions = explore.read_actions(lake, opened, two_days, user)
        found = cluster_actions(table.matrix, actions.ages_days, actions.rows, 1.0)
        pins = table.pin_ids.take(actions.rows).to_pylist()
        own = before.get(user, [])
        rows = seen["yesterday"]["clusters"]

        assert [row["pin_id"] for row in rows] == [str(row["pin_id"]) for row in own]
        assert [row["n_actions"] for row in rows] == [row["n_actions"] for row in own]
        for row, then in zip(rows, own, strict=True):
            holds = {int(found.labels[i]) for i, pin in enumerate(pins) if pin == then["pin_id"]}
            assert holds == ({row["now"]} if row["now"] is not None else set())
        n_new += len(seen["clusters"]) - len({row["now"] for row in rows} - {None})
    assert n_new > 0, "a world in which nothing changes shows nothing"


def test_a_first_day_has_no_yesterday(finished):
    with retrieve.open_live(finished) as reader:
        assert explore.user(reader, finished, busiest(reader))["yesterday"] is None


def test_a_user_who_was_not_there_yesterday_has_new_clusters_only(home):
    """A whole day of medoids without her: her window began today."""
    lake = open_lake(home)
    with retrieve.open_live(home) as reader:
        user = busiest(reader)
        manifest = lake.current("medoids", day=DAY)
        bucket = lake.layout.bucket_of(user)
        files = tuple(file for file in manifest.files if file.bucket != bucket)
        lake.commit(manifest.model_copy(update={"files": files}))

        seen = explore.user(reader, home, user)

    assert seen["yesterday"]["clusters"] == []


# --- the page's files ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", explore.FILES)
def test_a_file_of_the_page_loads_nothing_from_elsewhere(name):
    text = explore.file(name).decode()
    addresses = set(re.findall(r"https?://[^\s\"'`)]+", text))

    assert addresses <= {"http://www.w3.org/2000/svg"}  # the name of a format
    assert "@import" not in text
    assert "url(" not in text


def test_the_page_has_nothing_inline():
    page, script = (explore.file(name).decode() for name in ("explore.html", "explore.js"))

    assert not re.findall(r"<script(?![^>]*\bsrc=)|<style|\bstyle=|\son[a-z]+=", page)
    assert not re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", script)
    assert 'setAttribute("style"' not in script
