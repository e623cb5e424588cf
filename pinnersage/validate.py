"""Validate: the expectations that a day's medoids must meet to be published.

Reads the day's buckets and, anew, the staged actions they came from; writes the report and, if
nothing failed, ``medoids/day=…``: the manifest of the whole day, which ``publish`` asks for. A
failed rule ends in a ``ChecksError`` that names rows, and nothing is published, unless a person
has waived just this report. What the day is compared with (days before it) is in the report
alone: the manifest depends on the day only.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
import pandas as pd
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict

from pinnersage import compare, erase, extract, online_against_batch, pages, queries
from pinnersage.config import Settings, medoids_fingerprint
from pinnersage.errors import ChecksError, WaivableError
from pinnersage.online_against_batch import Compared
from pinnersage.quality import LARGEST, Outcome, QualityReport, Rule, Waiver, add_up, judge
from pinnersage.schema import MEDOIDS
from pinnersage.stores import embeddings, open_lake, open_storage
from pinnersage.stores.lake import Lake, Manifest, broken_file
from pinnersage.stores.storage import Storage
from pinnersage.version import __version__

FRAME_ROWS = 100_000
"""Medoids in one data frame: buckets are put together up to it."""

MEDOID_RULES = (
    Rule("user, rank: one row each", ("user_id", "rank")),
    Rule("user, medoid: one row each", ("user_id", "pin_id")),
    Rule("rank counts 0, 1, 2 … within a user", ("rank_follows",)),
    Rule("importance is finite and above 0", ("importance",), least=0, most=LARGEST, strict=True),
    Rule("importance descends with rank", ("descends",)),
    Rule("importance is at most one an action", ("importance_is_possible",)),
    Rule("n_actions is at least 1", ("n_actions",), least=1, most=LARGEST),
    Rule("offset is a squared distance of unit vectors", ("offset",), least=0, most=4),
    Rule("cohesion is a cosine", ("cohesion",), least=-1, most=1),
    Rule("medoid is one of the user's own actions of the window", ("is_own_pin",)),
    Rule("actions of a cluster lie in the window", ("in_window",)),
)


BUCKET_RULES = (
    Rule("bucket was clustered", ("is_there",), runbook="buckets"),
    Rule("bucket was clustered with the settings in force", ("has_settings",), runbook="buckets"),
    Rule("bucket was clustered from the actions staged now", ("has_actions",), runbook="buckets"),
    Rule(
        "bucket was clustered from the embeddings valid on the day",
        ("has_embeddings",),
        runbook="stale embeddings",
    ),
)
FILE_RULE = Rule("medoids have their columns and types", ("has_columns",), runbook="schema")


class ValidateReport(BaseModel):
    """What the checks found."""

    model_config = ConfigDict(frozen=True)

    day: date
    passed: int
    warned: list[str]
    waived: list[str]
    measures: dict[str, float | int | str | None]
    content_hash: str
    version: str
    report: str
    """Name that the quality report is kept under."""
    page: str


class Facts(NamedTuple):
    """Rows of some buckets, beside what they must agree with."""

    medoids: pd.DataFrame
    users: pd.DataFrame
    counts: Counter[str]
    """Actions of the window that are ``kept``, and left out by reason."""


class Audit(NamedTuple):
    """What the rows of a day are, and what came of their rules."""

    outcomes: list[Outcome]
    measures: dict[str, Any]
    histograms: dict[str, dict[str, int]]
    parity: Compared | None = None


def run(day: date, settings: Settings) -> ValidateReport:
    """Judge ``day``; commit it whole when nothing failed, else retire what passed earlier."""
    own = erase.own_days("medoids", [day], settings)
    return erase.settled(lambda: judge_day(day, settings), settings, own)


def judge_day(day: date, settings: Settings) -> ValidateReport:
    """Do what ``run`` does, once."""
    lake, storage = open_lake(settings), open_storage(settings)
    buckets = current_buckets(lake, day)
    report = judged(lake, day, buckets, settings)
    report = report.model_copy(update={"waived": waiver_of(report, storage, settings)})
    page = pages.write_quality(report, storage)
    if report.status == "failed":
        lake.retire("medoids", day=day)
        raise failure(report, page, settings)
    manifest = lake.commit(day_manifest(report, [m for m in buckets if m], settings))
    return ValidateReport(
        day=day,
        passed=sum(outcome.status == "passed" for outcome in report.outcomes),
        warned=[f"{outcome.rule}: {outcome.observed}" for outcome in report.warned],
        waived=report.waived.rules if report.waived else [],
        measures=report.measures,
        content_hash=manifest.content_hash,
        version=manifest.version,
        report=report.version,
        page=page,
    )


def current_buckets(lake: Lake, day: date) -> list[Manifest | None]:
    """Return the current manifest of every bucket, None where there is none."""
    return [
        lake.current("medoids", day=day, bucket=bucket) for bucket in range(lake.layout.n_buckets)
    ]


def judged(
    lake: Lake, day: date, buckets: list[Manifest | None], settings: Settings
) -> QualityReport:
    """Return the report of a day; rows are judged only where the buckets are the day's own."""
    found = [manifest for manifest in buckets if manifest]
    outcomes = [
        *judge(bucket_frame(lake, day, buckets, settings), BUCKET_RULES, table="buckets",
               shown=("bucket", "clustered_from", "valid", "run")),
        *input_outcomes(lake, day, found),
    ]  # fmt: skip
    audited = Audit(outcomes, {}, {})
    if not any(o.status == "failed" for o in outcomes if o.table == "buckets"):
        audited = audit(lake, day, found, settings)
        audited = audited._replace(outcomes=[*outcomes, *audited.outcomes])
    return QualityReport(day=day, **audited._asdict(), made_from=sources(found))


