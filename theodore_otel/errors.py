"""The errors a user can meet, and the exit code each one stands for.

Exit codes: 0 good, 1 a check failed or something is degraded, 2 bad input, 3 down, 70 our bug.
"""

from __future__ import annotations


class TheodoreOtelError(Exception):
    """An error that is told to the user in one message, without a traceback."""

    exit_code = 70


class CheckFailedError(TheodoreOtelError):
    """A check was made and did not hold (stale files, a failed test case, a degraded part)."""

    exit_code = 1


class InputError(TheodoreOtelError):
    """What the user gave cannot be used; the message names the file, the key, what was expected and what came."""

    exit_code = 2


class DownError(TheodoreOtelError):
    """A program that is needed does not run or does not answer."""

    exit_code = 3
