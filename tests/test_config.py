"""Config: settings know their limits, and say which key is wrong."""

import tomllib
from pathlib import Path

import pytest

from pinnersage import config
from pinnersage.config import Settings
from pinnersage.errors import ConfigError

HOME = Path("/home-of-a-test")
SECTIONS = {
    name: field.annotation for name, field in Settings.model_fields.items() if name != "home"
}
KEYS = [(name, key) for name, section in SECTIONS.items() for key in section.model_fields]


@pytest.mark.parametrize(("section", "key"), KEYS, ids=".".join)
def test_every_key_is_described_in_the_file(section, key):
    described = config.descriptions(SECTIONS[section])[key]
    assert described.endswith(".")
    lines = config.to_toml().splitlines()
    at = next(
        i
        for i, line in enumerate(lines)
        if line.startswith(f"{key} = ") and f"[{section}]" in sections_above(lines, i)
    )
    assert lines[at - 1] == f"# {described}"


def sections_above(lines, at):
    return [line for line in lines[:at] if line.startswith("[")][-1:]


@pytest.mark.parametrize(
    "actions",
    [
        "",
        "/a/b.parquet",
        "/with space/{day}/*.parquet",
        'C:\\odd "quoted"\\#.parquet',
        "a\tb\nc\x7fé",
    ],
)
def test_settings_survive_the_file(actions):
    values = {
        "source": {"actions": actions, "interest_actions": ["save", 'say "hi"']},
        "model": {"merge_threshold": 1e-7, "decay_per_day": 0.0},
        "run": {"memory_limit": "1.5GB"},
    }
    settings = config.build(HOME, values)
    given = {name: getattr(settings, name) for name in values}
    assert config.build(HOME, tomllib.loads(config.to_toml(**given))) == settings


def test_settings_are_loaded_from_the_home_s_file(tmp_path):
    (tmp_path / config.FILE).write_text("[model]\nwindow_days = 30\n")
    assert config.load(tmp_path).model.window_days == 30
    assert config.load(tmp_path).home == tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[model]\nwindow = 3\n", r"model\.window: there is no such"),
        ("[models]\nwindow_days = 3\n", r"models: there is no such"),
        ("[model]\nwindow_days = 0\n", r"model\.window_days: .*greater than 0"),
        (
            "[model]\nmerge_threshold = -1\n",
            r"model\.merge_threshold: .*greater than or equal to 0",
        ),
        ("[model]\nmerge_threshold = inf\n", r"model\.merge_threshold: .*finite"),
        ("[model]\ndecay_per_day = nan\n", r"model\.decay_per_day"),
        ("[checks]\nmin_user_coverage = 1.5\n", r"checks\.min_user_coverage: .*less than or equal"),
        ("[lake]\nn_buckets = 0\n", r"lake\.n_buckets"),
        ('[run]\nmemory_limit = "lots"\n', r"run\.memory_limit: .*pattern"),
        ('[index]\nstore = "faiss"\n', r"index\.store: .*'edge' or 'qdrant'"),
        ("[model\n", r"is not valid TOML"),
    ],
)
def test_a_wrong_file_names_the_key(text, expected, tmp_path):
    (tmp_path / config.FILE).write_text(text)
    with pytest.raises(ConfigError, match=expected) as error:
        config.load(tmp_path)
    assert str(tmp_path / config.FILE) in str(error.value)


def test_two_wrong_keys_are_both_named():
    with pytest.raises(ConfigError, match=r"model\.a: .*model\.b: "):
        config.build(HOME, {"model": {"a": 1, "b": 2}})


def test_no_file_names_the_command(tmp_path):
    with pytest.raises(ConfigError, match="pinnersage init"):
        config.load(tmp_path)


def test_no_home_says_how_to_name_one(monkeypatch):
    monkeypatch.delenv("PINNERSAGE_HOME", raising=False)
    with pytest.raises(ConfigError, match="PINNERSAGE_HOME is not set"):
        config.load()


