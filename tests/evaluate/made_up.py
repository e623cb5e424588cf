"""An evaluation that nobody made: numbers as they could be, for what shows them."""

from datetime import date

import numpy as np

from pinnersage.evaluate import paper
from pinnersage.evaluate.results import (
    Candidate,
    Choice,
    Comparison,
    Contrast,
    Curve,
    CurvePoint,
    Estimate,
    EvaluationReport,
    Group,
    Row,
    SweepPoint,
    Table,
    Timeline,
    Training,
)

KINDS = ("all", "new", "repeats")
CHOSEN = "all, proportional shares"
POLICIES = ("sample 3, equal shares", "top 10, proportional shares", CHOSEN)


def about(value, spread=0.06):
    """A number and an interval around it."""
    return Estimate(value=value, low=value - spread, high=value + spread)


def retrieval(seed=1):
    """Table 4: models of one vector, and of many by each policy."""
    rng, rows = np.random.default_rng(seed), []
    measures = [f"{name}, {kind}" for kind in KINDS for name in ("relevance", "recall", "ndcg")]
    measures += ["diversity", "coverage", "candidates"]
    for model, known in paper.TABLE_4.items():
        many = model.startswith("PinnerSage") and "one sampled" not in model
        for policy in POLICIES if many else ("",):
            gain = 0.0 if model == "Last pin" else known[0] * rng.uniform(0.4, 1.3)
            gain += 0.4 * POLICIES.index(policy) if policy else 0.0
            values, lifts = {}, {}
            for place, name in enumerate(measures):
                lift = gain * (1 - 0.08 * place) - 0.1 * (place % 3) * (gain > 0)
                values[name] = about(0.08 * (1 + lift), 0.004)
                lifts[name] = about(lift) if gain else Estimate(value=0.0, low=0.0, high=0.0)
            values["candidates"] = about(93.0 - 4 * rng.random(), 0.3)
            values["coverage"] = Estimate(value=0.61)
            del lifts["coverage"], lifts["candidates"]
            known_lifts = dict(zip(("relevance, all", "recall, all"), known, strict=True))
            rows.append(
                Row(
                    model=model,
                    policy=policy,
                    values=values,
                    lifts=lifts,
                    p=dict.fromkeys(lifts, 0.002),
                    paper=known_lifts if policy in ("", POLICIES[0]) else {},
                    chosen=(model, policy) == ("PinnerSage", CHOSEN),
                )
            )
    return Table(
        name="Table 4",
        title="retrieval, at equal cost",
        about="Candidates of each model against the pins that users acted on that day.",
        measures=measures,
        base="Last pin",
        rows=rows,
        n_users=1_804,
        n_cases=2_954,
        n_targets={"all": 61_212, "new": 38_020, "repeats": 23_192},
    )


def accuracy():
    """Table 1."""
    measure = "accuracy, all"
    rows = [
        Row(
            model=model,
            values={measure: about(0.2 * (1 + 0.8 * known), 0.01)},
            lifts={measure: about(0.8 * known, 0.09 if known else 0)},
            paper={measure: known},
        )
        for model, known in paper.TABLE_1.items()
    ]
    return Table(
        name="Table 1",
        title="the next action",
        about="How often a vector of the user is near the pin of the next action.",
        measures=[measure],
        base="Last pin",
        rows=rows,
        n_users=1_804,
        n_cases=2_954,
        n_targets={"all": 61_212},
    )


def compared(*lifts):
    """Comparisons with lifts as given: relevance and recall on new pins, each at both budgets."""
    places = [
        (name, budget)
        for name in ("relevance, new", "recall, new")
        for budget in ("equal cost", "equal candidates")
    ]
    return [
        Comparison(
            budget=budget,
            measure=name,
            chosen=f"PinnerSage, {CHOSEN}",
            best_single="Decay average, λ = 0.01",
            lift=lift,
            p=0.002,
        )
        for (name, budget), lift in zip(places, lifts, strict=False)
    ]


def contrasts(*lifts):
    """Ward's clusters against k-means and complete linkage, with lifts as given."""
    others = (("PinnerSage, k-means (k = 5)", 0.1), ("PinnerSage, complete linkage", 0.12))
    return [
        Contrast(
            policy=POLICIES[0],
            budget="equal cost",
            measure="relevance, all",
            one="PinnerSage",
            other=other,
            lift=lift,
            paper=known,
        )
        for (other, known), lift in zip(others, lifts, strict=True)
    ]


