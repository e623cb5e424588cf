"""Command line: one command a step and one a question; nothing here but parsing and printing.

Every command takes ``--home`` (default: the variable ``PINNERSAGE_HOME``) and ``--json``, which
gives a machine the facts that a person is shown. An error is one paragraph and exit code 1.
"""

import sys
from collections.abc import Sequence
from datetime import UTC, date, datetime
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table

from pinnersage import config
from pinnersage.config import Settings
from pinnersage.errors import ConfigError, PinnerSageError

app = typer.Typer(
    help="PinnerSage: each user's last 90 days of actions as medoids with importance.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
LATE = 3
"""Exit code that says late, apart from 1, an error, and 2, a wrong word on the command line."""
SINCE = {"batch": "", "online": "new since", "both": "grown since"}
"""A cluster against those of the release, in words."""
MOST_NAMED = 5
"""Medoids that ``recommend`` names as asked."""
WIDE = None if sys.stdout.isatty() else 160
# No markup and no emoji: titles and ids are the user's, and "[/knit]" is a title.
console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True, width=WIDE)


def clock() -> datetime:
    """Return what time it is."""
    return datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)


def parse_day(text: str) -> date:
    """Return the day that a text like 2026-01-31 names."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is not a day like 2026-01-31") from error


def parse_day_over(text: str) -> date:
    """Return a day that is over: early, it would keep true ones from going live."""
    day = parse_day(text)
    today = clock().date()
    if day >= today:
        raise typer.BadParameter(f"{day} is not over: it is {today} in UTC")
    if day.year < 1970:  # noqa: PLR2004 (times are counted from there)
        raise typer.BadParameter(f"{day} is before 1970")
    return day


Home = Annotated[
    Path | None, typer.Option("--home", help="Home folder. [default: $PINNERSAGE_HOME]")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print facts as JSON, for a machine.")]
Day = Annotated[
    date,
    typer.Option("--day", parser=parse_day_over, metavar="DAY", help="Day, such as 2026-01-31."),
]
ADay = Annotated[date, typer.Argument(parser=parse_day, metavar="DAY")]
Draw = Annotated[
    int, typer.Option("--draw", help="For equal: another number, another sample of medoids.")
]
Html = Annotated[Path | None, typer.Option("--html", help="Also write a page to this file.")]


def settings_of(home: Path | None) -> Settings:
    """Return the settings of a home folder."""
    return config.load(home.expanduser().resolve() if home else None)


def tell(report: BaseModel | Sequence[BaseModel], *, as_json: bool, title: str = "") -> None:
    """Print a report: as JSON, or a line a fact."""
    if as_json:
        if isinstance(report, BaseModel):
            print(report.model_dump_json(indent=1))  # noqa: T201 (the command's product)
        else:
            parts = ",\n".join(item.model_dump_json(indent=1) for item in report)
            print(f"[{parts}]")  # noqa: T201
        return
    reports = [report] if isinstance(report, BaseModel) else list(report)
    for item in reports:
        if title:
            console.print(title, style="bold")
        for name, value in item.model_dump(mode="json").items():
            if name != "checks" and value not in ({}, [], ""):
                console.print(f"  {name.replace('_', ' ')}: {words(value)}")


def words(value: Any) -> str:
    """Return a fact as a person reads it."""
    if isinstance(value, dict):
        return ", ".join(f"{k.replace('_', ' ')} {words(v)}" for k, v in value.items())
    if isinstance(value, list):
        return "; ".join(words(item) for item in value)
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


@app.command()
def init(
    actions: Annotated[str, typer.Option(help="Parquet of actions: file, folder, glob; {day}.")],
    user: Annotated[str, typer.Option(help="Column of the user's id.")] = "user_id",
    pin: Annotated[str, typer.Option(help="Column of the pin's id.")] = "pin_id",
    action: Annotated[str, typer.Option(help="Column of the kind of action.")] = "action",
    time: Annotated[str, typer.Option(help="Column of the time.")] = "acted_at",
    event: Annotated[str, typer.Option(help="Column of the event's id, if there is one.")] = "",
    interest: Annotated[
        str, typer.Option(help="Kinds of action that show interest, with commas.")
    ] = "repin,click",
    items: Annotated[str, typer.Option(help="Parquet of pins.")] = "",
    item_pin: Annotated[str, typer.Option(help="Its column of the pin's id.")] = "pin_id",
    title: Annotated[str, typer.Option(help="Its column of titles.")] = "",
    quality: Annotated[
        str, typer.Option(help="Its column of quality: 0 to 1, or true; or SQL over its columns.")
    ] = "",
    near_duplicate_of: Annotated[
        str, typer.Option(help="Its column that names a better pin showing the same.")
    ] = "",
    image_url: Annotated[str, typer.Option(help="Its column of images.")] = "",
    created_at: Annotated[str, typer.Option(help="Its column of creation times.")] = "",
    topic: Annotated[str, typer.Option(help="Its column of topics: a word to filter by.")] = "",
    embeddings: Annotated[
        str, typer.Option(help=".npy file, row by row for the pins; or their list column.")
    ] = "",
    valid_from: Annotated[
        date | None,
        typer.Option(
            parser=parse_day, metavar="DAY", help="First day pins and embeddings are for."
        ),
    ] = None,
    buckets: Annotated[int, typer.Option(help="Buckets of users: tasks that run apart.")] = 4,
    lake_root: Annotated[
        str, typer.Option(help="s3://bucket/prefix for the lake; else it is in the home folder.")
    ] = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Point a home folder at your own Parquet."""
    from pinnersage import init as step

    kinds = tuple(kind.strip() for kind in interest.split(",") if kind.strip())
    source = config.SourceConfig(
        actions=actions, user=user, pin=pin, action=action, time=time, event=event,
        interest_actions=kinds,
    )  # fmt: skip
    pins = step.Items(
        path=items, pin=item_pin, title=title, quality=quality, image_url=image_url,
        near_duplicate_of=near_duplicate_of, created_at=created_at, topic=topic,
        embeddings=embeddings,
    )  # fmt: skip
    folder = home.expanduser().resolve() if home else config.home_from_environment()
    report = step.run(
        folder, source, pins, n_buckets=buckets, lake_root=lake_root, valid_from=valid_from
    )
    tell(report, as_json=as_json, title="Set up")
    if not as_json and report.embeddings is None:
        console.print("No embeddings yet. Give --embeddings, or run: pinnersage embed --before DAY")