def sources(buckets: Iterable[Manifest]) -> list[str]:
    """Return what a report is of: versions of buckets, and how many users were erased from each."""
    return [m.ref + (f" less {m.erased}" if m.erased else "") for m in buckets]


def bucket_frame(
    lake: Lake, day: date, buckets: list[Manifest | None], settings: Settings
) -> pd.DataFrame:
    """Return, for each bucket, whether it was made from what is in force now."""
    staged = [manifest.ref for manifest in extract.window_manifests(lake, day, settings)]
    vectors = embeddings.valid_at(lake, "embeddings", day)
    return pd.DataFrame(
        {
            "bucket": bucket,
            "clustered_from": f"embeddings {manifest.report['embeddings']}" if manifest else "",
            "valid": f"embeddings {vectors.partition['version']}",
            "run": f"pinnersage cluster --day {day} --bucket {bucket}",
            "is_there": manifest is not None,
            "has_settings": not manifest or manifest.settings_hash == medoids_fingerprint(settings),
            "has_actions": not manifest or list(manifest.reads[1:]) == staged,
            "has_embeddings": not manifest or manifest.reads[:1] == (vectors.ref,),
        }
        for bucket, manifest in enumerate(buckets)
    )


def audit(lake: Lake, day: date, buckets: list[Manifest], settings: Settings) -> Audit:
    """Judge every row of the day, then its sums."""
    table = embeddings.open_valid(lake, day)
    outcomes = file_outcomes(lake, buckets)
    if outcomes[0].status == "failed":
        return Audit(outcomes, {}, {})
    rules = user_rules(settings.checks.max_clusters_per_user)
    shown = (
        "user_id", "n_actions_acted", "n_actions_clustered",
        "importance_acted", "importance_clustered",
    )  # fmt: skip
    counts: Counter[str] = Counter()
    for facts in in_frames(bucket_facts(lake, day, buckets, settings, table)):
        outcomes += judge(
            facts.medoids, MEDOID_RULES, table="medoids", shown=("user_id", "rank", "pin_id")
        )
        outcomes += judge(facts.users, rules, table="users", shown=shown)
        counts += facts.counts
    with lake.workspace() as work, queries.connect(work / "spill", settings.run) as con:
        try:
            measures, histograms = measures_of(con, lake, buckets, counts)
            users = [compare.users_of(con, lake, manifest) for manifest in buckets]
            sums = compare.Day(day, measures, histograms, users, table.valid_from)
            of_day, compared = compare.run(con, lake, sums, settings.checks)
        except duckdb.Error as error:
            raise queries.translate(error, f"validate {day}") from error
    parity = online_against_batch.of_day(lake, day)
    agrees, agreement = compare.online(parity, settings.checks)
    found = [*add_up(outcomes), *of_day, *agrees]
    return Audit(found, measures | compared | agreement, histograms, parity)


