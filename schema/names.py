"""Names as SQL writes them and names that carry meaning, apart from the DDL so that a reader need not load Arrow."""

ESTIMATED_STACKS = " (estimated stacks)"
"""Ends the name of a metric that has the cost of another one on stacks guessed from a call graph."""


def quote(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
