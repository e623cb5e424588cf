"""Words: numbers, measures and verdicts of an evaluation as people read them.

A lift is said with its interval, +45 % [39 %, 51 %], and decided by it: above 0 the model beats the
base, below 0 it does not, and where the interval holds 0 it cannot be told.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from pinnersage.evaluate.policies import BUDGETS
from pinnersage.evaluate.results import (
    Candidate,
    Choice,
    Comparison,
    Estimate,
    EvaluationReport,
    Row,
)

Verdict = Literal["beats", "does not beat", "cannot be told"]
NOTHING = "\N{EN DASH}"
ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
"""The paper's name for the merge threshold."""
MOST_DECIMALS, LEAST_P = 4, 0.001
"""Smaller numbers are not told apart."""
SMALL = 0.1
"""Lifts of which a number is smaller than this are said with a decimal."""

MEASURES = {
    "relevance": (
        "Relevance",
        "share of action pins near some recommended pin, by the cosine threshold (section 5.3.1)",
    ),
    "recall": ("Recall", "share of action pins that are recommended (section 5.3.1)"),
    "accuracy": (
        "Accuracy",
        "share of next actions near a vector of the user, by the cosine threshold (section 3)",
    ),
    "r-precision": (
        "R-Precision",
        "share of k actions among the first k, ranked with 20 impressions each (section 5.3.2)",
    ),
    "reciprocal rank": (
        "Reciprocal Rank",
        "mean of 1 / rank over all action pins, ranked with impressions; not MRR (section 5.3.2)",
    ),
    "diversity": ("Diversity", "mean cosine distance of two recommended pins (section 5.3.3)"),
    "hit rate": ("Hit rate", "share of user-days with an action pin among the first 20 candidates"),
    "ndcg": ("nDCG", "action pins among the first 20 candidates, earlier ones count for more"),
    "mrr": ("MRR", "mean over user-days of 1 / rank of the first candidate that was acted on"),
    "coverage": ("Coverage", "share of all pins that anyone was recommended"),
    "interest entropy": (
        "Interest entropy",
        "how evenly a user's importance is spread over interests, in nats",
    ),
    "effective interests": (
        "Effective interests",
        "e to the interest entropy: equal interests that would be as spread",
    ),
    "vectors": ("Vectors", "embeddings of a user, on average"),
    "candidates": ("Candidates", "pins recommended to a user on a day, on average"),
    "neighbours read": ("Neighbours read", "pins that the index returned, on average"),
    "searches": ("Searches", "questions to the index, on average"),
}
"""By name: title, and in one line what it is, with a section where it is the paper's."""

KINDS = {"all": "All action pins", "new": "New pins", "repeats": "Repeats", "": "Other measures"}
"""What a measure counts, after its comma."""


def stem(measure: str) -> str:
    """Return a measure's name without what it counts: ``recall`` of ``recall, new``."""
    return measure.rpartition(", ")[0] if kind(measure) else measure


def kind(measure: str) -> str:
    """Return what a measure counts, a key of ``KINDS``."""
    last = measure.rpartition(", ")[2]
    return last if last != measure and last in KINDS else ""


def title(measure: str) -> str:
    """Return a measure's name without what it counts, for the head of a column."""
    name = stem(measure)
    return MEASURES[name][0] if name in MEASURES else name[:1].upper() + name[1:]


def measure_name(measure: str) -> str:
    """Return a measure's whole name: Recall on new pins."""
    on = {"all": " on all pins", "new": " on new pins", "repeats": " on repeats", "": ""}
    return title(measure) + on[kind(measure)]


def explained(measures: Iterable[str]) -> list[tuple[str, str]]:
    """Return titles and explanations of measures, each once, in the order of ``MEASURES``."""
    wanted = {stem(measure) for measure in measures}
    return [MEASURES[name] for name in MEASURES if name in wanted]