def user_rules(max_clusters: int) -> tuple[Rule, ...]:
    """Return the rules for every user of a day."""
    return (
        Rule("actions in a user's clusters are the actions of the window", ("sums_agree",)),
        Rule("importance of a user's clusters is that of the actions", ("importance_agrees",)),
        Rule("first and last action of a user's clusters are the actions'", ("times_agree",)),
        Rule("clusters of a user", ("n_clusters",), least=1, most=max_clusters),
    )


def file_outcomes(lake: Lake, buckets: list[Manifest]) -> list[Outcome]:
    """Judge the columns of every file of the day; what cannot be read ends here."""
    expected = MEDOIDS.arrow(lake.layout.user_id, lake.layout.pin_id)
    rows = []
    for bucket, manifest in enumerate(buckets):
        for path in lake.paths(manifest):
            with broken_file(Path(path)):
                found = pq.read_schema(path)
            types = {
                name: str(found.field(name).type) if name in found.names else "none of that name"
                for name in expected.names
            }
            rows += [
                {
                    "bucket": bucket,
                    "column": field.name,
                    "expected": str(field.type),
                    "found": types[field.name],
                    "has_columns": types[field.name] == str(field.type),
                }
                for field in expected
            ]
    columns = ["bucket", "column", "expected", "found", "has_columns"]
    frame = pd.DataFrame(rows, columns=columns)
    return judge(frame, [FILE_RULE], table="medoids", shown=columns[:-1])


def bucket_facts(
    lake: Lake, day: date, buckets: list[Manifest], settings: Settings, table: embeddings.Embeddings
) -> Iterator[Facts]:
    """Yield each bucket's medoids and users beside what they must agree with."""

    def facts_of(bucket: int, share: Settings) -> Facts:
        with lake.workspace() as work, queries.connect(work / "spill", share.run) as con:
            try:
                counts = extract.label(con, lake, day, bucket, share, table)
                medoids_view(con, lake, [buckets[bucket]])
                return Facts(*audited(con, day, settings), Counter(counts))
            except duckdb.Error as error:
                raise queries.translate(error, f"validate {day}, bucket {bucket}") from error

    return extract.side_by_side(facts_of, len(buckets), settings)


