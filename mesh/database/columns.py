"""Columns of a table, named once: a store builds its statements from them when it is imported.

    TASKS = Columns("tasks", Task, {"id": "uuid", "title": "text", "created_at": "timestamptz"}, fixed={"id"})
    f"INSERT INTO tasks ({TASKS.names}) VALUES ({TASKS.values}) RETURNING id"

Rows leave Postgres with ids as text, instants as microseconds since the epoch and bytea as hexadecimal: a list costs a
third less CPU than with objects made in Python.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any, Generic, TypeVar, cast

import orjson
from psycopg import AsyncCursor

from mesh.database.connection import Connection
from mesh.runtime.clock import to_datetime

Row = TypeVar("Row", bound=tuple[Any, ...])

_MICROSECONDS = "(extract(epoch FROM {0}) * 1000000)::bigint"
_READ = {"uuid": "{0}::text", "timestamptz": _MICROSECONDS, "bytea": "encode({0}, 'hex')"}
_TO_PARAMETER: dict[str, Callable[[Any], Any]] = {
    "timestamptz": to_datetime,
    "bytea": bytes.fromhex,
    "jsonb": lambda value: orjson.dumps(value).decode(),
}
_TO_JSON: dict[str, Callable[[Any], Any]] = {"timestamptz": to_datetime, "bytea": lambda value: f"\\x{value}"}
"""What JSON and Postgres understand alike stays as it is."""


class Columns(Generic[Row]):
    """The columns of one table that a NamedTuple holds, as pieces of SQL."""

    def __init__(
        self,
        table: str,
        model: type[Row],
        types: Mapping[str, str],
        *,
        fixed: Collection[str] = (),
        prefix: str = "",
    ) -> None:
        """Raises TypeError when `types` does not name the fields of `model`, all of them and in their order.

        types: Postgres types; `text` for varchar(n) too, because a cast to varchar(n) truncates without an error.
        fixed: columns that no UPDATE changes. prefix: of the parameters, where one statement writes several tables.
        """
        fields: tuple[str, ...] = model._fields  # type: ignore[attr-defined]  # of every NamedTuple
        if tuple(types) != fields:
            differ = ", ".join(sorted(set(fields).symmetric_difference(types))) or "only in their order"
            raise TypeError(f"the columns of {table} and the fields of {model.__name__} differ: {differ}")
        if unknown := set(fixed).difference(types):
            raise TypeError(f"{table} has no columns {', '.join(sorted(unknown))}")
        columns = types.items()
        self.names = ", ".join(types)
        """For INSERT INTO."""
        self.select = ", ".join(_READ.get(kind, "{0}").format(f"{table}.{name}") for name, kind in columns)
        """For SELECT and RETURNING."""
        self.values = ", ".join(f"%({prefix}{name})s::{kind}" for name, kind in columns)
        """For VALUES, with `parameters(row)`."""
        self._rows = f"{prefix}rows"
        typed = ", ".join(f"{name} {kind}" for name, kind in columns)
        self.recordset = f"json_to_recordset(%({self._rows})s::json) AS {table}_rows ({typed})"
        """For SELECT * FROM, with `rows(rows)`."""
        self.assignments = ", ".join(
            f"{name} = %({prefix}{name})s::{kind}" for name, kind in columns if name not in fixed
        )
        """For UPDATE … SET, with `parameters(row)`."""
        self.assignments_of_rows = ", ".join(f"{name} = {table}_rows.{name}" for name in types if name not in fixed)
        """For UPDATE … SET … FROM `recordset`, with `rows(rows)`."""
        self._parameters = tuple(f"{prefix}{name}" for name in fields)
        self._fields = fields
        self._row_factory = namedtuple_row(model)
        self._to_json = [(name, _TO_JSON[kind]) for name, kind in columns if kind in _TO_JSON]
        self._to_parameters = [
            (f"{prefix}{name}", _TO_PARAMETER[kind]) for name, kind in columns if kind in _TO_PARAMETER
        ]

    def cursor(self, connection: Connection) -> AsyncCursor[Row]:
        """A cursor over rows of `select`."""
        return connection.cursor(binary=True, row_factory=self._row_factory)

    def parameters(self, row: Row) -> dict[str, Any]:
        """The parameters of one row."""
        return _converted(self._parameters, row, self._to_parameters)

    def rows(self, rows: Sequence[Row]) -> dict[str, str]:
        """The parameter of many rows: one text of JSON, because psycopg makes an array value by value, in Python."""
        made = [_converted(self._fields, row, self._to_json) for row in rows]
        return {self._rows: orjson.dumps(made).decode()}


def _converted(
    names: Sequence[str], row: tuple[Any, ...], conversions: Sequence[tuple[str, Callable[[Any], Any]]]
) -> dict[str, Any]:
    values = dict(zip(names, row, strict=True))
    for name, convert in conversions:
        value = values[name]
        if value is not None:
            values[name] = convert(value)
    return values


def microseconds(column: str) -> str:
    """SQL of an instant as microseconds since the epoch."""
    return _MICROSECONDS.format(column)


def namedtuple_row(model: type[Row]) -> Callable[[Any], Callable[[Sequence[Any]], Row]]:
    """Row factory for a NamedTuple, without a call of Python for each row as in psycopg's `args_row`."""
    make = cast(Callable[[Sequence[Any]], Row], partial(tuple.__new__, model))
    return lambda _cursor: make
