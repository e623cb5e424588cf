"""State: a user's latest actions, the same whatever order and however often they came.

A state is the ``most`` newest of all the actions there were, by time, then pin, then event; of an
event that came with several times, the latest stands. So merging is commutative, associative and
idempotent: consumers may die and repeat themselves, and events may come late or twice.

The state knows nothing of releases. Who reads takes the actions since the end of the release's
day (``since``): the newest of all cut at a time are the newest since that time. So a new release
takes over, or an old one comes back, and no action counts twice or is lost.
"""

import hashlib
import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from pinnersage.errors import DataError

_MAGIC = b"PO"
_VERSION = 1
_HEADER = struct.Struct("<2sBHI")
"""Magic, version, actions, CRC-32 of the rest."""
_ACTION = struct.Struct("<q16sH")
"""Microseconds, event, bytes of the pin's id."""


class Action(NamedTuple):
    """One action; actions sort by time."""

    acted_at: int
    """Microseconds since 1970, UTC."""
    pin: str
    """Its id as text, as ``takedown.canonical_id`` has it."""
    event: bytes
    """16 bytes that stand for the event's id, see ``event_of``."""


State = tuple[Action, ...]
"""Oldest first; each event once."""


def event_of(event_id: str) -> bytes:
    """Return what stands for an event's id in a state: 16 bytes of a digest."""
    return hashlib.blake2b(event_id.encode(), digest_size=16).digest()


def merged(state: State, actions: Iterable[Action], most: int) -> State:
    """Return a state with more actions in it: the newest of all, each event once."""
    latest: dict[bytes, Action] = {}
    for action in (*state, *actions):
        known = latest.get(action.event)
        latest[action.event] = action if known is None else max(known, action)
    return tuple(sorted(latest.values())[-most:])


def since(state: State, start: int) -> State:
    """Return the actions at ``start`` (microseconds) or later."""
    return tuple(action for action in state if action.acted_at >= start)


def pack(state: State) -> bytes:
    """Return a state's bytes; equal states give equal bytes."""
    pins = [action.pin.encode() for action in state]
    parts = [
        _ACTION.pack(action.acted_at, action.event, len(pin))
        for action, pin in zip(state, pins, strict=True)
    ]
    body = b"".join((*parts, *pins))
    return _HEADER.pack(_MAGIC, _VERSION, len(state), zlib.crc32(body)) + body


def unpack(value: bytes) -> State:
    """Return the state of packed bytes.

    Raises
    ------
    DataError
        They are cut short, changed, or of another format.
    """
    if len(value) < _HEADER.size or value[:2] != _MAGIC:
        raise DataError(f"A stored value is no online state: it starts with {value[:8]!r}. {_DROP}")
    _, version, n, checksum = _HEADER.unpack_from(value)
    if version != _VERSION:
        raise DataError(
            f"An online state has format {version}, this code reads {_VERSION}. {_DROP}"
        )
    body = value[_HEADER.size :]
    if len(body) < n * _ACTION.size or zlib.crc32(body) != checksum:
        raise DataError(f"An online state of {n} actions is damaged: checksum or length. {_DROP}")
    at, actions = n * _ACTION.size, []
    for acted_at, event, length in _ACTION.iter_unpack(body[:at]):
        actions.append(Action(acted_at, body[at : at + length].decode(), event))
        at += length
    return tuple(actions)


_DROP = "See runbook: damaged online state."