def audited(
    con: duckdb.DuckDBPyConnection, day: date, settings: Settings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the medoids and the users of a bucket, each row beside what it must agree with."""
    parameters = extract.window(day, settings) | {"decay_per_day": settings.model.decay_per_day}
    texts = (queries.text("medoids/audit"), queries.text("medoids/users"))
    medoids, users = (con.sql(sql, params=queries.used(sql, parameters)).df() for sql in texts)
    return medoids, users


def in_frames(buckets: Iterable[Facts]) -> Iterator[Facts]:
    """Yield the facts of several buckets as one, so that small frames are not judged singly."""
    held: list[Facts] = []
    for facts in buckets:
        held.append(facts)
        if sum(len(one.medoids) for one in held) >= FRAME_ROWS:
            yield together(held)
            held = []
    if held:
        yield together(held)


def together(several: list[Facts]) -> Facts:
    """Return the facts of several buckets as one."""
    return Facts(
        pd.concat([one.medoids for one in several], ignore_index=True),
        pd.concat([one.users for one in several], ignore_index=True),
        sum((one.counts for one in several), Counter()),
    )


def medoids_view(con: duckdb.DuckDBPyConnection, lake: Lake, manifests: list[Manifest]) -> None:
    """Put the view ``medoids`` over the files of some manifests."""
    paths = lake.paths(*manifests)
    con.unregister("medoids")  # an empty bucket's table would hide the next bucket's view
    if paths:
        con.read_parquet(paths, hive_partitioning=False).create_view("medoids", replace=True)
    else:
        layout = lake.layout
        con.register("medoids", MEDOIDS.arrow(layout.user_id, layout.pin_id).empty_table())


def measures_of(
    con: duckdb.DuckDBPyConnection, lake: Lake, buckets: list[Manifest], counts: Counter[str]
) -> tuple[dict[str, Any], dict[str, dict[str, int]]]:
    """Return the day in numbers, and its histograms."""
    medoids_view(con, lake, buckets)
    measures = queries.first(con, queries.text("medoids/measures"))
    kept, unknown = counts["kept"], counts["unknown_pin"]
    measures["n_actions"] = kept
    left_out = sorted(item for item in counts.items() if item[0] != "kept")
    measures |= {f"dropped: {reason}": count for reason, count in left_out if count}
    measures["unknown_pin_share"] = unknown / (kept + unknown) if kept + unknown else 0.0
    histograms = {
        name: {str(bin_): n for bin_, n in con.execute(queries.text(f"medoids/{sql}")).fetchall()}
        for name, sql in (
            ("clusters per user", "clusters_histogram"),
            ("importance", "importance_histogram"),
        )
    }
    return measures, histograms


def input_outcomes(lake: Lake, day: date, buckets: list[Manifest]) -> list[Outcome]:
    """Judge what ``checks.sql`` found in the raw rows of the day and in the window's actions."""
    staged = lake.require("actions", f"pinnersage stage --day {day}", day=day)
    outcomes = []
    for table, manifests in (("raw actions", [staged]), ("window", buckets)):
        found: dict[str, dict[str, Any]] = {}
        for manifest in manifests:
            for item in manifest.report["checks"]:
                seen = found.setdefault(item["name"], item | {"n_rows": 0, "examples": []})
                seen["n_rows"] += item["n_rows"]
                seen["examples"] = (seen["examples"] + item["examples"])[: queries.EXAMPLES]
        rules = [
            Rule(
                f"none is {name}",
                (name,),
                item["severity"],
                most=0,
                unit=" rows",
                runbook="input checks",
            )
            for name, item in found.items()
        ]
        frame = pd.DataFrame([{name: item["n_rows"] for name, item in found.items()}])
        for outcome, item in zip(judge(frame, rules, table=table), found.values(), strict=True):
            outcomes.append(outcome.model_copy(update={"examples": item["examples"]}))
    return outcomes


def waiver_of(report: QualityReport, storage: Storage, settings: Settings) -> Waiver | None:
    """Return the waiver that a person gave to just this report, if it still may be given."""
    given = pages.read_quality(storage, report.day, report.version)
    return given.waived if given and is_waivable(report, settings) else None


def is_waivable(report: QualityReport, settings: Settings) -> bool:
    """Return whether every rule that failed may be waived."""
    return all(outcome.rule in settings.checks.waivable for outcome in report.failed)


def day_manifest(report: QualityReport, buckets: list[Manifest], settings: Settings) -> Manifest:
    """Return the manifest of the whole day: every bucket's files, and who waived what."""
    waived = {}
    if report.waived:
        waived = {"waived": report.waived.model_dump(mode="json") | {"report": report.version}}
    return Manifest(
        table="medoids",
        partition={"day": report.day.isoformat()},
        files=tuple(file for manifest in buckets for file in manifest.files),
        rows=sum(manifest.rows for manifest in buckets),
        content_hash=queries.hash_text(sum(int(m.content_hash, 16) for m in buckets)),
        settings_hash=medoids_fingerprint(settings),
        code_version=__version__,
        reads=tuple(manifest.ref for manifest in buckets),
        report={
            "embeddings": buckets[0].report["embeddings"],
            "measures": compare.own(report.measures),
            "histograms": report.histograms,
        }
        | waived,
    )


def failure(report: QualityReport, page: str, settings: Settings) -> ChecksError:
    """Return the error of a day that failed: what, with the first rows, and what to do."""
    lines = [f"{report.day}: {len(report.failed)} checks failed, nothing is published."]
    for outcome in report.failed[:10]:
        rows = "; ".join(
            ", ".join(f"{name} {value}" for name, value in row.items())
            for row in outcome.examples[:3]
        )
        lines.append(
            f"  {outcome.table}: {outcome.rule}: {outcome.observed}, expected {outcome.expected}"
            + (f". First rows: {rows}" if rows else "")
            + f". See runbook: {outcome.runbook}."
        )
    lines.append(f"Report: {page}")
    if not is_waivable(report, settings):
        return ChecksError("\n".join(lines), report.day, report.version)
    lines.append(
        "All of them may be waived (checks.waivable). If the day is right all the same: "
        f"pinnersage waive {report.day} --by NAME --reason TEXT"
    )
    return WaivableError("\n".join(lines), report.day, report.version)
