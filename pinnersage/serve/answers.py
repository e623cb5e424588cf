"""Answers: what is asked with, and what comes back, as the OpenAPI document says it.

An id is text or a whole number, as the lake has it. Every answer about users and pins
names the release it comes from.
"""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SkipValidation,
    field_validator,
)

from pinnersage.config import Allocation
from pinnersage.ids import Id, IdText, PlainId, as_utf8, no_text
from pinnersage.online.current import From
from pinnersage.online.events import REASONS, Event

MAX_EXCLUDED = 1_000
MAX_EVENTS = 1_000
MAX_DRAW = 2**31 - 1


Topic = Annotated[str, Field(min_length=1, max_length=200), AfterValidator(as_utf8)]
Draw = Annotated[
    int,
    Field(ge=0, le=MAX_DRAW, description="For equal: another number, another sample of medoids."),
]


class Question(BaseModel):
    """What is asked with: a name that is not known is an error, not a wish unheard."""

    model_config = ConfigDict(extra="forbid")


class Answer(BaseModel):
    """What comes back."""


class Wanted(Question):
    """What a request wants otherwise than the settings say."""

    draw: Draw = 0
    allocation: Annotated[
        Allocation | None, Field(description="Which medoids bring how many; default: the setting.")
    ] = None
    min_cosine: Annotated[
        float, Field(ge=-1, le=1, description="Least cosine to the medoid that brings a pin.")
    ] = -1.0
    relevance: Annotated[
        float, Field(ge=0, le=1, description="Below 1, candidates in a row are less alike.")
    ] = 1.0
    fresh_days: Annotated[
        int | None,
        Field(ge=1, le=36_500, description="Only pins made within as many days before the end."),
    ] = None
    topics: Annotated[
        list[Topic], Field(max_length=20, description="Only pins about any of these.")
    ] = []
    explain: Annotated[
        bool, Field(description="Also say which medoid brought each candidate, and how.")
    ] = False


class OneUser(Wanted):
    """Recommendations for one user, asked for in the query."""

    user: Annotated[IdText, Field(examples=["u42"])]
    exclude: Annotated[
        list[IdText], Field(max_length=100, description="Pins that must not come; repeatable.")
    ] = []


class ManyUsers(Wanted):
    """Recommendations for several users, or with many pins excluded."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"users": ["u42", "u7"], "exclude": ["p1"]}]}
    )

    users: Annotated[list[Id], Field(min_length=1)]
    explain: Annotated[
        bool, Field(strict=True, description="Also say which medoid brought each candidate.")
    ] = False
    exclude: Annotated[
        list[Id], Field(max_length=MAX_EXCLUDED, description="Pins that must not come.")
    ] = []

    @field_validator("draw", "min_cosine", "relevance", "fresh_days", mode="before")
    @classmethod
    def numbers_are_numbers(cls, value: object) -> object:
        """Refuse a text: only a query has nothing else."""
        return no_text(value)


class OneUsersMedoids(Question):
    """Whose medoids."""

    user: Annotated[IdText, Field(examples=["u42"])]


class OneUserToLookAt(OneUsersMedoids):
    """Whom the page for people shows."""

    draw: Draw = 0


class OnePin(Question):
    """Similar pins of which."""

    pin: Annotated[IdText, Field(examples=["p17"])]
    limit: Annotated[int, Field(ge=1, le=10_000, description="Most pins.")] = 100


class Stamp(Answer):
    """Where an answer comes from."""

    release: Annotated[int, Field(examples=[12])]
    day: Annotated[date, Field(description="The last day of actions in it.")]
    embeddings: Annotated[str, Field(examples=["9f3c2a10be77"])]


class Online(Answer):
    """What counts beside the release: what the user did since the end of its day."""

    actions: Annotated[int, Field(description="Latest actions that count among the clusters.")]
    last_acted_at: Annotated[datetime | None, Field(description="Of the newest; null: none.")]


OnlineOrNot = Annotated[
    Online | None,
    Field(description="Null: what was done since cannot be told now; the release alone answers."),
]


class Cluster(Answer):
    """One of a user's interests."""

    pin_id: Annotated[PlainId, Field(description="Its medoid (eq. 2).", examples=["p17"])]
    importance: Annotated[
        float,
        Field(description="Equation 3, at the end of the day; now, where online actions count."),
    ]
    n_actions: int
    last_acted_at: datetime
    came_from: Annotated[
        From,
        Field(
            alias="from",
            description="batch: the release; online: actions since alone; both: it has grown.",
        ),
    ]


class UsersMedoids(Stamp):
    """A user's clusters as of now, most important first."""

    user: PlainId
    online: OnlineOrNot
    clusters: list[Cluster]


class Candidate(Answer):
    """A pin for ranking."""

    pin_id: Annotated[PlainId, Field(examples=["p3"])]
    cosine: Annotated[float | None, Field(description="To its medoid; null for a popular pin.")]
    medoid: Annotated[
        PlainId | None, Field(description="With explain: which of the user's medoids brought it.")
    ] = None
    neighbours: Annotated[
        Literal["searched", "remembered"] | None,
        Field(description="With explain: how its medoid's neighbours were found."),
    ] = None
    came_from: Annotated[
        From | None,
        Field(alias="from", description="With explain: where its medoid's cluster comes from."),
    ] = None


