"""The version of the schema, apart from the tables so that a reader need not load Arrow to check it."""

SCHEMA_VERSION = 1
"""Raised with every change of a table; `ingest.migrate` holds the way from each older version."""

META_TABLE = "perfkit_meta"
"""Table of a database that says which version wrote it."""
