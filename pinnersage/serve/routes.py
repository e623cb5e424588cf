"""Routes: what can be asked, all of the release that is live."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Annotated, Any, cast

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic_core import to_json

from pinnersage import features
from pinnersage.config import Settings
from pinnersage.experiment import running
from pinnersage.experiment.running import Popular, Running
from pinnersage.extract import end_of
from pinnersage.online.current import Current
from pinnersage.online.events import EPOCH
from pinnersage.retrieve import Reader, Recommendation, Wishes, as_python
from pinnersage.serve import answers, metrics
from pinnersage.serve.access import reads
from pinnersage.serve.live import Live

router = APIRouter(prefix="/v1", dependencies=[Depends(reads)])
probes = APIRouter(tags=["probes"])


async def live(request: Request) -> Live:
    """Return what follows the live release."""
    return cast("Live", request.app.state.live)


def now_of(request: Request) -> datetime:
    """Return what time it is."""
    return cast("Callable[[], datetime]", request.app.state.clock)()


def as_json(value: dict[str, Any], status: int = 200) -> Response:
    """Return an answer that need not be checked again: it is made here and its shape is tested."""
    return Response(to_json(value), status, media_type="application/json")


@router.get(
    "/medoids",
    response_model=answers.UsersMedoids,
    responses=answers.problems(404, 414, 422),
    tags=["users"],
)
def medoids(
    asked: Annotated[answers.OneUsersMedoids, Query()],
    request: Request,
    following: Annotated[Live, Depends(live)],
) -> Response:
    """Return a user's medoids as of now, most important first."""
    with following.reader() as reader:
        known = reader.current(asked.user, now_of(request))
        profile = known.profile
        if profile is None or not len(profile):
            raise HTTPException(404, f"User {asked.user} has no clusters in this release.")
        clusters = [
            {
                "pin_id": as_python(profile.pin_ids[i]),
                "importance": float(profile.importance[i]),
                "n_actions": int(profile.n_actions[i]),
                "last_acted_at": EPOCH + timedelta(microseconds=int(profile.last_acted_at[i])),
                "from": known.came_from[i],
            }
            for i in range(len(profile))
        ]
        found = {"user": asked.user, "online": online_of(known), "clusters": clusters}
        return as_json(stamp(reader) | found)


@router.get(
    "/recommendations",
    response_model=answers.OneRecommended,
    responses=answers.problems(409, 414, 422),
    tags=["users"],
)
def recommendations(
    asked: Annotated[answers.OneUser, Query()],
    request: Request,
    following: Annotated[Live, Depends(live)],
) -> Response:
    """Recommend pins to a user; one of whom nothing is known gets the popular ones, marked so."""
    with following.reader() as reader:
        found = recommended(reader, request, asked.user, asked, asked.exclude)
        return as_json(stamp(reader) | found)


@router.post(
    "/recommendations",
    response_model=answers.ManyRecommended,
    responses=answers.problems(400, 408, 409, 413, 422),
    tags=["users"],
)
def recommendations_of_many(
    asked: answers.ManyUsers, request: Request, following: Annotated[Live, Depends(live)]
) -> Response:
    """Recommend pins to several users, all from one release."""
    refuse_large(request, asked.users)
    with following.reader() as reader:
        results = [recommended(reader, request, one, asked, asked.exclude) for one in asked.users]
        return as_json(stamp(reader) | {"results": results})


@router.post(
    "/features",
    response_model=answers.ManyFeatures,
    responses=answers.problems(400, 408, 413, 422),
    tags=["users"],
)
def features_of_many(
    asked: answers.ManyUsersFeatures, request: Request, following: Annotated[Live, Depends(live)]
) -> Response:
    """Return what a ranker is told of several users, all from one release."""
    refuse_large(request, asked.users)
    state = request.app.state
    with following.reader() as reader:
        told = features.online(
            reader,
            asked.users,
            now=now_of(request),
            config=cast("Settings", state.settings).features,
            embeddings=asked.embeddings,
        )
        users = [
            {
                "user": user.user_id,
                "reason": user.reason,
                "medoids": user.medoid_ids,
                "importance": user.importance,
                "n_actions": user.n_actions,
                "last_acted_at": user.last_acted_at,
            }
            for user in told.users
        ]
        for user, vectors in zip(users, told.vectors or (), strict=False):
            user["embeddings"] = vectors.tolist()
        return as_json(stamp(reader) | {"age_days": told.age_days, "users": users})


@router.get(
    "/similar",
    response_model=answers.Similar,
    responses=answers.problems(404, 414, 422),
    tags=["pins"],
)
def similar(
    asked: Annotated[answers.OnePin, Query()], following: Annotated[Live, Depends(live)]
) -> Response:
    """Return the pins nearest to a pin."""
    with following.reader() as reader:
        found = reader.similar(asked.pin)
        if found is None:
            raise HTTPException(404, f"Pin {asked.pin} has no embedding in this release.")
        pins = [{"pin_id": c.pin_id, "cosine": c.cosine} for c in found[: asked.limit]]
        return as_json(stamp(reader) | {"pin": asked.pin, "similar": pins})


