"""Ids: what can be the id of a user or a pin, where it comes from outside.

Text or a whole number, as the lake has it; ``takedown.canonical_id`` then says it as the lake does.
"""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field

from pinnersage.stores.packing import MAX_KEY_BYTES

MAX_DIGITS = 100


def as_utf8(text: str) -> str:
    """Refuse a text that cannot be an id."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise ValueError("no text in UTF-8") from error
    if size > MAX_KEY_BYTES:
        raise ValueError(f"{size:,} bytes as UTF-8 (limit {MAX_KEY_BYTES})")
    return text


def no_text(value: object) -> object:
    """Refuse what would be taken for a number and is none."""
    if isinstance(value, str | bool):
        raise ValueError("no number")  # noqa: TRY004 (pydantic's protocol)
    return value


def no_float(value: object) -> object:
    """Refuse a number with a point or an exponent, also one that is whole: 7.0 is no id."""
    if isinstance(value, float):
        raise ValueError("no whole number")  # noqa: TRY004 (pydantic's protocol)
    return no_text(value)


def not_too_long(value: int) -> int:
    """Refuse a number that is no id of anybody's."""
    if abs(value) >= 10**MAX_DIGITS:
        raise ValueError(f"more than {MAX_DIGITS} digits")
    return value


IdText = Annotated[str, Field(min_length=1, max_length=MAX_KEY_BYTES), AfterValidator(as_utf8)]
Id = Annotated[
    IdText | Annotated[int, BeforeValidator(no_float), AfterValidator(not_too_long)],
    Field(union_mode="left_to_right"),
]
PlainId = int | str
