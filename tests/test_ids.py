"""An id from outside is a text of some length or a whole number, and nothing else."""

import pytest
from pydantic import TypeAdapter, ValidationError

from pinnersage.ids import Id

CHECK = TypeAdapter(Id)


@pytest.mark.parametrize("value", ["u42", "ü" * 255, "x" * 511, 7, -(2**63), 10**99, "007"])
def test_text_and_whole_numbers_are_ids(value):
    assert CHECK.validate_python(value) == value


@pytest.mark.parametrize(
    "value",
    [
        "",
        "x" * 512,
        "ü" * 256,
        "\ud800",
        True,
        1.5,
        7.0,
        1e3,
        None,
        [],
        {},
        10**100,
        -(10**100),
        b"\xff",
    ],
)
def test_nothing_else_is(value):
    with pytest.raises(ValidationError):
        CHECK.validate_python(value)
