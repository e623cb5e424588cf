"""Quality: rules about a data frame, judged by Great Expectations, and what came of them.

A rule becomes one expectation; an outcome says what was expected, what was observed and which
rows, of which user, are wrong. Frames are judged one at a time, so memory stays bounded, and
outcomes of the same rule are added up. Great Expectations takes seconds to import: it is
imported when the first frame is judged, never before.
"""

import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from functools import cache
from typing import Any, Literal

import pandas as pd
from pydantic import BaseModel, ConfigDict

from pinnersage.online_against_batch import Compared
from pinnersage.queries import EXAMPLES

Severity = Literal["fail", "warn"]
Status = Literal["passed", "failed", "warned", "not_judged"]
LARGEST = 1e15
"""``inf`` passes a rule without a maximum: this one stands for 'finite'."""


@dataclass(frozen=True)
class Rule:
    """What must hold for every row of a frame."""

    name: str
    """In words, as a reader of the report would say it; unique within its table."""
    columns: tuple[str, ...]
    """One column; several: their combination is unique."""
    severity: Severity = "fail"
    least: float | None = None
    most: float | None = None
    strict: bool = False
    """Whether ``least`` itself is too small."""
    unit: str = ""
    runbook: str = "failed check"

    @property
    def expected(self) -> str:
        """The rule's bounds in words."""
        if len(self.columns) > 1:
            return "unique"
        if self.least is None and self.most is None:
            return "true for every row"
        if self.least is None and self.most == 0:
            return "none"
        least = "" if self.least is None else f"{'>' if self.strict else '>='} {self.least:g}"
        finite = self.most is not None and self.most < LARGEST
        most = f"<= {self.most:g}" if finite else ("finite" if self.most else "")
        return " and ".join(part for part in (least, most) if part) + self.unit


class Outcome(BaseModel):
    """What came of one rule."""

    model_config = ConfigDict(frozen=True)

    rule: str
    table: str
    severity: Severity
    status: Status
    expected: str
    observed: str
    n_checked: int
    n_wrong: int
    examples: list[dict[str, Any]] = []
    runbook: str = ""


class Waiver(BaseModel):
    """Who released a day although rules failed, and why."""

    model_config = ConfigDict(frozen=True)

    rules: list[str]
    by: str
    reason: str
    at: datetime


class QualityReport(BaseModel):
    """A day's outcomes and measures: what the page shows and the gate obeys."""

    model_config = ConfigDict(frozen=True)

    day: date
    outcomes: list[Outcome]
    measures: dict[str, float | int | str | None]
    histograms: dict[str, dict[str, int]] = {}
    made_from: list[str] = []
    waived: Waiver | None = None
    parity: Compared | None = None
    """Online against batch; None where the day was stopped before its rows were judged."""

    @property
    def status(self) -> Literal["passed", "warned", "failed", "waived"]:
        """What became of the day; all but ``failed`` may be published."""
        if self.failed:
            return "waived" if self.waived else "failed"
        return "warned" if self.warned else "passed"

    @property
    def version(self) -> str:
        """16 hex digits of what was judged and found: the name it is kept under."""
        without = {"waived"} if self.parity else {"waived", "parity"}
        return hashlib.sha256(self.model_dump_json(exclude=without).encode()).hexdigest()[:16]

    @property
    def failed(self) -> list[Outcome]:
        """Outcomes that stop the release."""
        return [outcome for outcome in self.outcomes if outcome.status == "failed"]

    @property
    def warned(self) -> list[Outcome]:
        """Outcomes that are published and shown."""
        return [o for o in self.outcomes if o.status in {"warned", "not_judged"}]


def judge(
    frame: pd.DataFrame, rules: Sequence[Rule], *, table: str, shown: Sequence[str] = ()
) -> list[Outcome]:
    """Return what came of each rule on one frame; ``shown`` columns name a wrong row."""
    batch = whole_frame().get_batch(batch_parameters={"dataframe": frame})
    import great_expectations as gx  # noqa: PLC0415 (takes seconds)

    expectations = [part for number, rule in enumerate(rules) for part in expect(number, rule)]
    result = batch.validate(
        gx.ExpectationSuite(name=table, expectations=expectations),
        result_format={
            "result_format": "SUMMARY",
            "partial_unexpected_count": EXAMPLES,
            "include_unexpected_rows": True,
        },
    )
    found: dict[int, list[Any]] = {}
    for item in result.results:
        found.setdefault(item.expectation_config.meta["number"], []).append(item)
    return [
        outcome_of(rule, found[number], frame, table=table, shown=shown)
        for number, rule in enumerate(rules)
    ]


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Let a package look as if it were not installed, unless it has been imported already."""
    if name in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # Python's own word for "not there"
    try:
        yield
    finally:
        del sys.modules[name]


@cache
def whole_frame() -> Any:
    """Return Great Expectations' handle on whatever frame it is given."""
    os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
    # Else it tells of its own set-up in 170 lines of a task's log before the day's first word.
    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    # It imports PySpark wherever that is installed: seconds for nothing, and the end of the
    # process, with code 0, where `python -c` runs it and grpcio-status is not there.
    with absent("pyspark"):
        import great_expectations as gx  # noqa: PLC0415
    from great_expectations.data_context.types.base import ProgressBarsConfig  # noqa: PLC0415

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    asset = context.data_sources.add_pandas("frames").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("whole")