def curve():
    """Figure 7: both rise, relevance less and less."""
    points = [
        CurvePoint(
            n_vectors=e,
            relevance=about(0.1 * (1 + gain), 0.01),
            recall=about(0.05 * (1 + gain), 0.005),
            diversity=about(0.2 + 0.03 * e, 0.01),
            relevance_lift=about(gain),
            diversity_lift=about(0.15 * e, 0.03),
        )
        for e in range(1, 11)
        for gain in [1.2 * (1 - 0.62**e)]
    ]
    own = Estimate(value=0.41, low=0.40, high=0.42)
    return Curve(points=points, actions_diversity=own, actions_diversity_lift=0.52)


def sweep():
    """Clusters of users and what they bring, at thresholds from 0.25 to 4."""
    return [
        SweepPoint(
            merge_threshold=alpha,
            clusters={"all": 14 / alpha, "light": 4 / alpha**0.7, "heavy": 90 / alpha},
            mean_cohesion=0.95 - 0.08 * alpha,
            values={
                "relevance, new": 0.3 - 0.03 * (np.log2(alpha) + 0.5) ** 2,
                "recall, new": 0.14 - 0.015 * (np.log2(alpha) + 0.7) ** 2,
            },
        )
        for alpha in (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0)
    ]


def choice():
    """What the tuning days chose, of many."""
    tried = [
        Candidate(
            merge_threshold=point.merge_threshold,
            decay_per_day=decay,
            policy=policy,
            values={
                k: v - abs(decay - 0.01) / 3 - 0.02 * i
                for k, v in point.values.items()
                if v is not None
            },
        )
        for point in sweep()
        for decay in (0.0, 0.01, 0.1)
        for i, policy in enumerate(POLICIES[::-1])
    ]
    return Choice(
        merge_threshold=0.75,
        decay_per_day=0.01,
        policy=CHOSEN,
        criterion="recall, new, equal cost",
        tried=tried,
        by_rule=1.1,
    )


def timelines(seed=5):
    """Three users who go from one interest to another."""
    rng = np.random.default_rng(seed)
    return [
        Timeline(
            ages_days=sorted(rng.uniform(0, 89, n).round(2).tolist()),
            cosines=np.clip(rng.choice([0.15, 0.3, 0.85], n) + rng.normal(0, 0.07, n), -1, 1)
            .round(3)
            .tolist(),
        )
        for n in (60, 25, 140)
    ]


def training():
    """How a network learned."""
    steps = list(range(0, 2001, 100))
    losses = [0.3 + 0.5 * float(np.exp(-step / 400)) for step in steps]
    held_out = [loss + 0.04 if i % 4 == 0 else None for i, loss in enumerate(losses)]
    text = "Log loss, 64 random and 16 hard negatives, two layers of 64."
    return [
        Training(
            model=model, about=text, steps=steps, losses=losses, held_out=held_out, seconds=212.4
        )
        for model in ("GRU", "HierTCN")
    ]


def groups():
    """Lifts by activity."""
    return [
        Group(
            label=f"{least} to {most} actions",
            n_users=451,
            n_cases=700 + 10 * i,
            lifts={
                "relevance, new": about(0.05 + 0.12 * i, 0.09),
                "recall, new": about(-0.02 + 0.1 * i, 0.08),
            },
        )
        for i, (least, most) in enumerate([(1, 12), (13, 40), (41, 110), (111, 2_300)])
    ]


def report(**other):
    """The whole of it, with other parts in place of some."""
    values = {
        "title": "PinnerSage on online_retail",
        "code_version": "0.6.0",
        "libraries": {"numpy": "2.3.5", "scikit-learn": "1.7.2"},
        "inputs": "9c1d7e0a52b8431f",
        "embeddings": "0f3a9be2c177d540",
        "n_pins": 3_701,
        "dimensions": 64,
        "first_day": date(2009, 12, 1),
        "tuning_days": (date(2010, 10, 1), date(2010, 10, 31)),
        "test_days": (date(2010, 11, 1), date(2010, 11, 30)),
        "seed": 0,
        "n_candidates": 100,
        "cosine_threshold": 0.8,
        "false_match_rate": 0.0123,
        "settings": {"model": {"window_days": 90, "merge_threshold": 0.75}, "days": ["a", "b"]},
        "n_users": 1_804,
        "n_actions": 407_332,
        "n_cases": 2_954,
        "n_targets": {"all": 61_212, "new": 38_020, "repeats": 23_192},
        "left_out": {
            "actions on pins without an embedding": 5_210,
            "users on a test day without a past in the window": 641,
        },
        "choice": choice(),
        "sweep": sweep(),
        "tables": [accuracy(), retrieval()],
        "comparisons": compared(about(0.45), about(0.31), about(0.2), about(0.03)),
        "contrasts": contrasts(about(-0.2), about(0.02)),
        "curve": curve(),
        "groups": groups(),
        "timelines": timelines(),
        "training": training(),
        "notes": ["Most user-days of this shop are one basket with one timestamp."],
    }
    return EvaluationReport(**values | other)