def test_environment_overrides_the_file(tmp_path, monkeypatch):
    (tmp_path / config.FILE).write_text(
        "[model]\nmerge_threshold = 1.5\nwindow_days = 30\n[source]\nactions = '/a'\n"
    )
    monkeypatch.setenv("PINNERSAGE__MODEL__MERGE_THRESHOLD", "2.5")
    monkeypatch.setenv("PINNERSAGE__SOURCE__INTEREST_ACTIONS", '["save", "like"]')
    settings = config.load(tmp_path)
    assert settings.model.merge_threshold == 2.5
    assert settings.model.window_days == 30
    assert settings.source.interest_actions == ("save", "like")
    assert settings.source.actions == "/a"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        (
            "PINNERSAGE__MODELS__WINDOW_DAYS",
            "3",
            "PINNERSAGE__MODELS__WINDOW_DAYS names no section",
        ),
        ("PINNERSAGE__HOME", "/elsewhere", "PINNERSAGE__HOME names no section"),
        ("PINNERSAGE__MODEL__WINDOW", "3", r"model\.window: there is no such"),
        ("PINNERSAGE__MODEL__WINDOW_DAYS", "ten", r"model\.window_days: .*integer"),
        ("PINNERSAGE__MODEL__WINDOW_DAYS", "0", r"model\.window_days: .*greater than 0"),
        ("PINNERSAGE__SOURCE__INTEREST_ACTIONS", "save", "Lists are written as JSON"),
    ],
)
def test_a_wrong_variable_is_named(name, value, expected, monkeypatch):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=expected):
        config.build(HOME, {})


def test_settings_cannot_be_changed():
    settings = config.build(HOME, {})
    with pytest.raises(ValueError, match="frozen"):
        settings.model.window_days = 3


def test_fingerprint_changes_with_any_setting_in_it():
    model = config.build(HOME, {}).model
    prints = {config.fingerprint(model), config.fingerprint(model, "repin")}
    prints |= {
        config.fingerprint(model.model_copy(update={key: value}))
        for key, value in {"merge_threshold": 2.0, "decay_per_day": 0.5, "window_days": 3}.items()
    }
    assert len(prints) == 5
    assert all(len(text) == 16 for text in prints)


CONTROL = {"name": "control", "share": 0.5}
OTHER = {"name": "other", "share": 0.5, "allocation": "equal", "n_medoids": 1}


def experiment(*arms, name="one"):
    return config.build(HOME, {"experiment": {"name": name, "arms": list(arms)}}).experiment


def test_an_experiment_survives_the_file():
    given = experiment(CONTROL, OTHER)
    values = tomllib.loads(config.to_toml(experiment=given))
    assert config.build(HOME, values).experiment == given


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ([], "two or more arms"),
        ([CONTROL], "two or more arms"),
        ([OTHER, OTHER | {"name": "third", "share": 0.1}], 'one is called "control"'),
        ([CONTROL, OTHER, OTHER | {"share": 0.0001}], "same name"),
        ([CONTROL, OTHER | {"share": 0.5001}], "more than 1"),
        ([CONTROL, OTHER | {"share": 0.12345}], "multiple of 0.0001"),
        ([CONTROL, OTHER | {"share": 0}], "greater than 0"),
        ([CONTROL, OTHER | {"allocation": "proportional"}], 'say also allocation = "equal"'),
        (
            [CONTROL, {"name": "other", "share": 0.5, "n_medoids": 1}],
            'say also allocation = "equal"',
        ),
        ([CONTROL, OTHER | {"name": "Ö"}], "1 to 40 lower-case letters, digits, - and _"),
        ([CONTROL, OTHER | {"draw": 1}], "no such setting"),
    ],
)
def test_arms_that_teach_nothing_are_refused(arms, says):
    with pytest.raises(ConfigError, match=says) as refused:
        experiment(*arms)
    assert "Value error" not in str(refused.value)


def test_a_name_that_cannot_be_is_refused_in_words():
    with pytest.raises(ConfigError, match="empty, or 1 to 80 lower-case letters, digits, - and _"):
        experiment(CONTROL, OTHER, name="Home feed")


def test_arms_may_leave_users_out_and_stay_when_none_runs():
    assert experiment(CONTROL, OTHER | {"share": 0.0001}).arms[1].share == 0.0001
    assert experiment(CONTROL, OTHER, name="").arms


@pytest.mark.parametrize(
    ("online", "says"),
    [
        ({"keep_days": 36_501}, "online.keep_days"),
        ({"keep_days": 1e300}, "online.keep_days"),
        ({"keep_days": float("nan")}, "online.keep_days"),
        ({"max_ahead_seconds": 86_401}, "online.max_ahead_seconds"),
        ({"max_ahead_seconds": float("inf")}, "online.max_ahead_seconds"),
        ({"n_shards": 1024}, "batch is 500, fewer than n_shards, 1,024"),
        ({"n_shards": 64, "batch": 10}, "raise online.batch or lower online.n_shards"),
    ],
)
def test_online_settings_have_bounds_that_time_and_shards_can_bear(online, says, tmp_path):
    with pytest.raises(ConfigError, match=says):
        config.build(tmp_path, {"online": online})


def test_the_widest_online_settings_are_taken(tmp_path):
    widest = {"keep_days": 36_500, "max_ahead_seconds": 86_400, "n_shards": 64, "batch": 64}
    assert config.build(tmp_path, {"online": widest}).online.batch == 64
