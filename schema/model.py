"""What a table declaration is made of.

A `Table` is declared once, in `tables.py`; the Arrow schema, the DDL, the validation of batches and docs/SCHEMA.md
are all derived from it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its Arrow type, what it means, its unit where it is a quantity, the column it joins."""

    name: str
    type: pa.DataType
    doc: str
    unit: str = ""
    join: str = ""
    required: bool = False

    def arrow(self) -> pa.Field:
        """The Arrow field, whose metadata carries meaning, unit and join."""
        metadata = {"doc": self.doc, "unit": self.unit, "join": self.join}
        return pa.field(
            self.name, self.type, nullable=not self.required, metadata={k: v for k, v in metadata.items() if v}
        )


@dataclass(frozen=True)
class Table:
    """One table: `columns` without the leading `capture_id`, which the store stamps."""

    name: str
    row: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    notes: str = ""
    stamped: bool = field(default=True)

    @cached_property
    def schema(self) -> pa.Schema:
        """The Arrow schema of a batch of this table, as an adapter emits it (no `capture_id`)."""
        return pa.schema([column.arrow() for column in self.columns])

    @cached_property
    def by_name(self) -> dict[str, Column]:
        """Columns by name."""
        return {column.name: column for column in self.columns}