@probes.get("/health", response_model=answers.Healthy)
async def health() -> Response:
    """Return that the process answers."""
    return as_json({"healthy": True})


@probes.get(
    "/ready",
    response_model=answers.Ready,
    responses={503: {"model": answers.Ready, "description": "Nothing can be answered yet."}},
)
async def ready(request: Request, following: Annotated[Live, Depends(live)]) -> Response:
    """Return which release answers and how old it is; 503 while there is none."""
    known = following.release
    problem = "What is live cannot be opened; the log says why." if following.problem else ""
    if known is None:
        nothing: dict[str, Any] = {"ready": False, "release": None, "day": None, "age_hours": None}
        return as_json(nothing | {"problem": problem or "Nothing is live yet."}, 503)
    age = (now_of(request) - end_of(known.medoids.day)) / timedelta(hours=1)
    facts = {"ready": True, "release": known.number, "day": known.medoids.day}
    return as_json(facts | {"age_hours": round(age, 2), "problem": problem})


@probes.get(
    "/metrics",
    dependencies=[Depends(reads)],
    response_class=Response,
    responses=answers.problems() | {200: {"content": {"text/plain": {}}}},
)
def counted() -> Response:
    """Return what is counted, in Prometheus's text format."""
    return Response(metrics.text(), media_type="text/plain; version=0.0.4")


def recommended(
    reader: Reader, request: Request, user: int | str, wanted: answers.Wanted, exclude: list[Any]
) -> dict[str, Any]:
    """Return what a user is recommended, as ``answers.Recommended``.

    Where an experiment runs, the user's arm decides how, and what is shown goes into its log; not
    where the request itself says how: what was shown would be no arm's.
    """
    experiment = cast("Running | None", request.app.state.experiment)
    member = experiment.member(user) if experiment and wanted.allocation is None else None
    own = running.wishes(member) if member else Wishes(allocation=wanted.allocation)
    wishes = replace(
        own,
        exclude=frozenset(exclude),
        min_cosine=wanted.min_cosine,
        relevance=wanted.relevance,
        fresh_days=wanted.fresh_days,
        topics=tuple(wanted.topics),
    )
    refuse_filter(reader, wishes)
    now = now_of(request)
    known = reader.current(user, now)
    made = reader.candidates(user, known, draw=wanted.draw, wishes=wishes)
    shown: Recommendation | Popular
    if made is None:
        metrics.FALLBACKS.inc()
        shown = Popular(reader.release.number, wanted.draw, reader.popular(wishes))
    else:
        shown = made
    if experiment and member:
        experiment.shown(member, shown, now)
    cosines = made.cosines if made else [None] * len(shown.pin_ids)
    candidates: list[dict[str, Any]] = [
        {"pin_id": pin, "cosine": cosine}
        for pin, cosine in zip(shown.pin_ids, cosines, strict=True)
    ]
    if made and wanted.explain:
        how = ["searched" if medoid in made.searched else "remembered" for medoid in made.medoids]
        for candidate, by in zip(candidates, made.brought_by, strict=True):
            candidate |= {
                "medoid": made.medoids[by],
                "neighbours": how[by],
                "from": made.came_from[by],
            }
    return {
        "user": user,
        "draw": wanted.draw,
        "arm": member.arm.name if member else None,
        "fallback": made is None,
        "online": online_of(known),
        "medoids": made.medoids if made else [],
        "candidates": candidates,
    }


def online_of(known: Current) -> dict[str, Any] | None:
    """Return what counts beside the release, as ``answers.Online``; None where it is not known."""
    if not known.answered:
        return None
    return {"actions": len(known.actions), "last_acted_at": known.last_acted_at}


def refuse_filter(reader: Reader, wishes: Wishes) -> None:
    """Refuse a filter that the index cannot answer: of no pin it was known."""
    where = wishes.filter_on(reader.release.medoids.day)
    known = reader.index.filters if reader.index else ()
    if where is not None and (unknown := sorted(set(where.asks).difference(known))):
        raise HTTPException(
            409, f"The live index was built without {' and '.join(unknown)}. Ask without."
        )


def stamp(reader: Reader) -> dict[str, Any]:
    """Return where an answer comes from, as ``answers.Stamp``."""
    release = reader.release
    return {
        "release": release.number,
        "day": release.medoids.day,
        "embeddings": release.embeddings,
    }


def refuse_large(request: Request, users: list[Any]) -> None:
    """Refuse more users than one request may ask for."""
    most: int = request.app.state.max_batch
    if len(users) > most:
        raise HTTPException(
            422, f"users: {len(users):,} in one request (limit {most:,}). Ask in smaller batches."
        )
