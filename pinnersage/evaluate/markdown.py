"""Markdown: an evaluation as text, for a pull request or a wiki: the page without its drawings."""

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

from pinnersage.evaluate import words
from pinnersage.evaluate.results import Curve, EvaluationReport, Row, Table

MEANING = re.compile(r"([\\`*_{}\[\]<>#|~&])")
"""What Markdown or HTML would take for more than text."""


def markdown(report: EvaluationReport) -> bytes:
    """Return an evaluation as Markdown, in UTF-8."""
    parts = chain(
        opening(report),
        comparisons(report),
        *(table(one) for one in report.tables),
        contrasts(report),
        choice(report),
        sweep(report),
        curve(report.curve) if report.curve else (),
        activity(report),
        training(report),
        notes(report),
        made_from(report),
    )
    return ("\n".join(parts).rstrip() + "\n").encode()


def summary(report: EvaluationReport) -> str:
    """Return what a terminal has room for: what came out, and what a reader must know."""
    parts = chain(opening(report), comparisons(report), notes(report))
    return "\n".join(parts).rstrip()


def opening(report: EvaluationReport) -> Iterator[str]:
    """Yield what came out, and of what."""
    headline, tests = words.headline(report), report.test_days
    yield from (f"# {plain(report.title)}", "")
    yield from (f"**{headline.word}**: {plain(headline.sentence)}", "")
    targets = ", ".join(f"{n:,} {plain(kind)}" for kind, n in report.n_targets.items())
    yield from rows(
        ["What", "How many"],
        [
            ["test days", f"{tests[0]} to {tests[1]}"],
            ["tuning days", " to ".join(map(str, report.tuning_days or ())) or words.NOTHING],
            ["users", f"{report.n_users:,}"],
            ["actions", f"{report.n_actions:,} since {report.first_day}"],
            ["cases (a user on a test day)", f"{report.n_cases:,}"],
            ["action pins", targets],
            ["pins", f"{report.n_pins:,} of {report.dimensions} dimensions"],
            ["candidates", f"up to {report.n_candidates:,}"],
            ["cosine threshold", words.number(report.cosine_threshold)],
            ["random pairs that reach it", f"{words.number(100 * report.false_match_rate)} %"],
            *([f"left out: {plain(why)}", f"{n:,}"] for why, n in report.left_out.items()),
        ],
    )


def comparisons(report: EvaluationReport) -> Iterator[str]:
    """Yield the chosen model against the best one of one vector a user."""
    if report.comparisons:
        yield from ("## Against the best single embedding", "")
        yield from rows(
            ["Measure", "Budget", "Best single embedding", "Lift over it", "p", "The chosen one"],
            [
                [
                    plain(words.measure_name(one.measure)),
                    plain(one.budget),
                    plain(one.best_single),
                    words.lift(one.lift),
                    words.p_value(one.p),
                    words.verdict(one.lift),
                ]
                for one in report.comparisons
            ],
        )


def table(found: Table) -> Iterator[str]:
    """Yield a table: values and lifts of each model, and the paper's lift."""
    yield from (f"## {plain(found.name)}: {plain(found.title)}", "")
    targets = ", ".join(f"{n:,} {plain(kind)}" for kind, n in found.n_targets.items())
    yield f"{plain(found.about)} {found.n_users:,} users, {found.n_cases:,} cases; action pins:"
    yield f"{targets}. Lifts are over {plain(found.base)}; the paper's over its last pin."
    yield ""
    explained = words.explained(found.measures)
    yield from (f"- {plain(title)}: {plain(about)}" for title, about in explained)
    yield ""
    for label, measures in words.by_kind(found.measures):
        yield from (f"### {label}", "")
        yield from rows(
            ["Model", *(plain(words.title(name)) for name in measures)],
            [
                [plain(words.row_name(row)) + (" (chosen)" if row.chosen else "")]
                + [cell(row, name, found) for name in measures]
                for row in found.rows
            ],
        )


def cell(row: Row, measure: str, found: Table) -> str:
    """Return a lift, the value, and the paper's lift."""
    parts, lift = [], row.lifts.get(measure)
    if row.model == found.base:
        parts.append("base")
    elif lift is not None and lift.value is not None:
        undecided = words.verdict(lift) == "cannot be told"
        parts.append(words.lift(lift) + (", undecided" if undecided else ""))
    parts.append(words.value(row.values.get(measure)))
    if measure in row.paper and row.model != found.base:
        parts.append(f"paper {words.percent(row.paper[measure], sign=True)}")
    return "; ".join(parts)


def contrasts(report: EvaluationReport) -> Iterator[str]:
    """Yield Ward's clusters against others, and whether the paper's order shows."""
    if report.contrasts:
        yield from ("## Ward's clusters against others", "")
        yield from rows(
            [
                "Lift of",
                "Over",
                "Measure",
                "Policy",
                "Budget",
                "Here",
                "Paper",
                "The paper's order",
            ],
            [
                [
                    *(plain(one.one), plain(one.other), plain(words.measure_name(one.measure))),
                    *(plain(one.policy), plain(one.budget), words.lift(one.lift)),
                    *(words.percent(one.paper, sign=True), words.order(one.lift)),
                ]
                for one in report.contrasts
            ],
        )


