"""Command line: every command, what it prints for a person and a machine, and how it fails."""

import json
import os
import shutil
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer
from pydantic import BaseModel
from worlds import DAY, NOW

from pinnersage import cli, config, maintain, pages, stores, tables
from pinnersage.online import consume
from pinnersage.online import state as online_state
from pinnersage.online.current import micros
from pinnersage.online.state import Action
from pinnersage.release import Releases
from pinnersage.serve import keys
from pinnersage.stores import embeddings

COMMANDS = typer.main.get_command(cli.app).commands


@pytest.fixture
def call(monkeypatch, capsys):
    """Call the command line in this process: (exit code, standard output, error output)."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pinnersage", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        return ended.value.code or 0, out, err

    return run


@pytest.fixture
def home(finished):
    return finished.home


@pytest.fixture
def user(finished):
    from pinnersage.stores import open_keyvalue

    store = open_keyvalue(finished)
    with store.open(store.versions()[0]) as reader:
        return next(iter(reader.items()))[0].decode()


def test_the_commands_of_the_readme_are_there():
    assert COMMANDS.keys() >= {*QUESTIONS, "init", "synthetic", "rollback"}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(name, call):
    code, out, _ = call(name, "--help")

    assert code == 0
    assert COMMANDS[name].help in " ".join(out.split())
    for option in COMMANDS[name].params:
        assert not isinstance(option, typer.core.TyperOption) or option.help, option.name


def test_without_a_command_the_commands_are_shown(call):
    code, out, err = call()

    assert code in {0, 2}
    assert all(name in out + err for name in COMMANDS)


QUESTIONS = {
    "stage": ["--day", DAY],
    "cluster": ["--day", DAY],
    "parity": ["--day", DAY],
    "maintain": ["--dry-run"],
    "sweep": ["--day", DAY, "--merge-thresholds", "0.5,2", "--bucket", 1],
    "evaluate-release": ["--day", DAY],
    "validate": ["--day", DAY],
    "publish": ["--day", DAY],
    "refine": ["--day", DAY],
    "index": ["--day", DAY],
    "release": ["--day", DAY],
    "releases": [],
    "promote": [DAY],
    "diff": [DAY, DAY],
    "doctor": [],
    "tables": [],
    "run": ["--day", DAY],
    "embed": ["--before", DAY, "--dimensions", 4],
    "show": ["USER"],
    "recommend": ["USER", "--draw", 1],
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_a_machine_gets_the_same_facts_as_json(name, call, home, user):
    words = [user if word == "USER" else word for word in QUESTIONS[name]]

    code, out, err = call(name, *words, "--home", home, "--json")

    assert (code, err) == (0, "")
    facts = json.loads(out)
    assert facts
    if name == "run":
        assert len(facts["cluster"]) == 4
    if name == "cluster":
        assert [part["bucket"] for part in facts] == [0, 1, 2, 3]
    if name in {"show", "recommend"}:
        assert facts["user_id"] == user


GREETED = (
    "stage", "cluster", "parity", "sweep", "evaluate-release", "publish", "releases", "diff",
    "doctor",
)  # fmt: skip


@pytest.mark.parametrize("name", GREETED)
def test_a_person_gets_lines(name, call, home):
    code, out, err = call(name, *QUESTIONS[name], "--home", home)

    assert (code, err) == (0, "")
    assert str(DAY) in out
    assert "{" not in out


def test_maintain_says_that_a_list_is_cut_only_where_it_is(call, home, finished, monkeypatch):
    words = ["maintain", "--dry-run", "--home", home]
    assert "of a kind are listed" not in call(*words)[1]
    unknown = "2020-01-01-0123456789abcdef"
    stores.open_keyvalue(finished).write(unknown, [(b"k", b"v")], {})
    assert unknown in call(*words)[1]

    monkeypatch.setattr(maintain, "SHOWN", 0)

    said = call(*words)[1]
    assert unknown not in said
    assert "At most 0 of a kind are listed" in said


def test_features_are_written_for_points(call, home, user, tmp_path, monkeypatch):
    at = pa.array([datetime(2026, 6, 1, 1, tzinfo=UTC)] * 2, pa.timestamp("us", "UTC"))
    pq.write_table(pa.table({"who": [int(user), -5], "shown": at}), tmp_path / "points.parquet")
    words = ["--points", tmp_path / "points.parquet", "--user", "who", "--time", "shown"]
    wide = ("--home", home, "--to", tmp_path / "features.parquet")

    code, out, err = call("features", *words, *wide, "--json")

    assert (code, err) == (0, "")
    assert json.loads(out)["without"] == {"too_old": 2}, "DAY is two months before"
    assert pq.read_table(tmp_path / "features.parquet")["who"].to_pylist() == [int(user), -5]
    monkeypatch.setenv("PINNERSAGE__FEATURES__MAX_AGE_DAYS", "90")
    code, out, _ = call("features", *words, *wide)
    assert "with medoids: 1" in out
    assert "without: unknown user 1" in out


@pytest.fixture
def evaluated(home, monkeypatch):
    """Words that evaluate two days of the tiny world, chosen on the two before."""
    monkeypatch.setenv("PINNERSAGE__EVALUATION__HISTORY_DAYS", "9")
    monkeypatch.setenv("PINNERSAGE__EVALUATION__MERGE_THRESHOLDS", "[0.5, 1.0]")
    monkeypatch.setenv("PINNERSAGE__MODEL__WINDOW_DAYS", "9")
    days = ["--test-days", 2, "--tuning-days", 2, "--n-candidates", 20]
    return ["evaluate", "--until", DAY, *days, "--home", home]


def test_an_evaluation_is_printed_in_short_and_told_to_machines(call, evaluated, home):
    code, out, err = call(*evaluated)

    assert code == 0
    assert out.startswith("# ")
    tables = [line for line in out.splitlines() if line.startswith("|")]
    assert any("Recall on new pins" in line for line in tables)
    assert {line[-1] for line in tables} == {"|"}, "a row is a line, however long"
    assert "measuring PinnerSage" in err, "what is under way does not mix with what is found"
    page = home / out.split("as a page:")[1].strip()
    assert page.read_bytes().startswith(b"<!doctype html>")

    code, out, err = call(*evaluated, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["test_days"] == [str(DAY - timedelta(days=1)), str(DAY)]
    assert facts["tuning_days"] == [str(DAY - timedelta(days=n)) for n in (3, 2)]
    assert facts["n_candidates"] == 20
    assert json.loads((page.parent / "report.json").read_text()) == facts


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (["--test-days", 0], "test_days"),
        (["--n-candidates", -1], "n_candidates"),
        (["--until", "2020-06-01"], "No version of embeddings is valid on 2020-05-29"),
        (["--until", "yesterday"], "yesterday"),
        (["--until", NOW.date()], "is not over"),
    ],
)
def test_what_cannot_be_evaluated_is_said_in_a_line(call, evaluated, wrong, said, monkeypatch):
    monkeypatch.setattr(cli, "clock", lambda: NOW)
    code, out, err = call(*evaluated, *wrong)
    assert (code in {1, 2}, out) == (True, "")
    assert said in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_embeddings_are_withdrawn_by_name(call, home, finished):
    lake = stores.open_lake(finished)
    first = lake.versions("embeddings")[0].partition["version"]
    table = embeddings.named(lake, first)
    other = np.roll(np.asarray(table.matrix, np.float32), 1, axis=1)
    made = stores.embeddings.write(
        lake, table.pin_ids, other, valid_from=DAY, first_day=DAY, max_bad_share=0.0
    )

    code, out, _ = call("withdraw", made.version, "--home", home)
    assert (code, f"In their place: {first}" in out) == (0, True)
    code, out, _ = call("withdraw", made.version, "--home", home, "--json")
    assert json.loads(out) == {"withdrawn": made.version, "instead": first}
    assert "withdrawn" in pages.render(
        "tables.html.j2",
        {"report": tables.run(NOW, finished), "now": NOW},
    ).decode()  # fmt: skip


def test_init_and_synthetic_print_what_they_made(call, tmp_path):
    world = ["--users", 5, "--pins", 40, "--topics", 4, "--dimensions", 8, "--days", 3]
    code, out, _ = call("synthetic", tmp_path / "w", "--first-day", "2026-01-01", *world, "--json")
    assert code == 0
    assert json.loads(out)["n_users"] == 5

    code, out, _ = call(
        "init", "--home", tmp_path / "home", "--actions", tmp_path / "w" / "actions",
        "--items", tmp_path / "w" / "pins.parquet", "--quality", "quality", "--json",
        "--embeddings", tmp_path / "w" / "embeddings.npy",
    )  # fmt: skip
    assert code == 0
    facts = json.loads(out)
    assert facts["pins"] == facts["embeddings"]["pins"] == 40
    assert config.load(tmp_path / "home").source.actions == str(tmp_path / "w" / "actions")


def test_parity_names_the_users_who_agree_least(call, home):
    before, run = (["--day", f"2026-04-0{n}", "--home", home] for n in (6, 7))
    for step, words in (
        ("stage", before),
        ("cluster", before),
        ("validate", before),
        ("stage", run),
    ):
        assert call(step, *words)[0] == 0

    code, out, _ = call("parity", *run)
    facts = json.loads(call("parity", *run, "--json")[1])

    assert code == 0
    users, worst = out.split("Who agree least")
    assert f"users {facts['all_users']['users']}" in users
    assert len(worst.strip().splitlines()) > 1
    assert "user_id" not in json.dumps(facts)


def test_rollback_and_promote_move_the_pointer(call, home):
    code, _, err = call("rollback", "--home", home)
    assert code == 1
    assert "has no index" in err

    call("refine", "--day", "2026-04-06", "--home", home)
    run = ["--day", "2026-04-06", "--home", home]
    for step in ("stage", "cluster", "validate", "publish", "release"):
        assert call(step, *run)[0] == 0
    assert json.loads(call("releases", "--home", home, "--json")[1])["live"] == 3

    code, out, _ = call("rollback", "--home", home, "--json")
    assert code == 0
    assert json.loads(out)["live"]["medoids"]["day"] == str(DAY)
    _, out, _ = call("releases", "--home", home)
    assert "withdrawn" in out
    assert json.loads(call("release", *run, "--json")[1])["moved"] is False
    assert json.loads(call("promote", "2026-04-06", "--home", home, "--json")[1])["moved"] is True


def test_a_pin_is_taken_down_and_shown_again(call, home, user):
    def pins():
        made = json.loads(call("recommend", user, "--home", home, "--json")[1])
        return [c["pin_id"] for c in made["candidates"]]

    pin, who = pins()[0], ("--by", "ann", "--reason", "asked for")
    assert call("blocked", "--home", home)[1].strip() == "No pin is blocked."

    code, out, _ = call("block", pin, *who, "--home", home)
    assert code == 0
    assert "blocked" in out
    assert pin not in pins()
    (order,) = json.loads(call("blocked", "--home", home, "--json")[1])
    assert (order["pin"], order["by"], order["reason"]) == (str(pin), "ann", "asked for")
    assert f"{pin}" in call("blocked", "--home", home)[1]
    assert json.loads(call("block", pin, *who, "--home", home, "--json")[1])["changed"] is False

    assert call("unblock", pin, *who, "--home", home)[0] == 0
    assert pin in pins()
    assert call("block", pin, "--by", "ann", "--home", home)[0] == 2
    code, _, err = call("block", "no number", *who, "--home", home)
    assert (code, "whole numbers of 64 bits" in err) == (1, True)


def test_the_first_medoids_asked_are_named_and_the_others_counted(call, home, user, monkeypatch):
    monkeypatch.setattr(cli, "MOST_NAMED", 2)
    made = json.loads(call("recommend", user, "--home", home, "--json")[1])["medoids"]
    code, out, _ = call("recommend", user, "--top", 1, "--home", home)
    said = " ".join(out.split())
    n, names = len(made), [medoid["title"] for medoid in made]

    assert (code, n > 2) == (0, True)
    assert f"Medoids asked: {names[0]}, {names[1]} and {n - 2} more" in said
    assert "draw" not in said
    sample = ("--allocation", "equal", "--draw", 1)
    assert ", draw 1. Medoids asked:" in call("recommend", user, *sample, "--home", home)[1]


def test_a_request_s_wishes_are_followed(call, home, user):
    def recommended(*words):
        return json.loads(call("recommend", user, *words, "--home", home, "--json")[1])

    plain, known = recommended(), json.loads(call("show", user, "--home", home, "--json")[1])
    first = plain["candidates"][0]
    wishes = ("--allocation", "round_robin", "--exclude", first["pin_id"], "--exclude", "no pin")
    made = recommended(*wishes, "--min-cosine", first["cosine"] / 2, "--relevance", 0.5)

    assert [m["pin_id"] for m in made["medoids"]] == [c["pin_id"] for c in known["clusters"]]
    assert made["candidates"]
    assert first["pin_id"] not in {c["pin_id"] for c in made["candidates"]}
    assert min(c["cosine"] for c in made["candidates"]) >= first["cosine"] / 2
    assert call("recommend", user, "--relevance", 2, "--home", home)[0] == 2


def test_a_request_may_ask_for_fresh_pins_and_for_topics(call, home, user, tiny):
    world = {row["pin_id"]: row for row in pq.read_table(tiny / "pins.parquet").to_pylist()}
    topics = sorted({row["topic"] for row in world.values()})[:3]
    end = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(days=1)
    words = ["--fresh-days", 150, "--home", home, "--json"]
    for topic in topics:
        words += ["--topic", topic]

    made = json.loads(call("recommend", user, *words)[1])

    pins = [world[c["pin_id"]] for c in made["candidates"]]
    assert pins
    assert {pin["topic"] for pin in pins} <= set(topics)
    assert min(pin["created_at"] for pin in pins) >= end - timedelta(days=150)
    assert call("recommend", user, "--fresh-days", 0, "--home", home)[0] == 2


def test_what_is_new_since_the_release_is_said(call, home, user, monkeypatch):
    later = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC) + timedelta(hours=36)
    monkeypatch.setattr(cli, "clock", lambda: later)
    _, before, _ = call("show", user, "--home", home)
    top = json.loads(call("show", user, "--json", "--home", home)[1])["clusters"][0]["pin_id"]
    acted = [
        Action(micros(later) - i, str(pin), online_state.event_of(f"e{i}"))
        for i, pin in enumerate([top, top])
    ]
    packed = online_state.pack(online_state.merged((), acted, 20))
    with stores.open_states(config.load(home)) as states:
        states.change([user.encode()], lambda _: {user.encode(): packed})

    _, shown, _ = call("show", user, "--home", home)
    _, recommended, _ = call("recommend", user, "--home", home)

    assert f"Nothing that counts was done since {DAY}." in before
    for told in (shown, recommended):
        assert f"The release of {DAY}, with 2 actions since." in told
        assert "grown since" in told
    assert shown.count("grown since") == 1


def test_a_person_is_shown_clusters_and_candidates_with_titles(call, home, user, tmp_path):
    known = json.loads(call("show", user, "--home", home, "--json")[1])
    made = json.loads(call("recommend", user, "--home", home, "--json")[1])

    _, shown, _ = call("show", user, "--home", home, "--html", tmp_path / "show.html")
    _, recommended, _ = call("recommend", user, "--home", home, "--top", 3)

    assert all(row["title"] in shown for row in known["clusters"])
    assert all(row["title"] in recommended for row in made["candidates"][:3])
    assert made["candidates"][5]["title"] not in recommended
    page = (tmp_path / "show.html").read_text()
    assert known["clusters"][0]["title"] in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert "https://" not in page


def test_a_title_is_printed_as_it_is_whatever_is_in_it(call, home, user):
    title = "[/knit] [red]hats[/red] :smile: <b>"
    (path,) = (home / "lake" / "pins").glob("*/data/*.parquet")
    table = pq.read_table(path)
    titles = pa.array([title] * len(table))
    place = table.schema.get_field_index("title")
    pq.write_table(table.set_column(place, "title", titles), path)

    for words in (["show", user], ["recommend", user]):
        code, out, err = call(*words, "--home", home)
        assert (code, err) == (0, "")
        assert title in out


FAILURES = {
    "no home": (["releases", "--home", "HOME/none"], "does not exist. Make it with"),
    "no user": (["recommend", "nobody"], "User nobody has no clusters on 2026-04-05"),
    "no user to show": (["show", "nobody"], "or no such user"),
    "bucket": (["cluster", "--day", DAY, "--bucket", 9], "Bucket 9 is not one of 0 to 3"),
    "thresholds": (["sweep", "--day", DAY, "--merge-thresholds", "a,2"], "not a number: 'a'; give"),
    "swept": (["sweep", "--day", DAY, "--bucket", 9], "Bucket 9 is not one of 0 to 3"),
    "what": (["release", "--day", DAY, "--what", "pins"], "it is medoids or index"),
    "not published": (["promote", "2026-01-09"], "2026-01-09 is not published"),
    "not staged": (["cluster", "--day", "2026-04-07"], "Run first: pinnersage stage"),
    "no day": (["diff", DAY, "2026-01-09"], "Run first: pinnersage run --day 2026-01-09"),
    "nothing before": (["embed", "--before", "2020-01-01"], "2020-01-01"),
    "no file": (["stage", "--day", "2026-08-01"], "no Parquet file there"),
}


@pytest.mark.parametrize("why", FAILURES)
def test_an_error_is_one_paragraph_on_the_error_output_and_exit_code_1(why, call, home):
    words, expected = FAILURES[why]
    words = [str(word).replace("HOME", str(home)) for word in words]
    if "--home" not in words:
        words += ["--home", home]
    if why == "no file":
        by_day = (
            (home / "pinnersage.toml").read_text().replace('/actions"', '/actions/{day}.parquet"')
        )
        (home / "pinnersage.toml").write_text(by_day)

    code, out, err = call(*words)

    assert code == 1
    assert out == ""
    assert err.startswith("Error: ")
    assert expected in err
    assert "Traceback" not in err
    assert err.strip().count("\n") == 0


def test_an_unknown_setting_is_named(call, home):
    path = home / "pinnersage.toml"
    path.write_text(path.read_text().replace("min_quality", "min_kwality"))

    code, _, err = call("doctor", "--home", home)

    assert code == 1
    assert "index.min_kwality" in err
    assert "pinnersage.toml" in err


def test_settings_that_are_no_toml_are_named(call, home):
    (home / "pinnersage.toml").write_text("[lake\n")

    code, _, err = call("doctor", "--home", home)

    assert code == 1
    assert "not valid TOML" in err


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01", "01.02.2026", ""])
def test_a_day_that_is_none_is_refused_before_anything_is_done(text, call, home):
    code, _, err = call("stage", "--day", text, "--home", home)

    assert code == 2
    assert "is not a day like 2026-01-31" in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_a_home_that_nobody_named_is_asked_for(call):
    code, _, err = call("releases")

    assert code == 1
    assert "PINNERSAGE_HOME is not set" in err


def test_the_home_may_come_from_the_environment(call, home, monkeypatch):
    monkeypatch.setenv("PINNERSAGE_HOME", str(home))

    assert call("releases")[0] == 0


def test_the_doctor_exits_with_1_when_something_is_amiss(call, home):
    shutil.rmtree(home / "releases")

    code, out, _ = call("doctor", "--home", home, "--json")

    assert code == 1
    assert not json.loads(out)[-1]["good"]


# As a person starts it: a process of its own.


def start(*words, **environment):
    program = Path(sys.executable).with_name("pinnersage")
    return subprocess.run(
        [program, *map(str, words)],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_the_installed_program_answers(home):
    done = start("releases", "--json", PINNERSAGE_HOME=str(home))

    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["live"] == 2


def test_the_installed_program_fails_in_one_paragraph(home):
    done = start("recommend", "nobody", "--home", home)

    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("Error: User nobody")
    assert "Traceback" not in done.stderr


# --- keys of the service -------------------------------------------------------------------------


def test_a_key_is_alone_on_a_line_of_the_output_and_shown_once(call, finished):
    home = ("--home", finished.home)
    _, out, err = call("add-key", "web", *home)
    (key,) = out.split()
    assert keys.Doorkeeper(keys.record_of(finished)).key_of(key).name == "web"
    assert "it is shown" in err
    assert key not in call("keys", *home)[1]
    assert "web  reader  since" in call("keys", *home)[1]

    call("remove-key", "web", *home)

    assert keys.Doorkeeper(keys.record_of(finished)).key_of(key) is None
    assert "No key yet" in call("keys", *home)[1]


def test_a_key_for_a_machine(call, finished):
    _, out, _ = call("add-key", "boss", "--role", "admin", "--json", "--home", finished.home)
    told = json.loads(out)
    assert (told["name"], told["role"]) == ("boss", "admin")
    (kept,) = json.loads(call("keys", "--json", "--home", finished.home)[1])
    assert kept["sha256"] == keys.digest(told["key"])


def test_what_is_empty_has_no_line(capsys):
    class Report(BaseModel):
        nothing: str = ""
        left_out: dict[str, int] = {}
        release: int | None = None
        cases: int = 0

    cli.tell(Report(), as_json=False)
    assert capsys.readouterr().out == "  release: none\n  cases: 0\n"


@pytest.mark.service
def test_events_are_consumed_until_none_waits_and_refused_ones_are_listed_and_given_back(
    call, home, redis_url, monkeypatch
):
    from pinnersage.online.redis_source import RedisSender
    from pinnersage.stores.packing import key_of

    monkeypatch.setattr(cli, "clock", lambda: NOW)
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # this process is pytest's
    monkeypatch.setenv("PINNERSAGE__ONLINE__SOURCE", "redis")
    monkeypatch.setenv("PINNERSAGE__ONLINE__URL", redis_url)
    settings = config.load(home)
    lake = stores.open_lake(settings)
    table = embeddings.named(lake, Releases(settings).live().embeddings)
    event = {"user_id": 5, "pin_id": table.pin_ids[0].as_py(), "action": "repin"}
    event |= {"acted_at": NOW.isoformat()}
    unknown = event | {"pin_id": 1, "event_id": "[red]\x1b[31mx"}
    sender = RedisSender(redis_url, 4, 100)
    sender.client.flushall()
    sender.send([("5", json.dumps(one).encode()) for one in (event, event, unknown)])

    monkeypatch.setattr(consume, "ALIVE_SECONDS", 0)
    alive = home / "alive"
    assert call("consume", "--until-empty", "--alive", alive, "--home", home)[0] == 0
    assert alive.exists()
    with stores.open_states(settings) as states:
        (value,) = states.get_many([key_of(5)])
    assert len(online_state.unpack(value)) == 1, "twice the same is once"
    code, out, err = call("dead-letters", "--home", home)
    assert (code, err) == (0, "")
    assert "Dead letters: unknown_pin 1" in out
    assert "[red]" in out
    assert "\x1b" not in out
    facts = json.loads(call("dead-letters", "--newest", 1, "--home", home, "--json")[1])
    assert json.loads(facts["newest"][0]["data"]) == unknown

    code, out, _ = call("dead-letters", "--again", "unknown_pin", "--home", home, "--json")
    assert (code, json.loads(out)) == (0, {"reason": "unknown_pin", "events": 1})
    assert "none" in call("dead-letters", "--home", home)[1]
    assert sender.client.xlen("pinnersage:events:dead") == 0
    code, _, err = call("dead-letters", "--again", "oversized", "--home", home)
    assert code == 1
    assert "cannot be given back" in err


@pytest.mark.parametrize("name", ["consume", "dead-letters"])
def test_where_the_service_takes_events_itself_there_is_nothing_to_consume(
    name, call, home, monkeypatch
):
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    code, out, err = call(name, "--home", home)
    assert (code, out) == (1, "")
    assert "online.source is http" in err
