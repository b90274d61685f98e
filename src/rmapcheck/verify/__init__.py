"""verify: the ladder of all engines, and what may be claimed at its end."""
