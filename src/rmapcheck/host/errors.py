"""Errors that keep a kernel from being run or observed."""

from rmapcheck.model.machine.errors import ModelError


class OracleError(ModelError):
    """The oracle cannot continue; the text is one sentence that says why and what to do."""


class Unavailable(OracleError):  # noqa: N818 - not an error: what is missing is skipped
    """This machine does not have, or this user may not use, what is needed; the text names it."""
