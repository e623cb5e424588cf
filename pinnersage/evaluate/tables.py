"""Tables: what was measured of models, side by side, as lifts over the last pin with intervals."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pinnersage.evaluate import lifts, paper
from pinnersage.evaluate.histories import Integers
from pinnersage.evaluate.metrics import Sums
from pinnersage.evaluate.results import Comparison, Contrast, Estimate, Row, Table


class Measured(NamedTuple):
    """One row before it is one: a model, its policy, and a number a case for each measure."""

    model: str
    policy: str
    sums: Mapping[str, Sums]
    single: bool = False
    """Whether the model makes one vector a user."""
    chosen: bool = False
    coverage: float = 0.0
    """Share of all pins that anyone was recommended."""


class Frame(NamedTuple):
    """What a table says of itself."""

    name: str
    title: str
    about: str
    measures: Sequence[str]
    paper: Mapping[str, Mapping[str, float]] = {}
    """The paper's lifts by model and measure."""


def table(
    frame: Frame,
    rows: Sequence[Measured],
    users: Integers,
    n_targets: Mapping[str, int],
    seed: int,
) -> Table:
    """Return a table; the first row is the base of all lifts.

    Parameters
    ----------
    frame : Frame
    rows : sequence of Measured
    users : intp[n]
        User of each case.
    n_targets : mapping
        Action pins by kind.
    seed : int
        Of the bootstrap.
    """
    found: list[dict[str, dict[str, Estimate | float | None]]] = [
        {"values": {}, "lifts": {}, "p": {}} for _ in rows
    ]
    for measure in frame.measures:
        base = rows[0].sums[measure]
        named = {str(i): row.sums[measure] for i, row in enumerate(rows)}
        for i, lift in lifts.lifts(base, named, users, seed=seed).items():
            found[int(i)]["values"][measure] = estimate(lift.value)
            found[int(i)]["lifts"][measure] = estimate(lift.lift)
            found[int(i)]["p"][measure] = lift.p
    return Table(
        name=frame.name,
        title=frame.title,
        about=frame.about,
        measures=list(frame.measures),
        base=rows[0].model,
        rows=[
            Row(
                model=row.model,
                policy=row.policy,
                chosen=row.chosen,
                paper=dict(frame.paper.get(row.model, {})),
                **found[i],
            )
            for i, row in enumerate(rows)
        ],
        n_users=len(set(users.tolist())),
        n_cases=users.size,
        n_targets=dict(n_targets),
    )


def extended(found: Table, measure: str, values: Sequence[float]) -> Table:
    """Return a table with one more measure, a number a row that has no interval."""
    rows = [
        row.model_copy(update={"values": row.values | {measure: Estimate(value=value)}})
        for row, value in zip(found.rows, values, strict=True)
    ]
    return found.model_copy(update={"measures": [*found.measures, measure], "rows": rows})


def against_best_single(
    budget: str, measure: str, rows: Sequence[Measured], users: Integers, seed: int
) -> Comparison:
    """Return the chosen row against the best of one vector a user, by their values here.

    The best is taken after the fact, on the days that are judged: that favours it.
    """
    singles = [row for row in rows if row.single]
    best = max(singles, key=lambda row: row.sums[measure].value or 0.0)
    chosen = next(row for row in rows if row.chosen)
    lift = lifts.lifts(best.sums[measure], {"": chosen.sums[measure]}, users, seed=seed)[""]
    return Comparison(
        budget=budget,
        measure=measure,
        chosen=f"{chosen.model}, {chosen.policy}",
        best_single=best.model,
        lift=estimate(lift.lift),
        p=lift.p,
    )


def contrast(
    policy: str,
    budget: str,
    measure: str,
    pair: tuple[Measured, Measured],
    users: Integers,
    seed: int,
) -> Contrast:
    """Return one row against another on the same cases."""
    one, other = pair
    lift = lifts.lifts(other.sums[measure], {"": one.sums[measure]}, users, seed=seed)[""]
    return Contrast(
        policy=policy,
        budget=budget,
        measure=measure,
        one=one.model,
        other=other.model,
        lift=estimate(lift.lift),
        paper=in_paper(measure, one.model, other.model),
    )


def in_paper(measure: str, one: str, other: str) -> float | None:
    """Return the lift of one model over another that the paper's Table 4 implies, if it does."""
    place = {"relevance, all": 0, "recall, all": 1}.get(measure)
    if place is None or one not in paper.TABLE_4 or other not in paper.TABLE_4:
        return None
    return (1 + paper.TABLE_4[one][place]) / (1 + paper.TABLE_4[other][place]) - 1


def estimate(interval: lifts.Interval) -> Estimate:
    """Return an interval as results hold it."""
    return Estimate(value=interval.value, low=interval.low, high=interval.high)
