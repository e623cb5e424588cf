"""Results: what an evaluation found, as plain data: the page, JSON and Markdown show the same."""

from datetime import date
from typing import Any

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A part of the results."""

    model_config = ConfigDict(frozen=True)


class Estimate(Frozen):
    """A number with its 95 % interval over users; None where it is not defined."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Row(Frozen):
    """One model in a table."""

    model: str
    policy: str = ""
    """How its vectors become candidates; empty where that does not matter."""
    values: dict[str, Estimate]
    """By measure, such as ``relevance, new``."""
    lifts: dict[str, Estimate] = {}
    """Over the table's base, by measure: 0.1 is 10 %."""
    p: dict[str, float | None] = {}
    """Of the lifts, two-sided."""
    paper: dict[str, float] = {}
    """The paper's lift over last pin, by measure, where it has one."""
    chosen: bool = False
    """Whether this is the model and policy that the tuning days chose."""


class Table(Frozen):
    """Models side by side."""

    name: str
    """``Table 4`` and such."""
    title: str
    about: str
    """What is counted, in a sentence or two."""
    measures: list[str]
    base: str
    """The row that lifts are over."""
    rows: list[Row]
    n_users: int
    n_cases: int
    n_targets: dict[str, int]
    """Denominators: action pins by kind (``all``, ``new``, ``repeats``)."""


class Comparison(Frozen):
    """The chosen model and policy against the best model of one vector a user."""

    budget: str
    """``equal cost`` or ``equal candidates``."""
    measure: str
    chosen: str
    best_single: str
    """Of all models of one vector the one with the largest value of this measure."""
    lift: Estimate
    p: float | None


class Contrast(Frozen):
    """PinnerSage with Ward's clusters against another way to cluster, all else alike."""

    policy: str
    budget: str
    measure: str
    one: str
    other: str
    lift: Estimate
    """Of the one over the other; the paper's order has it above 0."""
    paper: float | None = None
    """What the paper's Table 4 gives for it."""


class CurvePoint(Frozen):
    """Figure 7 at one number of embeddings."""

    n_vectors: int
    relevance: Estimate
    recall: Estimate
    diversity: Estimate
    relevance_lift: Estimate
    diversity_lift: Estimate


class Curve(Frozen):
    """Figure 7: diversity against relevance as more embeddings are asked, lifts over last pin."""

    points: list[CurvePoint]
    actions_diversity: Estimate
    """Of the action pins themselves: the figure's line."""
    actions_diversity_lift: float | None


class SweepPoint(Frozen):
    """One merge threshold, on the tuning days."""

    merge_threshold: float
    clusters: dict[str, float | None]
    """Median clusters of a user: ``all``, ``light`` and ``heavy`` ones."""
    mean_cohesion: float
    values: dict[str, float | None]
    """By measure, with the chosen policy at equal cost."""


class Candidate(Frozen):
    """One policy on the tuning days."""

    merge_threshold: float
    decay_per_day: float
    policy: str
    values: dict[str, float | None]


class Choice(Frozen):
    """What the tuning days chose, before any test day was looked at."""

    merge_threshold: float
    decay_per_day: float
    policy: str
    criterion: str
    """The measure that was largest."""
    tried: list[Candidate]
    by_rule: float | None = None
    """The merge threshold that a rule without any future would take (decision 42)."""


class Group(Frozen):
    """Users of like activity: the chosen model over the base."""

    label: str
    """Such as ``1 to 12 actions``."""
    n_users: int
    n_cases: int
    lifts: dict[str, Estimate]


class Timeline(Frozen):
    """Figure 3: one user's actions by age, and their cosine to the last pin."""

    ages_days: list[float]
    cosines: list[float]


class Training(Frozen):
    """How a sequence model learned."""

    model: str
    about: str
    """Loss, negatives, sizes."""
    steps: list[int]
    losses: list[float]
    held_out: list[float | None]
    seconds: float | None = None


class EvaluationReport(Frozen):
    """All of it."""

    title: str
    version: str = ""
    """16 hex digits of the content."""
    code_version: str
    libraries: dict[str, str]
    inputs: str
    """Hash of who did what when, and of the embeddings."""
    embeddings: str
    n_pins: int
    dimensions: int
    first_day: date
    tuning_days: tuple[date, date] | None
    test_days: tuple[date, date]
    seed: int
    n_candidates: int
    cosine_threshold: float
    false_match_rate: float
    """Share of random pairs of pins that reach the threshold."""
    settings: dict[str, Any]
    n_users: int
    n_actions: int
    n_cases: int
    n_targets: dict[str, int]
    left_out: dict[str, int]
    """What is not counted, by reason."""
    choice: Choice | None = None
    sweep: list[SweepPoint] = []
    tables: list[Table]
    comparisons: list[Comparison] = []
    contrasts: list[Contrast] = []
    curve: Curve | None = None
    groups: list[Group] = []
    timelines: list[Timeline] = []
    training: list[Training] = []
    notes: list[str] = []
    """What a reader must know: what was not measured, and why."""
