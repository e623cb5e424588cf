"""Figures: the drawings of an evaluation's page.

Figure 3 and Figure 7 as in the paper, what was seen at each merge threshold, lifts beside the
paper's, lifts by activity, and how sequence models learned.
"""

from markupsafe import Markup

from pinnersage.evaluate import words
from pinnersage.evaluate.drawings import (
    Axis,
    Band,
    Line,
    Mark,
    Point,
    Whisker,
    lines,
    scatter,
    whiskers,
)
from pinnersage.evaluate.results import EvaluationReport, Row, Table, Training
from pinnersage.evaluate.svg import Words

PAPER_CLUSTERS = (Band(3, 5, "paper, light: 3 to 5"), Band(75, 100, "paper, heavy: 75 to 100"))
"""Clusters of light and of heavy users (section 3.1.1)."""


def percent(share: float) -> str:
    """Return a share for an axis."""
    return words.minus(f"{round(100 * share, 6):g} %")


def beside_the_paper(table: Table) -> dict[str, Markup]:
    """Return a figure for each measure that the paper has: our lifts and its own."""
    measures = [m for m in table.measures if any(m in row.paper for row in table.rows)]
    return {measure: _beside(table, measure) for measure in measures}


def _beside(table: Table, measure: str) -> Markup:
    rows = [row for row in table.rows if (measure in row.paper or row.chosen)]
    drawn = [_whisker(row, measure) for row in rows if row.model != table.base]
    about = "; ".join(f"{one.label}: {one.text}, paper {words.percent(one.other)}" for one in drawn)
    axis = Axis(f"lift over {table.base.lower()}", percent, holds=(0.0,))
    return whiskers(drawn, axis, Words(f"{words.measure_name(measure)}, beside the paper", about))


def _whisker(row: Row, measure: str) -> Whisker:
    lift, paper = row.lifts.get(measure), row.paper.get(measure)
    label = words.row_name(row) if paper is None else row.model
    if lift is None:
        return Whisker(label, None, other=paper, text=words.NOTHING)
    return Whisker(label, lift.value, lift.low, lift.high, paper, words.lift(lift))


def clusters(report: EvaluationReport) -> Markup:
    """Return clusters of a user at each merge threshold, with those of the paper."""
    groups = list(dict.fromkeys(group for point in report.sweep for group in point.clusters))
    drawn = [
        Line(
            f"{group} users",
            [(point.merge_threshold, point.clusters.get(group)) for point in report.sweep],
        )
        for group in groups
    ]
    return lines(
        drawn,
        _alpha(report),
        Axis("median of clusters a user", log=True),
        Words("Clusters at each merge threshold", "Falls as the threshold rises."),
        vertical=_chosen(report),
        bands=PAPER_CLUSTERS,
    )


def sweep_values(report: EvaluationReport) -> Markup:
    """Return each measure at each merge threshold."""
    measures = list(dict.fromkeys(name for point in report.sweep for name in point.values))
    drawn = [
        Line(
            words.measure_name(name),
            [(point.merge_threshold, point.values.get(name)) for point in report.sweep],
        )
        for name in measures
    ]
    return lines(
        drawn,
        _alpha(report),
        Axis("on the tuning days, chosen policy, equal cost", percent, holds=(0.0,)),
        Words("Measures at each merge threshold", "The table below has the numbers."),
        vertical=_chosen(report),
    )


def _alpha(report: EvaluationReport) -> Axis:
    above = all(point.merge_threshold > 0 for point in report.sweep)
    return Axis(f"merge threshold (the paper's {words.ALPHA})", log=above)


def _chosen(report: EvaluationReport) -> list[Mark]:
    choice = report.choice
    if choice is None:
        return []
    chosen = Mark(choice.merge_threshold, f"chosen {choice.merge_threshold:g}")
    if choice.by_rule is None or choice.by_rule == choice.merge_threshold:
        return [chosen]
    return [chosen, Mark(choice.by_rule, f"by rule {choice.by_rule:.3g}")]


def figure_7(report: EvaluationReport) -> Markup:
    """Return diversity against relevance, lifts over last pin, as more embeddings are asked."""
    curve = report.curve
    if curve is None:
        return Markup("")
    points = [
        Point(p.diversity_lift.value, p.relevance_lift.value, f"e = {p.n_vectors}")
        for p in curve.points
    ]
    about = "; ".join(
        f"{point.label}: diversity {words.percent(point.x, sign=True)}, "
        f"relevance {words.percent(point.y, sign=True)}"
        for point in points
    )
    return scatter(
        points,
        Axis("diversity, lift over last pin", percent),
        Axis("relevance, lift over last pin", percent),
        Words("Figure 7: diversity against relevance", about),
        vertical=[Mark(curve.actions_diversity_lift, "action pins' own")],
        joined=True,
    )


def figure_3(report: EvaluationReport) -> list[Markup]:
    """Return a figure for each user of Figure 3: cosine to the last pin against age."""
    return [
        scatter(
            [Point(*pair) for pair in zip(one.ages_days, one.cosines, strict=True)],
            Axis("age in days", holds=(0.0,)),
            Axis("cosine to the last pin", holds=(0.0, 1.0)),
            Words(
                f"Figure 3: user {number} of {len(report.timelines)}",
                f"{len(one.cosines)} actions; "
                f"{sum(cosine >= report.cosine_threshold for cosine in one.cosines)} of them at or "
                "above the cosine threshold.",
            ),
            horizontal=[Mark(report.cosine_threshold, f"threshold {report.cosine_threshold:.3g}")],
        )
        for number, one in enumerate(report.timelines, 1)
    ]


def by_activity(report: EvaluationReport) -> dict[str, Markup]:
    """Return a figure for each measure: lifts of users of like activity."""
    measures = list(dict.fromkeys(name for group in report.groups for name in group.lifts))
    return {name: _of_groups(report, name) for name in measures}


def _of_groups(report: EvaluationReport, measure: str) -> Markup:
    rows = []
    for group in report.groups:
        lift, label = group.lifts.get(measure), f"{group.label}, {group.n_users:,} users"
        if lift is not None:
            rows.append(Whisker(label, lift.value, lift.low, lift.high, text=words.lift(lift)))
    about = "; ".join(f"{row.label}: {row.text}" for row in rows)
    axis = Axis("lift of the chosen model", percent, holds=(0.0,))
    return whiskers(rows, axis, Words(f"{words.measure_name(measure)} by activity", about))


def training(one: Training) -> Markup:
    """Return the losses of a sequence model by step."""
    drawn = [
        Line("training", list(zip(one.steps, one.losses, strict=True))),
        Line("held out", list(zip(one.steps, one.held_out, strict=True))),
    ]
    ends = [words.number(loss) for loss in (*one.losses[:1], *one.losses[-1:])]
    about = f"The training loss goes from {' to '.join(ends)}." if ends else ""
    said = Words(f"How {one.model} learned", about)
    return lines(drawn, Axis("step", "{:,.0f}".format), Axis("loss"), said)
