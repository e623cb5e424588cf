"""Days through the real Airflow: the same manifests as the library makes by itself."""

import json
import os
import shutil
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import pytest

pytestmark = [pytest.mark.airflow, pytest.mark.slow, pytest.mark.timeout(1800)]

FIRST = date(2020, 3, 30)
DAYS = [FIRST + timedelta(days=n) for n in range(3)]
EARLIER = [FIRST - timedelta(days=n) for n in (2, 1)]

MAKE_HOME = """
import sys
from datetime import date
from pathlib import Path
from pinnersage import config, init, synthetic

folder = Path(sys.argv[1])
synthetic.write(synthetic.World(
    n_users=20, n_pins=400, n_topics=8, dimensions=16, n_days=100,
    first_day=date(2020, 1, 1), seed=1), folder / "raw")
init.run(
    folder / "home",
    config.SourceConfig(actions=str(folder / "raw/actions/{day}.parquet"), event="event_id"),
    init.Items(path=str(folder / "raw/pins.parquet"), quality="quality",
               embeddings=str(folder / "raw/embeddings.npy")),
    n_buckets=2)
"""

RUN_DAYS = """
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from pinnersage import config, day

clock = lambda: datetime(2026, 6, 1, tzinfo=UTC)
for text in sys.argv[2:]:
    day.run(date.fromisoformat(text), clock, config.load(Path(sys.argv[1])), lambda *_: None)
"""

EVALUATE = """
import sys
from datetime import date
from pathlib import Path
from pinnersage import config
from pinnersage.evaluate import daily

daily.run(date.fromisoformat(sys.argv[2]), config.load(Path(sys.argv[1])))
"""


def python(program, *args):
    env = {k: v for k, v in os.environ.items() if not k.startswith("PINNERSAGE")}
    subprocess.run([sys.executable, "-c", program, *map(str, args)], check=True, env=env)


def manifests(home: Path):
    """Every current manifest, by its place in the lake."""
    lake = home / "lake"
    return {str(f.relative_to(lake)): f.read_bytes() for f in lake.rglob("manifest.json")}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A home that knows where its data is and has computed nothing yet."""
    folder = tmp_path_factory.mktemp("tiny")
    python(MAKE_HOME, folder)
    return folder / "home"


@pytest.fixture(scope="module")
def by_library(tiny, tmp_path_factory):
    """The manifests after the library has run each day, as the servers will."""
    home = tmp_path_factory.mktemp("library") / "home"
    shutil.copytree(tiny, home)
    python(RUN_DAYS, home, *DAYS, *EARLIER)
    return manifests(home)


@pytest.fixture
def tiny_world(world, tiny):
    shutil.copytree(tiny, world.home, dirs_exist_ok=True)
    return world


def test_a_catch_up_a_day_again_and_a_backfill_equal_the_library(tiny_world, by_library):
    tiny_world.schedule_between(DAYS[0], DAYS[-1])
    with tiny_world.servers() as servers:
        servers.unpause("pinnersage_index", "pinnersage_daily")
        servers.wait_for_days("pinnersage_daily", DAYS)
        servers.wait_for_days("pinnersage_index", DAYS)
        live = live_release(tiny_world.home)
        assert live["medoids"]["day"] == DAYS[-1].isoformat()

        run = servers.trigger("pinnersage_daily", DAYS[1])
        assert servers.wait_for_run("pinnersage_daily", run) == "success"
        tasks = servers.tasks("pinnersage_daily", run)
        buckets = {t["rendered_map_index"] for t in tasks if t["task_id"] == "cluster"}
        assert buckets == {f"bucket {n}" for n in range(2)}

        servers.backfill("pinnersage_daily", EARLIER[0], EARLIER[-1])
        servers.wait_for_days("pinnersage_daily", EARLIER)
        servers.wait_for_days("pinnersage_index", EARLIER)
        days = servers.days("pinnersage_daily", "backfill")
        assert days == {day.isoformat(): "success" for day in EARLIER}
    assert manifests(tiny_world.home) == by_library
    assert live_release(tiny_world.home) == live


def live_release(home: Path):
    """What readers read."""
    folder = home / "releases"
    number = json.loads((folder / "live.json").read_text())["live"]
    return json.loads((folder / f"{number:06}.json").read_text())


def test_a_run_without_servers(tiny_world, by_library):
    assert "release" in tiny_world.dags_test("pinnersage_daily", DAYS[0]).stdout
    ours = manifests(tiny_world.home)
    assert ours == {place: by_library[place] for place in ours}
    assert f"medoids/day={DAYS[0]}/manifest.json" in ours


def test_the_index_runs_through_qdrant_client_by_setting(tiny_world):
    python(RUN_DAYS, tiny_world.home, DAYS[0])
    before = live_release(tiny_world.home)
    tiny_world.variables |= {
        "PINNERSAGE__INDEX__STORE": "qdrant",
        "PINNERSAGE__INDEX__LOCATION": f"path:{tiny_world.home / 'qdrant'}",
    }

    assert "built True" in tiny_world.dags_test("pinnersage_index", DAYS[0]).stdout

    assert live_release(tiny_world.home) == before, "the same pins: the same version, live already"
    recommended = tiny_world.python(
        "import json; from pinnersage import retrieve; from pinnersage.config import load;"
        "reader = retrieve.open_live(load());"
        "user = next(iter(reader.profiles.items()))[0].decode();"
        "print(json.dumps([type(reader.index).__name__, len(reader.recommend(user).candidates)]))"
    )
    assert recommended[0] == "QdrantReader"
    assert recommended[1] > 0


def test_yesterdays_release_is_evaluated_as_the_library_does(tiny_world, tmp_path):
    python(RUN_DAYS, tiny_world.home, *DAYS[:2])
    by_library = tmp_path / "again"
    shutil.copytree(tiny_world.home, by_library)
    python(EVALUATE, by_library, DAYS[1])

    tiny_world.dags_test("pinnersage_evaluate", DAYS[1])

    place = f"metrics/day={DAYS[1]}/manifest.json"
    ours = manifests(tiny_world.home)
    assert ours[place] == manifests(by_library)[place]
    assert json.loads(ours[place])["rows"] > 0
    page = f"reports/evaluation/daily/day={DAYS[1]}/index.html"
    assert (tiny_world.home / page).read_bytes() == (by_library / page).read_bytes()


def test_a_day_without_data_fails_for_good_and_publishes_nothing(tiny_world):
    done = tiny_world.dags_test("pinnersage_daily", date(2025, 1, 1), check=False)
    assert done.returncode == 1
    assert "ChecksError" in done.stderr
    assert not (tiny_world.home / "stores").exists()