def by_kind(measures: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return measures by what they count, in the order of ``KINDS``; a kind without any is not."""
    of: dict[str, list[str]] = {key: [] for key in KINDS}
    for measure in measures:
        of[kind(measure)].append(measure)
    return [(KINDS[key], found) for key, found in of.items() if found]


def number(value: float | None) -> str:
    """Return a number in three digits, or in more where it is large."""
    if value is None:
        return NOTHING
    power = math.floor(math.log10(abs(value))) if value else 2
    digits = min(MOST_DECIMALS, max(0, 2 - power))
    return minus(f"{value:,.{digits}f}")


def value(estimate: Estimate | None) -> str:
    """Return a value with its interval."""
    if estimate is None:
        return NOTHING
    if estimate.low is None or estimate.high is None:
        return number(estimate.value)
    return f"{number(estimate.value)} [{number(estimate.low)}, {number(estimate.high)}]"


def lift(estimate: Estimate | None) -> str:
    """Return a lift with its interval: +45 % [39 %, 51 %]."""
    if estimate is None or estimate.value is None:
        return NOTHING
    bounds = [bound for bound in (estimate.low, estimate.high) if bound is not None]
    digits = int(any(0 < abs(one) < SMALL for one in (estimate.value, *bounds)))
    text = percent(estimate.value, digits, sign=True)
    if estimate.low is None or estimate.high is None:
        return text
    return f"{text} [{', '.join(percent(bound, digits) for bound in bounds)}]"


def percent(share: float | None, digits: int = 0, *, sign: bool = False) -> str:
    """Return a share in percent; with ``sign`` what is above 0 has its plus."""
    if share is None:
        return NOTHING
    text = f"{100 * share:,.{digits}f}"
    if not float(text.replace(",", "")):
        return f"{text.lstrip('-')} %"
    return minus(f"+{text} %" if sign and share > 0 else f"{text} %")


def minus(text: str) -> str:
    """Return a number's text with a minus sign for its hyphen."""
    return text.replace("-", "\N{MINUS SIGN}", 1) if text.startswith("-") else text


def p_value(p: float | None) -> str:
    """Return a p-value."""
    if p is None:
        return NOTHING
    return f"{p:.3f}" if p >= LEAST_P else f"< {LEAST_P}"


def verdict(estimate: Estimate) -> Verdict:
    """Return what a lift says of its model."""
    if estimate.low is not None and estimate.low > 0:
        return "beats"
    if estimate.high is not None and estimate.high < 0:
        return "does not beat"
    return "cannot be told"


def order(estimate: Estimate) -> Literal["shown", "contradicted", "undecided"]:
    """Return what a lift says of an order in which the paper has it above 0."""
    said = verdict(estimate)
    if said == "beats":
        return "shown"
    return "contradicted" if said == "does not beat" else "undecided"


def criterion(choice: Choice) -> tuple[str, str]:
    """Return the measure that was largest, and at which budget, empty if it does not say."""
    measure, _, budget = choice.criterion.rpartition(", ")
    return (measure, budget) if budget in BUDGETS else (choice.criterion, "")


def criterion_name(choice: Choice) -> str:
    """Return what was largest: Recall on new pins at equal cost."""
    measure, budget = criterion(choice)
    return f"{measure_name(measure)} at {budget}" if budget else measure_name(measure)


def is_chosen(one: Candidate, choice: Choice) -> bool:
    """Return whether a candidate of the tuning days is the one that was chosen."""
    names = ("merge_threshold", "decay_per_day", "policy")
    return all(getattr(one, name) == getattr(choice, name) for name in names)


def ranked(choice: Choice) -> list[Candidate]:
    """Return what was tried on the tuning days, best first; equal ones stay in their order."""
    measure, _ = criterion(choice)

    def worth(one: Candidate) -> float:
        value = one.values.get(measure)
        return -math.inf if value is None else value

    return sorted(choice.tried, key=worth, reverse=True)


def row_name(row: Row) -> str:
    """Return a row's model, and its policy where it has one."""
    return named(row.model, row.policy)


def named(model: str, policy: str) -> str:
    """Return a model with its policy."""
    return f"{model} ({policy})" if policy else model


class Headline(NamedTuple):
    """An evaluation in a word and a sentence."""

    status: Literal["passed", "warned", "failed"]
    word: str
    sentence: str


def headline(report: EvaluationReport) -> Headline:
    """Return whether what was chosen beats the best model of one vector a user."""
    of = {word: [c for c in report.comparisons if verdict(c.lift) == word] for word in _SAID}
    found = [word for word in _SAID if of[word]]
    if not found:
        return Headline("warned", "not compared", "Nothing was compared with a single embedding.")
    chosen = list(dict.fromkeys(one.chosen for one in report.comparisons))
    said = [_SAID[word].format("it") + places(of[word]) for word in found]
    said[0] = _SAID[found[0]].format("the best single embedding") + places(of[found[0]])
    sentence = f"{listed(chosen)} {'; '.join(said)}."
    if found == ["beats"]:
        return Headline("passed", "beats", sentence)
    if "beats" in found:
        return Headline("warned", "beats in part", sentence)
    if "does not beat" in found:
        return Headline("failed", "does not beat", sentence)
    return Headline("warned", "cannot be told", sentence)


_SAID: dict[Verdict, str] = {
    "beats": "beats {} in ",
    "does not beat": "does not beat {} (the interval is below 0) in ",
    "cannot be told": "cannot be told from {} (the interval holds 0) in ",
}


def places(compared: Sequence[Comparison]) -> str:
    """Return where models were compared: each measure with its budgets."""
    budgets: dict[str, list[str]] = {}
    for one in compared:
        budgets.setdefault(one.measure, []).append(one.budget)
    return listed([f"{measure_name(name)} at {listed(found)}" for name, found in budgets.items()])


def listed(parts: Sequence[str]) -> str:
    """Return words as a list: a, b and c."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]]) if len(parts) > 1 else "".join(parts)


def flat(settings: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield settings as dotted names and JSON."""
    for key, value in settings.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value, ensure_ascii=False, default=str)