def expect(number: int, rule: Rule) -> list[Any]:
    """Return a rule as expectations; NaN counts as missing there, so it gets one of its own."""
    import great_expectations.expectations as gxe  # noqa: PLC0415

    severity = "critical" if rule.severity == "fail" else "warning"
    common = {"meta": {"number": number}, "severity": severity}
    if len(rule.columns) > 1:
        return [gxe.ExpectCompoundColumnsToBeUnique(column_list=list(rule.columns), **common)]
    present = gxe.ExpectColumnValuesToNotBeNull(column=rule.columns[0], **common)
    if rule.least is None and rule.most is None:
        holds = gxe.ExpectColumnValuesToBeInSet(column=rule.columns[0], value_set=[True], **common)
    else:
        holds = gxe.ExpectColumnValuesToBeBetween(
            column=rule.columns[0],
            min_value=rule.least,
            strict_min=rule.strict,
            max_value=rule.most,
            **common,
        )
    return [present, holds]


def outcome_of(
    rule: Rule, items: Sequence[Any], frame: pd.DataFrame, *, table: str, shown: Sequence[str]
) -> Outcome:
    """Return Great Expectations' results for one rule as one outcome."""
    n_wrong, examples = 0, []
    for item in items:
        if any(info.get("raised_exception") for info in exceptions(item.exception_info)):
            info = next(i for i in exceptions(item.exception_info) if i.get("raised_exception"))
            n_wrong += len(frame) or 1
            examples.append({"error": str(info.get("exception_message"))})
            continue
        n_wrong += int(item.result.get("unexpected_count", 0))
        wrong = item.result.get("unexpected_rows")
        if wrong is not None and len(wrong):
            # Whose row it is, then what is wrong with it, then the rest.
            wanted = (*shown[:1], *rule.columns, *shown[1:])
            columns = [column for column in wanted if column in wrong.columns]
            examples += rows_of(wrong[list(dict.fromkeys(columns))])
    failed: Status = "failed" if rule.severity == "fail" else "warned"
    one = len(frame) == 1 and len(rule.columns) == 1 and rule.columns[0] in frame
    observed = number(frame[rule.columns[0]].iloc[0]) + rule.unit if one and not shown else ""
    return Outcome(
        rule=rule.name,
        table=table,
        severity=rule.severity,
        status=failed if n_wrong else "passed",
        expected=rule.expected,
        observed=observed or breaking(n_wrong, len(frame)),
        n_checked=len(frame),
        n_wrong=n_wrong,
        examples=examples[:EXAMPLES] if shown else [],
        runbook=rule.runbook,
    )


def exceptions(info: dict[str, Any]) -> list[dict[str, Any]]:
    """Return exception records, which Great Expectations nests by metric or not at all."""
    if "raised_exception" in info:
        return [info]
    return [value for value in info.values() if isinstance(value, dict)]


def rows_of(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """Return rows as text, for people: fractions to 6 digits, ids and whole numbers as they are."""
    return [
        {
            str(name): f"{value:.6g}" if is_fraction(value) else str(value)
            for name, value in row.items()
        }
        for row in frame.head(EXAMPLES).to_dict(orient="records")
    ]


def is_fraction(value: object) -> bool:
    """Return whether a value is a number with a part behind the point, which may be long."""
    return isinstance(value, float) and not value.is_integer()


def number(value: float) -> str:
    """Return a number as people read it: whole ones whole, others to 6 digits."""
    whole = float(value).is_integer() and abs(value) < LARGEST
    return f"{int(value):,}" if whole else f"{value:g}"


def breaking(n_wrong: int, n_checked: int) -> str:
    """Return how many rows break a rule, in words."""
    verb = "breaks" if n_wrong <= 1 else "break"
    return f"{f'{n_wrong:,}' if n_wrong else 'none'} of {n_checked:,} rows {verb} it"


def add_up(outcomes: Sequence[Outcome]) -> list[Outcome]:
    """Return one outcome a rule from those of several frames, in order of first appearance."""
    merged: dict[tuple[str, str], Outcome] = {}
    for outcome in outcomes:
        key = (outcome.table, outcome.rule)
        before = merged.get(key)
        if before is None:
            merged[key] = outcome
            continue
        n_wrong, n_checked = before.n_wrong + outcome.n_wrong, before.n_checked + outcome.n_checked
        merged[key] = before.model_copy(
            update={
                "n_wrong": n_wrong,
                "n_checked": n_checked,
                "observed": breaking(n_wrong, n_checked),
                "examples": (before.examples + outcome.examples)[:EXAMPLES],
                "status": outcome.status if outcome.n_wrong else before.status,
            }
        )
    return list(merged.values())


def not_judged(rule: Rule, *, table: str, why: str) -> Outcome:
    """Return the outcome of a rule that lacks what it compares with: seen, and not a failure."""
    return Outcome(
        rule=rule.name,
        table=table,
        severity=rule.severity,
        status="not_judged",
        expected=rule.expected,
        observed=why,
        n_checked=0,
        n_wrong=0,
        runbook=rule.runbook,
    )


def stopped(
    rule: str,
    observed: str,
    *,
    table: str,
    rows: Sequence[dict[str, Any]] = (),
    runbook: str,
    expected: str = "true",
) -> Outcome:
    """Return the outcome of a rule that stopped a step before there was a frame to judge."""
    return Outcome(
        rule=rule,
        table=table,
        severity="fail",
        status="failed",
        expected=expected,
        observed=observed,
        n_checked=1,
        n_wrong=1,
        examples=list(rows)[:EXAMPLES],
        runbook=runbook,
    )