def choice(report: EvaluationReport) -> Iterator[str]:
    """Yield what the tuning days chose."""
    chosen = report.choice
    if chosen:
        yield from ("## What was chosen", "")
        yield (
            f"{words.ALPHA} = {chosen.merge_threshold:g}, λ = {chosen.decay_per_day:g} a day, "
            f"policy {plain(chosen.policy)}, for the largest "
            f"{plain(words.criterion_name(chosen))}."
        )
        if chosen.by_rule is not None:
            yield f"The rule that needs no future takes {words.ALPHA} = {chosen.by_rule:.3g}."
        yield ""
        measures = unique(name for one in chosen.tried for name in one.values)
        yield from rows(
            [
                words.ALPHA,
                "λ a day",
                "Policy",
                *(plain(words.measure_name(name)) for name in measures),
            ],
            [
                [f"{one.merge_threshold:g}", f"{one.decay_per_day:g}", plain(one.policy)]
                + [words.number(one.values.get(name)) for name in measures]
                for one in words.ranked(chosen)
            ],
        )


def sweep(report: EvaluationReport) -> Iterator[str]:
    """Yield what was seen at each merge threshold."""
    if report.sweep:
        groups = unique(group for point in report.sweep for group in point.clusters)
        measures = unique(name for point in report.sweep for name in point.values)
        yield from ("## Merge thresholds", "")
        yield from ("In the paper light users have 3 to 5 clusters and heavy ones 75 to 100.", "")
        yield from rows(
            [
                *(words.ALPHA, *(f"Clusters: {plain(group)}" for group in groups), "Mean cohesion"),
                *(plain(words.measure_name(name)) for name in measures),
            ],
            [
                [f"{point.merge_threshold:g}"]
                + [words.number(point.clusters.get(group)) for group in groups]
                + [words.number(point.mean_cohesion)]
                + [words.number(point.values.get(name)) for name in measures]
                for point in report.sweep
            ],
        )


def curve(found: Curve) -> Iterator[str]:
    """Yield Figure 7 in numbers."""
    own = words.percent(found.actions_diversity_lift, sign=True)
    yield from ("## Figure 7: diversity against relevance, lifts over last pin", "")
    yield f"Diversity of the action pins: {words.value(found.actions_diversity)}, a lift of {own}."
    yield ""
    yield from rows(
        ["e", "Relevance", "Relevance, lift", "Recall", "Diversity", "Diversity, lift"],
        [
            [
                *(f"{point.n_vectors}", words.value(point.relevance)),
                *(words.lift(point.relevance_lift), words.value(point.recall)),
                *(words.value(point.diversity), words.lift(point.diversity_lift)),
            ]
            for point in found.points
        ],
    )


def activity(report: EvaluationReport) -> Iterator[str]:
    """Yield lifts by activity of the user."""
    if report.groups:
        measures = unique(name for group in report.groups for name in group.lifts)
        yield from ("## By activity of the user", "")
        yield from rows(
            ["Users", "How many", "Cases", *(plain(words.measure_name(n)) for n in measures)],
            [
                [plain(group.label), f"{group.n_users:,}", f"{group.n_cases:,}"]
                + [words.lift(group.lifts.get(name)) for name in measures]
                for group in report.groups
            ],
        )


def training(report: EvaluationReport) -> Iterator[str]:
    """Yield how sequence models learned."""
    if report.training:
        yield from ("## How sequence models learned", "")
        yield from rows(
            ["Model", "About", "Steps", "First loss", "Last loss", "Last held out", "Seconds"],
            [
                [
                    *(plain(one.model), plain(one.about), f"{one.steps[-1] if one.steps else 0:,}"),
                    words.number(one.losses[0] if one.losses else None),
                    words.number(one.losses[-1] if one.losses else None),
                    words.number(next((x for x in one.held_out[::-1] if x is not None), None)),
                    words.number(one.seconds),
                ]
                for one in report.training
            ],
        )


def notes(report: EvaluationReport) -> Iterator[str]:
    """Yield what a reader must know."""
    if report.notes:
        yield from ("## To know when reading", "")
        yield from (f"- {plain(note)}" for note in report.notes)
        yield ""


def made_from(report: EvaluationReport) -> Iterator[str]:
    """Yield versions and hashes."""
    yield from ("## Made from", "")
    yield from rows(
        ["What", "Which"],
        [
            ["version of this report", plain(report.version)],
            ["hash of the inputs", plain(report.inputs)],
            ["embeddings", plain(report.embeddings)],
            ["seed", f"{report.seed}"],
            ["PinnerSage", plain(report.code_version)],
            *([plain(name), plain(version)] for name, version in report.libraries.items()),
            *([plain(name), plain(value)] for name, value in words.flat(report.settings)),
        ],
    )


def rows(head: Sequence[str], body: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yield a table, and the empty line after it."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in body)
    yield ""


def plain(text: str) -> str:
    """Return text that Markdown shows as it is, on one line."""
    return MEANING.sub(r"\\\1", " ".join(text.split()))


def unique(names: Iterable[str]) -> list[str]:
    """Return names, each once, in order of appearance."""
    return list(dict.fromkeys(names))
