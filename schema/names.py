"""Names as SQL writes them, apart from the DDL so that a reader need not load Arrow to quote one."""


def quote(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'
