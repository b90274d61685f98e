"""The record of which arms of a user's code were run; see rmapcheck.search.coverage."""

_ran: set[str] = set()


def covered(arm: str) -> None:
    """Record that an arm runs; `arm` is its key."""
    _ran.add(arm)


def begin() -> None:
    """Forget all arms that ran; every search calls this at its start."""
    _ran.clear()


def ran() -> frozenset[str]:
    """Return the keys of the arms that interpreted code ran since `begin`."""
    return frozenset(_ran)
