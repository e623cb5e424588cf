"""Errors: what fails for good, and what may pass if tried again.

A caller decides by class alone: Airflow retries a ``TransientError`` and stops at a
``DataError`` or ``ConfigError``; the command line turns all three into one line and exit code 1.
Every message says what, where, against which limit, and what to do next.
"""


class PinnerSageError(Exception):
    """Anything this project raises on purpose."""


class ConfigError(PinnerSageError):
    """Settings that cannot work: a person must change them."""


class DataError(PinnerSageError):
    """Data that would fail again: stop and call a person."""


class TransientError(PinnerSageError):
    """Something was away or full: the same call may succeed later."""
