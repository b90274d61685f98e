"""What searches of the same scheme in the same scope must agree in, whatever engine runs them."""

COUNTS = (
    "verdict",
    "generated",
    "distinct",
    "depth",
    "per_operation",
    "reached",
    "vacuous",
    "cut",
)
"""Names of attributes of an Answer."""


def counts(answer):
    """Return these attributes of an answer, by name."""
    return {name: getattr(answer, name) for name in COUNTS}