class Recommended(Answer):
    """What one user is recommended."""

    user: PlainId
    draw: int
    arm: Annotated[
        str | None, Field(description="The user's arm, where the answer is part of an experiment.")
    ]
    fallback: Annotated[
        bool,
        Field(description="Nothing is known of the user: the candidates are the popular pins."),
    ]
    online: OnlineOrNot
    medoids: Annotated[list[PlainId], Field(description="Those that were asked.")]
    candidates: list[Candidate]


class OneRecommended(Stamp, Recommended):
    """Recommendations for one user."""


class ManyRecommended(Stamp):
    """Recommendations for several users, in the order of the question, of one release."""

    results: list[Recommended]


class Events(Question):
    """What users did or were shown. Each is judged alone: one that is no event is refused alone."""

    events: Annotated[list[SkipValidation[Event | Any]], Field(min_length=1, max_length=MAX_EVENTS)]


class RefusedEvent(Answer):
    """An event that was refused."""

    position: Annotated[int, Field(description="In the question, from 0.")]
    reason: Annotated[str, Field(examples=list(REASONS))]
    says: Annotated[str, Field(description="Why, in words.")]


class EventsTaken(Answer):
    """What became of posted events."""

    verdicts: Annotated[
        dict[str, int],
        Field(
            description="How many, by verdict: kept, not_interest (known, and of no use here), "
            "handed_on (consumers will judge it), or why they were refused.",
            examples=[{"kept": 2, "unknown_pin": 1}],
        ),
    ]
    refused: list[RefusedEvent]


class ManyUsersFeatures(Question):
    """Whose features."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"users": ["u42", "u7"]}]})

    users: Annotated[list[Id], Field(min_length=1)]
    embeddings: Annotated[
        bool, Field(strict=True, description="Also the vector of each medoid.")
    ] = False


class UserFeatures(Answer):
    """One user's medoids, most important first; where there is a reason there are none."""

    user: PlainId
    reason: Annotated[
        Literal["unknown_user", "blocked", "too_old"] | None, Field(description="Why none.")
    ]
    medoids: list[PlainId]
    importance: list[float]
    n_actions: list[int]
    last_acted_at: list[datetime]
    embeddings: Annotated[
        list[list[float]] | None, Field(description="Of each medoid, where asked for.")
    ] = None


class ManyFeatures(Stamp):
    """Features of several users, in the order of the question, of one release."""

    age_days: Annotated[float, Field(description="From the end of the release's day to now.")]
    users: list[UserFeatures]


class SimilarPin(Answer):
    """A pin near another."""

    pin_id: PlainId
    cosine: float


class Similar(Stamp):
    """Pins near a pin, nearest first."""

    pin: PlainId
    similar: list[SimilarPin]


class Ready(Answer):
    """Which release answers, and how old it is."""

    ready: bool
    release: int | None
    day: date | None
    age_hours: Annotated[float | None, Field(description="Since the end of the day.")]
    problem: Annotated[str, Field(description="Why a newer release does not answer; else empty.")]


class Healthy(Answer):
    """The process answers."""

    healthy: Literal[True] = True


Reason = Annotated[
    str,
    Field(
        max_length=1000,
        pattern=r"[A-Za-z0-9]",
        examples=["Court order 7/26"],
        description="Why; with a letter or a digit in it.",
    ),
]


class AboutPin(Question):
    """An order about a pin."""

    pin: Id
    reason: Reason


class AboutUser(Question):
    """An order about a user."""

    user: Id
    reason: Reason


class Erased(Answer):
    """What an order to erase a user came to; the user is not in it."""

    by: Annotated[str, Field(description="The name of the key it was first given with.")]
    reason: str
    at: datetime
    new: Annotated[bool, Field(description="False where the order was there already.")]
    done: Annotated[datetime, Field(description="Time of the order that left nothing of them.")]
    found: Annotated[bool, Field(description="Whether there was anything of the user.")]


class Ordered(Answer):
    """What an order changed."""

    pin: str
    what: Literal["block", "unblock"]
    by: Annotated[str, Field(description="The name of the key it was given with.")]
    reason: str
    changed: Annotated[bool, Field(description="False where it was in force already.")]
    blocked: Annotated[int, Field(description="Pins that are blocked now.")]


class Problem(Answer):
    """Why there is no answer."""

    error: Annotated[str, Field(examples=["user: Field required"])]


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return, for the OpenAPI document, the ways in which a route may refuse."""
    says = {
        401: "No key, or one that opens nothing.",
        403: "A key that may not send events, or not give orders.",
        404: "Nothing is known of it.",
        413: "The body is too large.",
        408: "The body did not come in time.",
        409: "The index does not know what a filter asks for; or an order that cannot be kept.",
        414: "The query is too long.",
        400: "The body is no JSON.",
        422: "A value is missing, unknown or out of its limits.",
        503: "Nothing is live yet, too much is under way, or a store is away.",
    }
    always = {401, 503}
    return {
        status: {"model": Problem, "description": says[status]}
        for status in sorted(always.union(statuses))
    }
