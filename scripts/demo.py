"""Demo: real data, a day through Airflow, an index, and recommendations for a real user.

MovieLens 100K, 1997 to 1998. Embeddings come from the days before; then ``pinnersage_daily`` and
``pinnersage_index`` run for the day through Airflow, and a user who was there is shown. Done once,
it shows what is live and runs nothing again; ``make clean`` starts over.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
HOME = Path(os.environ.get("PINNERSAGE_HOME", ROOT / ".demo" / "home"))
DATA = ROOT / ".demo" / "movielens"
DAY = "1998-03-31"
PINNERSAGE = str(Path(sys.executable).with_name("pinnersage"))


def main() -> None:
    """Run the demo, or show what an earlier one left."""
    began = time.monotonic()
    say(f"PinnerSage on MovieLens 100K, the day {DAY}", heading=True)
    if not released():
        prepare()
        through_airflow()
    else:
        say(f"{DAY} was released before; nothing is computed again (make clean starts over)")
    facts()
    user = show_a_user()
    say(f"Done in {time.monotonic() - began:.0f} s. What to try next", heading=True)
    print(f"  export PINNERSAGE_HOME={HOME}")
    for what, command in (
        (
            "the paper's way: three medoids, sampled",
            f"recommend {user} --allocation equal --draw 1",
        ),
        ("another day, without Airflow, and what changed", "run --day 1998-04-01"),
        ("", f"diff {DAY} 1998-04-01"),
        ("back to the day before", "rollback"),
        ("your own Parquet", "init --help"),
    ):
        print(f"  .venv/bin/pinnersage {command:<42}{'# ' + what if what else ''}")
    print(f"  {'make up':<63}# Airflow's UI and the service; make down stops them")


def prepare() -> None:
    """Fetch the data, point a home folder at it, and make embeddings from the days before."""
    say("Data: MovieLens 100K (fetched now; its licence forbids passing it on)", heading=True)
    pip = str(ROOT / ".tools" / "bin" / "python")  # the environment itself has no pip
    run(sys.executable, str(ROOT / "examples" / "movielens.py"), "--out", str(DATA),
        "--before", DAY, "--pip", pip)  # fmt: skip
    run(PINNERSAGE, "init", "--actions", str(DATA / "actions.parquet"), "--pin", "movie_id",
        "--time", "ts", "--interest", "like", "--items", str(DATA / "movies.parquet"),
        "--item-pin", "movie_id", "--title", "title", "--quality", "quality")  # fmt: skip
    run(PINNERSAGE, "embed", "--before", DAY, "--dimensions", "64")


def through_airflow() -> None:
    """Run the two DAGs for the day."""
    runtime = str(ROOT / "scripts" / "airflow_runtime.py")
    for dag in ("pinnersage_daily", "pinnersage_index"):
        say(f"Airflow: {dag} for {DAY}", heading=True)
        run(sys.executable, runtime, "test-run", dag, DAY)


def facts() -> None:
    """Print what a person wants to know of the live release."""
    found = json.loads((HOME / "reports" / "quality" / f"day={DAY}" / "report.json").read_text())
    index = json.loads((HOME / "lake" / "index" / f"day={DAY}" / "manifest.json").read_text())
    outcomes = [outcome["status"] for outcome in found["outcomes"]]
    measures = found["measures"]
    listed = ask("releases")
    live = next(one for one in listed["releases"] if one["number"] == listed["live"])
    say("The day", heading=True)
    passed, failed = outcomes.count("passed"), outcomes.count("failed")
    clusters = f"{measures['median_clusters']} median, {measures['p90_clusters']} at 90 %"
    checks = f"{passed} passed, {failed} failed, {len(outcomes) - passed - failed} to look at"
    recall = f"{index['report']['pins']:,} pins, recall@50 {index['report']['recall']:.3f}"
    for name, value in (
        ("users with clusters", f"{measures['n_users']:,}"),
        ("actions clustered", f"{measures['n_actions']:,}"),
        ("clusters per user", clusters),
        ("checks", checks),
        ("index", recall),
        ("live release", f"number {live['number']}, {live['medoids']['day']}"),
        ("quality report", str(HOME / "reports" / "quality" / f"day={DAY}" / "index.html")),
    ):
        print(f"  {name:<22}{value}")


def show_a_user() -> str:
    """Print a real user's clusters and recommendations; return the user."""
    user = chosen_user()
    page = HOME / "reports" / "users" / f"{user}.html"
    say(f"A user who was there: {user}", heading=True)
    run(PINNERSAGE, "show", user)
    print()
    run(PINNERSAGE, "recommend", user, "--top", "15", "--html", str(page))
    print(f"\n  The same as a page: {page}")
    return user


def chosen_user() -> str:
    """Return the user of the day with the most interests, up to a screenful."""
    import duckdb  # noqa: PLC0415 (the summary alone needs it)

    lake = HOME / "lake"
    manifest = json.loads((lake / "medoids" / f"day={DAY}" / "manifest.json").read_text())
    files = [str(lake / file["path"]) for file in manifest["files"]]
    sql = (
        "SELECT user_id FROM read_parquet($files, hive_partitioning = false) "
        "GROUP BY user_id HAVING count(*) BETWEEN 5 AND 12 "
        "ORDER BY max(last_acted_at) DESC, user_id LIMIT 1"
    )
    return str(duckdb.sql(sql, params={"files": files}).fetchall()[0][0])


def released() -> bool:
    """Whether a release joins the day's medoids and an index."""
    if not (HOME / "pinnersage.toml").is_file():
        return False
    every = ask("releases")["releases"]
    return any(one["medoids"]["day"] == DAY and one["index"] for one in every)


def ask(*command: str) -> Any:
    """Return what a command answers a machine."""
    return json.loads(subprocess.check_output([PINNERSAGE, *command, "--json"], env=environment()))


def run(*command: str) -> None:
    """Run a command in this terminal; end the demo with its code if it fails."""
    sys.stdout.flush()
    done = subprocess.run(command, check=False, env=environment())
    if done.returncode:
        sys.exit(f"The demo stopped at: {' '.join(command)} (exit code {done.returncode})")


def environment() -> dict[str, str]:
    """Return this environment with the demo's home."""
    return os.environ | {"PINNERSAGE_HOME": str(HOME)}


def say(text: str, *, heading: bool = False) -> None:
    """Print a line for a person."""
    print(f"\n== {text}" if heading else f"  {text}", flush=True)


if __name__ == "__main__":
    main()
