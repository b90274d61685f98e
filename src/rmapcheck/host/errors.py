"""What can be in the way of an oracle run."""

from rmapcheck.model.machine.errors import ModelError


class OracleError(ModelError):
    """The oracle cannot go on; the text says why and what to do, as one sentence."""


class Unavailable(OracleError):  # noqa: N818 - what is missing is no error, and is told as a skip
    """This machine, or this user, has no such thing; the text says what."""
