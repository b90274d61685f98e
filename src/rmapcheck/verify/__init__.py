"""verify: the ladder of all engines, and what may be claimed at its end."""

from rmapcheck.verify.ladder import LADDER

__all__ = ["LADDER"]