@app.command()
def embed(
    before: Annotated[
        date, typer.Option(parser=parse_day, metavar="DAY", help="Only actions before it count.")
    ],
    dimensions: Annotated[int, typer.Option(help="Length of a vector.")] = 64,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make embeddings from co-actions, for those who have none."""
    from pinnersage import embed as step

    report = step.run(before, settings_of(home), dimensions=dimensions)
    tell(report, as_json=as_json, title="Embeddings")


@app.command()
def synthetic(
    folder: Annotated[Path, typer.Argument(help="Where to write it.")],
    first_day: Annotated[
        date, typer.Option(parser=parse_day, metavar="DAY", help="Day of the first actions.")
    ],
    users: Annotated[int, typer.Option(help="Users.")] = 1_000,
    pins: Annotated[int, typer.Option(help="Pins.")] = 10_000,
    topics: Annotated[int, typer.Option(help="Topics that pins and interests belong to.")] = 100,
    dimensions: Annotated[int, typer.Option(help="Length of a vector.")] = 64,
    days: Annotated[int, typer.Option(help="Days of actions.")] = 100,
    seed: Annotated[int, typer.Option(help="Another number, another world.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Write a synthetic world whose users' interests are known."""
    from pydantic import TypeAdapter

    from pinnersage import synthetic as maker

    world = maker.World(
        n_users=users, n_pins=pins, n_topics=topics, dimensions=dimensions, n_days=days,
        first_day=first_day, seed=seed,
    )  # fmt: skip
    report = maker.write(world, folder)
    facts = TypeAdapter(maker.WorldReport).dump_python(report, mode="json")
    if as_json:
        print_json(facts)
    else:
        console.print("A synthetic world", style="bold")
        for name, value in facts.items():
            console.print(f"  {name.replace('_', ' ')}: {words(value)}")


@app.command()
def run(day: Day, home: Home = None, as_json: AsJson = False) -> None:
    """Run a whole day without Airflow: stage to release, and the index."""
    from pinnersage import day as whole

    settings = settings_of(home)

    def progress(step: str, report: BaseModel) -> None:
        if not as_json:
            tell(report, as_json=False, title=step)

    reports = whole.run(day, clock, settings, progress)
    if as_json:
        print_json({name: dumped(report) for name, report in reports.items()})


def dumped(report: BaseModel | Sequence[BaseModel]) -> Any:
    """Return a report, or several, as plain values."""
    if not isinstance(report, BaseModel):
        return [item.model_dump(mode="json") for item in report]
    return report.model_dump(mode="json")


def print_json(value: Any) -> None:
    """Print plain values as JSON."""
    import json

    print(json.dumps(value, indent=1, ensure_ascii=False))  # noqa: T201 (the command's product)


def add_step(name: str, does: str) -> None:
    """Make a command of a step that takes a day and nothing else."""

    def command(day: Day, home: Home = None, as_json: AsJson = False) -> None:
        step = import_module(f"pinnersage.{name}")
        tell(step.run(day, settings_of(home)), as_json=as_json, title=name)

    app.command(name, help=does)(command)


add_step("stage", "Bring a day's raw events into the lake, in buckets of users.")


@app.command()
def cluster(
    day: Day,
    bucket: Annotated[int | None, typer.Option(help="One bucket. [default: all]")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Cluster users' actions; medoids and importance of each cluster."""
    from pinnersage import cluster as step

    settings = settings_of(home)
    n_buckets = settings.lake.n_buckets
    if bucket is not None and not 0 <= bucket < n_buckets:
        raise ConfigError(f"Bucket {bucket} is not one of 0 to {n_buckets - 1}.")
    reports = step.run_all(day, settings) if bucket is None else [step.run(day, bucket, settings)]
    tell(list(reports), as_json=as_json, title="cluster")


@app.command()
def parity(day: Day, home: Home = None, as_json: AsJson = False) -> None:
    """Compare a day's online results with a batch over the same actions; releases nothing."""
    from pinnersage import online_against_batch
    from pinnersage import parity as step
    from pinnersage.stores import open_lake

    settings = settings_of(home)
    report = step.run(day, settings)
    tell(report, as_json=as_json, title="parity")
    worst = online_against_batch.of_day(open_lake(settings), day).worst
    if as_json or not worst:
        return
    table = Table("user", "actions", "of the day", "identical", "jaccard", "cosine", box=None)
    for user in worst:
        table.add_row(
            user.user_id, f"{user.n_actions:,}", f"{user.n_new:,}", words(user.identical),
            f"{user.jaccard:.3f}", f"{user.cosine:.4f}",
        )  # fmt: skip
    console.print("Who agree least", style="bold")
    console.print(table)


@app.command()
def sweep(
    day: Day,
    merge_thresholds: Annotated[
        str, typer.Option(help="Merge thresholds (the paper's alpha), with commas.")
    ] = "0.5,1,1.5,2,2.5",
    bucket: Annotated[
        list[int] | None, typer.Option(help="A bucket; may be given again. [default: all]")
    ] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show how many clusters users would have at other merge thresholds; publishes nothing."""
    from pinnersage import sweep as question

    settings = settings_of(home)
    thresholds = [question.number(part) for part in merge_thresholds.split(",")]
    buckets = question.ask(thresholds, bucket, settings).buckets
    summary = question.summarise(
        [question.run(day, one, thresholds, settings) for one in buckets], settings
    )
    page = question.write(summary, settings)
    if as_json:
        tell(summary, as_json=True)
        return
    console.print(f"{summary.users:,} users of {day}, {summary.actions:,} actions")
    table = Table("merge threshold", "clusters", "cohesion", "of one action", box=None)
    for group, found in summary.thresholds[0].clusters_per_user.items():
        table.add_column(f"{group}: {found.users:,} users")
    for at in summary.thresholds:
        table.add_row(
            f"{at.merge_threshold:g}", f"{at.clusters:,}", shown(at.mean_cohesion, ".3f"),
            shown(at.single_action_share, ".1%"),
            *(
                f"{shown(one.median)} / {shown(one.p90)} / {shown(one.most)}"
                for one in at.clusters_per_user.values()
            ),
        )  # fmt: skip
    console.print(table)
    console.print(f"Of each group: clusters per user, median / 90 % / most. As a page: {page}")


@app.command()
def evaluate(
    until: Annotated[
        date, typer.Option(parser=parse_day_over, metavar="DAY", help="The last test day.")
    ],
    test_days: Annotated[
        int | None,
        typer.Option(help="Days that models are measured on. [default: evaluation.test_days]"),
    ] = None,
    tuning_days: Annotated[
        int | None,
        typer.Option(help="Days before them, to choose on. [default: evaluation.tuning_days]"),
    ] = None,
    n_candidates: Annotated[
        int | None, typer.Option(help="Candidates of a user. [default: evaluation.n_candidates]")
    ] = None,
    sequence: Annotated[
        bool, typer.Option("--sequence", help="Also train GRU, LSTM and HierTCN.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Repeat the paper's experiments on your data: what retrieves better, and by how much."""
    from pinnersage.evaluate import evaluation, markdown, report
    from pinnersage.stores import open_storage

    stderr = Console(stderr=True, highlight=False)
    settings = settings_of(home).with_evaluation(
        test_days=test_days,
        tuning_days=tuning_days,
        n_candidates=n_candidates,
        sequence_models=("GRU", "LSTM", "HierTCN") if sequence else None,
    )
    found = evaluation.run(until, settings, lambda text: stderr.print(text, style="dim"))
    page = report.write(found, open_storage(settings))
    if as_json:
        tell(found, as_json=True)
        return
    console.print(markdown.summary(found))
    console.print(f"All tables and figures, as a page: {page}")


@app.command("evaluate-release")
def evaluate_release(day: Day, home: Home = None, as_json: AsJson = False) -> None:
    """Measure the release of the day before on what users did on a day; keeps the metrics."""
    from pinnersage.evaluate import daily

    tell(daily.run(day, settings_of(home)), as_json=as_json, title="evaluate-release")


def shown(value: float | None, form: str = ",") -> str:
    """Return a number as a table shows it."""
    return "-" if value is None else format(value, form)


add_step("validate", "Check a day's medoids; a failed check publishes nothing.")
add_step("publish", "Write a day's medoids to the key-value store.")
add_step("refine", "Choose the pins worth indexing; the others are listed with the reason.")
add_step("index", "Build an HNSW index of the refined pins and measure its recall.")


@app.command()
def waive(
    day: ADay,
    by: Annotated[str, typer.Option(help="Who answers for it.")],
    reason: Annotated[str, typer.Option(help="Why the day is right all the same.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let a day be published although checks failed that may be waived (checks.waivable)."""
    from pinnersage import waive as step

    settings = settings_of(home)
    now = clock()
    report = step.last_report(day, settings).version
    tell(step.run(day, report, by, reason, now, settings), as_json=as_json, title="waive")
    if not as_json:
        console.print(f"Then: pinnersage publish --day {day}, pinnersage release --day {day}")


Pin = Annotated[str, typer.Argument(metavar="PIN")]
WhoAnswers = Annotated[str, typer.Option("--by", help="Who answers for it.")]
Why = Annotated[str, typer.Option("--reason", help="Why.")]


@app.command()
def block(
    pin: Pin, by: WhoAnswers, reason: Why, home: Home = None, as_json: AsJson = False
) -> None:
    """Take a pin down: within seconds no running process shows it, and no later index has it."""
    from pinnersage import takedown

    now = clock()
    done = takedown.order("block", pin, by, reason, now, settings_of(home))
    tell(done, as_json=as_json, title="block")


@app.command()
def unblock(
    pin: Pin, by: WhoAnswers, reason: Why, home: Home = None, as_json: AsJson = False
) -> None:
    """Let a pin that was taken down be shown again; the next index may have it."""
    from pinnersage import takedown

    now = clock()
    done = takedown.order("unblock", pin, by, reason, now, settings_of(home))
    tell(done, as_json=as_json, title="unblock")


@app.command()
def blocked(home: Home = None, as_json: AsJson = False) -> None:
    """List the pins that are taken down, with who, when and why."""
    from pinnersage import takedown

    orders = list(takedown.read(settings_of(home)).blocked.values())
    if as_json:
        print_json([one.model_dump(mode="json") for one in orders])
        return
    table = Table("pin", "since", "by", "reason", box=None)
    for one in orders:
        said = (one.pin, f"{one.at:%Y-%m-%d %H:%M} UTC", one.by, one.reason)
        table.add_row(*map(printable, said))
    console.print(table if orders else "No pin is blocked.")


@app.command()
def erase(
    user: Annotated[str, typer.Argument(metavar="USER")],
    by: WhoAnswers,
    reason: Why,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Erase a user for good: from readers within seconds, then from lake, stores and reports."""
    import secrets

    from pinnersage import erase as step

    now = datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)
    settings = settings_of(home)
    done = step.run(user, by, reason, now, secrets.token_hex(16), settings)
    tell(done, as_json=as_json, title="erase")
    if not as_json and not done.found:
        console.print("Nothing was found of this user. What comes later is left out.")


@app.command()
def erased(home: Home = None, as_json: AsJson = False) -> None:
    """List the orders to erase a user, with who, when and why; not who was erased."""
    from pinnersage import erased as record

    orders = list(record.read(settings_of(home)).orders)
    if as_json:
        print_json([one.model_dump(mode="json") for one in orders])
        return
    table = Table("user (digest)", "ordered", "done", "by", "reason", box=None)
    for one in orders:
        done = f"{one.done:%Y-%m-%d %H:%M} UTC" if one.done else "no: give the order again"
        said = (one.user[:12], f"{one.at:%Y-%m-%d %H:%M} UTC", done, one.by, one.reason)
        table.add_row(*map(printable, said))
    console.print(table if orders else "No user was erased.")


@app.command()
def release(
    day: Day,
    what: Annotated[str, typer.Option(help="medoids or index.")] = "medoids",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a published day, or an index, live, if it is not older than what is."""
    from pinnersage import release as step

    moves = {"medoids": step.release_medoids, "index": step.release_index}
    if what not in moves:
        raise ConfigError(f"--what {what}: it is medoids or index.")
    tell(moves[what](day, clock, settings_of(home)), as_json=as_json, title="release")


@app.command()
def releases(home: Home = None, as_json: AsJson = False) -> None:
    """List the releases, which one is live, and when each went live."""
    from pinnersage.release import Releases

    kept = Releases(settings_of(home))
    pointer, every, history = kept.pointer(), kept.all(), kept.history()
    if as_json:
        print_json(dumped(pointer) | {"releases": dumped(every), "moves": dumped(history)})
        return
    table = Table(
        "", "release", "day", "went live (UTC)", "key-value", "index", "embeddings", "before it",
        box=None,
    )  # fmt: skip
    for one in every:
        went = [f"{move.at:%Y-%m-%d %H:%M}" for move in history if move.live == one.number]
        withdrawn = one.medoids.day in pointer.withdrawn_days
        state = "live" if one.number == pointer.live else "withdrawn" if withdrawn else ""
        table.add_row(
            state, str(one.number), str(one.medoids.day), ", ".join(went), one.medoids.keyvalue,
            one.index.version if one.index else "none", one.embeddings, str(one.previous or ""),
        )  # fmt: skip
    console.print(table if every else "No release yet. Run: pinnersage run --day DAY")


@app.command()
def rollback(
    to: Annotated[int | None, typer.Option(help="A release's number, to go back to it.")] = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Go back to the last release of other medoids, medoids and index at once."""
    from pinnersage import release as step

    tell(step.rollback(clock, settings_of(home), to), as_json=as_json, title="rollback")


@app.command()
def promote(day: ADay, home: Home = None, as_json: AsJson = False) -> None:
    """Make a published day live by name, also one that was withdrawn or is older."""
    from pinnersage import release as step

    tell(step.promote(day, clock, settings_of(home)), as_json=as_json, title="promote")


@app.command()
def withdraw(
    version: Annotated[str, typer.Argument(metavar="VERSION", help="Of the embeddings.")],
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Let no day be computed with a version of the embeddings any more, after a rollback."""
    from pinnersage.stores import embeddings, open_lake

    instead = embeddings.withdraw(open_lake(settings_of(home)), version)
    if as_json:
        print_json({"withdrawn": version, "instead": instead})
    else:
        console.print(f"Embeddings {version} are withdrawn. In their place: {instead}")


@app.command()
def diff(one: ADay, other: ADay, home: Home = None, as_json: AsJson = False) -> None:
    """Compare the medoids of two days."""
    from pinnersage import diff as question

    tell(question.run(one, other, settings_of(home)), as_json=as_json, title="diff")


@app.command()
def show(
    user: Annotated[str, typer.Argument(metavar="USER")],
    html: Html = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Show a user's clusters in the live release."""
    from pinnersage import pages, people, retrieve

    settings = settings_of(home)
    with retrieve.open_live(settings) as reader:
        known = people.clusters(reader, settings, user, now=clock())
    if html:
        pages.write_user({"user": known, "made": None, "rows": []}, html.absolute())
    if as_json:
        print_json(known)
        return
    n, counted = len(known["clusters"]), known["online"] and known["online"]["actions"]
    when = "as of now" if counted else f"at the end of {known['day']}"
    console.print(f"User {user}: {n} cluster{'' if n == 1 else 's'} {when}")
    console.print(since(known))
    table = Table("", "medoid", "importance", "share", "actions", "last action (UTC)", "", box=None)
    for row in known["clusters"]:
        table.add_row(
            str(row["rank"] + 1), label(row), f"{row['importance']:.2f}", f"{row['share']:.0%}",
            str(row["n_actions"]), row["last_acted_at"][:16], SINCE[row["from"]],
        )  # fmt: skip
    console.print(table)


def since(known: dict[str, Any]) -> str:
    """Return how what was done since the release's day counts, in words."""
    online, day = known["online"], known["day"]
    if online is None:
        return f"What was done since {day} cannot be told: the online states do not answer."
    if not online["actions"]:
        return f"Nothing that counts was done since {day}."
    n = online["actions"]
    return f"The release of {day}, with {n} action{'s' if n > 1 else ''} since."


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(metavar="USER")],
    draw: Draw = 0,
    top: Annotated[int, typer.Option(help="How many to print.")] = 20,
    allocation: Annotated[
        config.Allocation | None,
        typer.Option(help="Which medoids bring how many. [default: the setting]"),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="PIN", help="A pin that must not come; repeatable.")
    ] = None,
    min_cosine: Annotated[
        float, typer.Option(min=-1, max=1, help="Least cosine to the medoid.")
    ] = -1.0,
    relevance: Annotated[
        float, typer.Option(min=0, max=1, help="Below 1, candidates in a row are less alike.")
    ] = 1.0,
    fresh_days: Annotated[
        int | None,
        typer.Option(min=1, help="Only pins made within so many days before the release's end."),
    ] = None,
    topic: Annotated[
        list[str] | None, typer.Option(help="Only pins about it, or another one given; repeatable.")
    ] = None,
    html: Html = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Recommend pins to a user, each with the medoid and cosine that brought it."""
    from pinnersage import pages, people, retrieve

    settings = settings_of(home)
    wishes = retrieve.Wishes(
        allocation, frozenset(exclude or ()), min_cosine, relevance, fresh_days, tuple(topic or ())
    )
    with retrieve.open_live(settings) as reader:
        now = clock()
        made = people.recommendation(reader, settings, user, draw=draw, wishes=wishes, now=now)
        known = people.clusters(reader, settings, user, now=now) if html else {}
    if html:
        rows = people.by_medoid(made)
        pages.write_user({"user": known, "made": made, "rows": rows}, html.absolute())
    if as_json:
        print_json(made)
        return
    sample = f", draw {draw}" if made["allocation"] == "equal" else ""
    console.print(f"User {user}, {made['day']}{sample}. Medoids asked: {some(made['medoids'])}")
    console.print(since(made))
    console.print(f"{len(made['candidates'])} candidates; the first {top}:")
    table = Table("cosine", "pin", "because of", "", box=None)
    where = {medoid["pin_id"]: SINCE[medoid["from"]] for medoid in made["medoids"]}
    for row in made["candidates"][:top]:
        because = {"pin_id": row["medoid"], "title": row["medoid_title"]}
        table.add_row(f"{row['cosine']:.3f}", label(row), label(because), where[row["medoid"]])
    console.print(table)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address. [default: service.host]")] = None,
    port: Annotated[int | None, typer.Option(help="Port. [default: service.port]")] = None,
    home: Home = None,
) -> None:
    """Serve the live release over HTTP, until stopped."""
    from pinnersage.serve import keys
    from pinnersage.serve import run as server

    settings = settings_of(home)
    given = {"host": host, "port": port}
    changed = {name: value for name, value in given.items() if value is not None}
    service = settings.service.model_copy(update=changed)
    if not service.authentication:
        console.print("service.authentication is off: whoever reaches the port is answered.")
    elif not keys.read(settings).keys:
        console.print("No key yet, so nobody is answered. Make one: pinnersage add-key NAME")
    server.run(settings.model_copy(update={"service": service}))


@app.command()
def consume(
    until_empty: Annotated[
        bool, typer.Option("--until-empty", help="End when no event waits any more.")
    ] = False,
    alive: Annotated[
        Path | None,
        typer.Option(help="File to touch every ten seconds while events are looked for."),
    ] = None,
    home: Home = None,
) -> None:
    """Take events from Redis Streams or Kafka into users' online states, until stopped."""
    import logging
    import signal

    from pinnersage.online import consume as loop

    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    stopped: list[int] = []
    for kind in (signal.SIGTERM, signal.SIGINT):
        signal.signal(kind, lambda number, _frame: stopped.append(number))

    def sign(_counts: loop.Counts) -> None:
        if alive is not None:
            loop.touch(alive)

    loop.work(
        settings_of(home),
        clock,
        lambda: bool(stopped),
        loop.Every(loop.ALIVE_SECONDS, sign),
        until_empty=until_empty,
    )


@app.command("dead-letters")
def dead_letters(
    newest: Annotated[int, typer.Option(min=0, help="How many to list, the newest first.")] = 10,
    again: Annotated[
        str, typer.Option(metavar="REASON", help="Give all of a reason to the consumers again.")
    ] = "",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """List refused events by reason, one that came twice twice; or give those of a reason back."""
    from pinnersage.online.dead_letters import open_dead_letters

    letters = open_dead_letters(settings_of(home))
    if again:
        tell(letters.again(again), as_json=as_json, title="given back")
        return
    report = letters.report(newest)
    if as_json:
        tell(report, as_json=True)
        return
    counts = ", ".join(f"{reason} {count:,}" for reason, count in report.reasons.items())
    console.print(f"Dead letters: {counts or 'none'}")
    table = Table("parked (UTC)", "reason", "says", "event", box=None)
    for one in report.newest:
        said = map(printable, (one.reason, one.says, one.data))
        table.add_row(f"{one.parked_at:%Y-%m-%d %H:%M:%S}", *said)
    if report.newest:
        console.print(table)


@app.command()
def experiment(
    first: ADay,
    last: ADay,
    name: Annotated[str, typer.Option(help="Of the experiment. [default: the setting]")] = "",
    html: Html = None,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Compare the arms of an experiment by what users did from the first day to the last."""
    from pinnersage.experiment import analyse, outcome

    found = analyse.run(first, last, settings_of(home), name)
    if html:
        outcome.write(found, html.absolute())
    if as_json:
        tell(found, as_json=True)
        return
    console.print(f"{found.experiment}, {first} to {last}", style="bold")
    table = Table("arm", "share", "users", "expected", "exposures", "actions", "acted", box=None)
    for arm in found.arms:
        counts = (arm.exposures, arm.actions, arm.acting)
        table.add_row(
            arm.name, f"{arm.share:.2%}", f"{arm.users:,}", f"{arm.expected_users:,.0f}",
            *(f"{count:,}" for count in counts),
        )  # fmt: skip
    console.print(table)
    console.print(f"Users against shares: p = {shown(found.ratio_p, '.3g')}")
    for problem in found.problems:
        console.print(f"No result: {problem}")
    if not found.lifts:
        return
    table = Table("arm", "measure", "control", "arm's", "lift", "95 % interval", "", box=None)
    for lift in found.lifts:
        ends = f"{shown(lift.low, '+.1%')} to {shown(lift.high, '+.1%')}"
        table.add_row(
            lift.arm, lift.measure, f"{lift.control:.4g}", f"{lift.value:.4g}",
            f"{lift.lift:+.1%}", ends, lift.says,
        )  # fmt: skip
    console.print(table)


KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")]


@app.command("add-key")
def add_key(
    name: KeyName,
    role: Annotated[
        Literal["reader", "sender", "admin"],
        typer.Option(help="A reader asks; a sender also posts events; an admin also orders."),
    ] = "reader",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Make a key for the service; it is shown once and kept nowhere."""
    import secrets

    from pinnersage.serve import keys

    key = secrets.token_urlsafe(32)
    now = datetime.now(UTC)  # noqa: TID251 (the clock's place is here, at the edge)
    made = keys.add(name, role, key, now, settings_of(home))
    if as_json:
        print_json({"name": made.name, "role": made.role, "key": key})
        return
    print(key)  # noqa: T201 (alone on a line of the output: a script takes it from there)
    note = Console(stderr=True, highlight=False)
    note.print(f"The key of {name}, a{'n' if role == 'admin' else ''} {role}. Keep it: it is shown")
    note.print("once. Send it as: Authorization: Bearer KEY, or type it at /login.")


@app.command("remove-key")
def remove_key(name: KeyName, home: Home = None, as_json: AsJson = False) -> None:
    """Make a key open nothing any more, within seconds."""
    from pinnersage.serve import keys

    tell(keys.remove(name, settings_of(home)), as_json=as_json, title="removed")


@app.command("keys")
def known_keys(home: Home = None, as_json: AsJson = False) -> None:
    """List who has a key to the service; never the keys, which are not kept."""
    from pinnersage.serve import keys

    known = keys.read(settings_of(home)).keys
    if as_json:
        print_json([key.model_dump(mode="json") for key in known])
        return
    if not known:
        console.print("No key yet. Make one: pinnersage add-key NAME")
    for key in known:
        console.print(f"{key.name}  {key.role}  since {key.made:%Y-%m-%d %H:%M} UTC")


def label(row: dict[str, Any]) -> str:
    """Return a pin's title, or its id where it has none."""
    return printable(str(row["title"] or row["pin_id"]))


def some(medoids: list[dict[str, Any]]) -> str:
    """Return the first of a user's medoids, and how many more there are."""
    names = [label(medoid) for medoid in medoids[:MOST_NAMED]]
    more = len(medoids) - len(names)
    return ", ".join(names) + (f" and {more} more" if more else "")


def printable(text: str) -> str:
    """Return a text of the user's without what a terminal would obey."""
    return "".join(c for c in text if c.isprintable())


@app.command()
def features(
    points: Annotated[Path, typer.Option(help="Parquet of users and times, a row a point.")],
    to: Annotated[Path, typer.Option(help="Parquet to write: the points with their medoids.")],
    user: Annotated[str, typer.Option(help="Column of the user's id.")] = "user_id",
    time: Annotated[str, typer.Option(help="Column of the time; UTC without a zone.")] = "time",
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Give each point, a user and a time, the medoids that were live for the user then."""
    from pinnersage import point_in_time

    report = point_in_time.at_points(
        points.expanduser(), to.expanduser(), clock(), settings_of(home), user=user, time=time
    )
    tell(report, as_json=as_json, title="features")


@app.command()
def maintain(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would go; nothing is changed.")
    ] = False,
    home: Home = None,
    as_json: AsJson = False,
) -> None:
    """Remove what nothing needs any more: days, versions, reports, states, files without a name."""
    from pinnersage import maintain as step
    from pinnersage.online import keep

    now, settings = clock(), settings_of(home)
    report = step.run(now, settings, dry_run=dry_run)
    online = keep.run(now, settings, dry_run=dry_run)
    if as_json:
        print_json(dumped(report) | {"online": dumped(online)})
        return
    went = "would go" if dry_run else "went"
    table = Table("kind", "kept", went, "bytes", box=None)
    for kind in report.kinds:
        table.add_row(kind.kind, f"{kind.kept:,}", f"{kind.n_gone:,}", f"{kind.bytes:,}")
    table.add_row("online states", f"{online.users - online.states:,}", f"{online.states:,}", "")
    console.print(table)
    console.print(f"{online.feedback:,} events of feedback went to the lake.")
    for kind in report.brief().kinds:
        for gone in kind.gone:
            console.print(f"{went}: {kind.kind} {gone.name}: {gone.why}")
        for name, why in kind.held.items():
            console.print(f"stays: {kind.kind} {name}: {why}")
    if any(max(kind.n_gone, len(kind.held)) > step.SHOWN for kind in report.kinds):
        console.print(f"At most {step.SHOWN} of a kind are listed; --json lists all.")


@app.command()
def doctor(home: Home = None, as_json: AsJson = False) -> None:
    """Look whether everything is where it should be."""
    from pinnersage import doctor as question

    found = question.run(settings_of(home))
    if as_json:
        print_json(dumped(found))
    else:
        for finding in found:
            mark = "good" if finding.good else "LOOK"
            console.print(f"{mark}  {finding.what}: {finding.says}")
    if not all(finding.good for finding in found):
        raise typer.Exit(1)


@app.command()
def reports(home: Home = None, as_json: AsJson = False) -> None:
    """Write a page of all days and their quality, to read without Airflow."""
    from pinnersage import history, runbook

    done = history.run(settings_of(home), runbook=runbook.page())
    tell(done, as_json=as_json, title="reports")


@app.command()
def tables(html: Html = None, home: Home = None, as_json: AsJson = False) -> None:
    """List every table: who writes it, how old it is, how much it covers."""
    from pinnersage import pages
    from pinnersage import tables as question

    now = clock()
    report = question.run(now, settings_of(home))
    if html:
        pages.write_page("tables.html.j2", {"report": report, "now": now}, html.absolute())
    if as_json:
        tell(report, as_json=True)
        return
    table = Table(
        "table", "written by", "parts", "newest", "rows", "age in days", "coverage", box=None
    )
    for one in report.tables:
        covered = "; ".join(f"{share:.1%} {of}" for of, share in one.coverage.items())
        table.add_row(
            one.name, one.owner, f"{one.n_parts:,}", str(one.newest or "-"), shown(one.rows),
            shown(one.age_days, ",.1f"), covered,
        )  # fmt: skip
    console.print(table)


@app.command()
def freshness(home: Home = None, as_json: AsJson = False) -> None:
    """Say how old the live release is; exit code 3 if it is late."""
    from pinnersage import freshness as question

    now = clock()
    found = question.run(now, settings_of(home))
    tell(found, as_json=as_json, title="freshness")
    if found.late:
        raise typer.Exit(LATE)


def main() -> None:
    """Run the command line; our own errors become one paragraph and exit code 1."""
    try:
        app()
    except PinnerSageError as error:
        Console(stderr=True, highlight=False, soft_wrap=True, emoji=False).print(
            f"Error: {error}", markup=False
        )
        sys.exit(1)


if __name__ == "__main__":
    main()
