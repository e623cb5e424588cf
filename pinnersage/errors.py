"""Errors: what fails for good, and what may pass if tried again.

A caller decides by class alone: Airflow retries a ``TransientError`` and stops at a
``DataError`` or ``ConfigError``; the command line turns all three into one line and exit code 1.
Every message says what, where, against which limit, and what to do next.
"""

from collections.abc import Sequence
from datetime import date


class PinnerSageError(Exception):
    """Anything this project raises on purpose."""


class ConfigError(PinnerSageError):
    """Settings that cannot work: a person must change them."""


class RefusedError(ConfigError):
    """An order that cannot be kept as it was given; the message is for who gave it."""


class DataError(PinnerSageError):
    """Data that would fail again: stop and call a person."""


class SchemaError(DataError):
    """Columns or types that are not those agreed on; ``columns`` says which, for a report."""

    def __init__(self, message: str, columns: Sequence[dict[str, str]]) -> None:
        super().__init__(message)
        self.columns = list(columns)


class ChecksError(DataError):
    """A day's checks failed: nothing of it is published, and its quality report says why."""

    def __init__(self, message: str, day: date, report_version: str) -> None:
        super().__init__(message)
        self.day = day
        self.report_version = report_version
        """16 hex digits: the name that the report is kept under."""


class WaivableError(ChecksError):
    """A day's checks failed, and every rule that did may be waived by a person."""


class TransientError(PinnerSageError):
    """Something was away or full: the same call may succeed later."""
