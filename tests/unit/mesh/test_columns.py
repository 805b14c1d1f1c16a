"""A column is named once: what is left out, or in another order, stops the import of the store."""

import json
from typing import NamedTuple

import pytest

from mesh.database.columns import Columns, microseconds
from services.todo.model import Task
from services.todo.store import TASKS


class Note(NamedTuple):
    """Something with a column of each kind that is converted."""

    id: str
    text: str
    hash: str
    tags: dict[str, int]
    written_at: int | None


TYPES = {"id": "uuid", "text": "text", "hash": "bytea", "tags": "jsonb", "written_at": "timestamptz"}
NOTES = Columns("notes", Note, TYPES, fixed={"id"})
FIRST = Note("one", "first", "00ff", {"a": 1}, 1_500_000)


def test_the_pieces_of_a_statement_name_every_column_in_one_order() -> None:
    assert NOTES.names == "id, text, hash, tags, written_at"
    assert NOTES.values == (
        "%(id)s::uuid, %(text)s::text, %(hash)s::bytea, %(tags)s::jsonb, %(written_at)s::timestamptz"
    )
    assert NOTES.recordset == (
        "json_to_recordset(%(rows)s::json) AS notes_rows (id uuid, text text, hash bytea, tags jsonb,"
        " written_at timestamptz)"
    )
    assert NOTES.select == (
        f"notes.id::text, notes.text, encode(notes.hash, 'hex'), notes.tags, {microseconds('notes.written_at')}"
    )


def test_an_update_leaves_fixed_columns_alone() -> None:
    assert NOTES.assignments == (
        "text = %(text)s::text, hash = %(hash)s::bytea, tags = %(tags)s::jsonb,"
        " written_at = %(written_at)s::timestamptz"
    )


def test_parameters_are_what_postgres_takes_for_their_types() -> None:
    values = NOTES.parameters(FIRST)
    assert values.pop("written_at").isoformat() == "1970-01-01T00:00:01.500000+00:00"
    assert values == {"id": "one", "text": "first", "hash": b"\x00\xff", "tags": '{"a":1}'}
    assert NOTES.parameters(FIRST._replace(written_at=None))["written_at"] is None


def test_many_rows_are_one_text_of_json() -> None:
    values = NOTES.rows([FIRST, FIRST._replace(id="two", written_at=None)])
    first, second = json.loads(values.pop("rows"))
    assert not values
    assert first == {
        **{"id": "one", "text": "first", "hash": "\\x00ff", "tags": {"a": 1}},
        "written_at": "1970-01-01T00:00:01.500000+00:00",
    }
    assert second == first | {"id": "two", "written_at": None}


@pytest.mark.parametrize("left_out", Task._fields)
def test_a_field_of_a_task_without_a_column_is_an_error_that_names_it(left_out: str) -> None:
    types = {name: "text" for name in Task._fields if name != left_out}
    with pytest.raises(TypeError, match=f"^the columns of tasks and the fields of Task differ: {left_out}$"):
        Columns("tasks", Task, types)


def test_a_new_field_of_a_task_needs_a_column() -> None:
    task = NamedTuple("Task", [*Task.__annotations__.items(), ("priority", int)])  # type: ignore[misc]  # computed
    types = dict.fromkeys(TASKS.names.split(", "), "text")
    with pytest.raises(TypeError, match=r"differ: priority$"):
        Columns("tasks", task, types)
    Columns("tasks", task, types | {"priority": "smallint"})


def test_columns_in_another_order_than_the_fields_are_an_error() -> None:
    with pytest.raises(TypeError, match="only in their order"):
        Columns("notes", Note, dict(reversed(TYPES.items())))


def test_a_column_without_a_field_and_an_unknown_fixed_column_are_errors() -> None:
    with pytest.raises(TypeError, match=r"differ: colour$"):
        Columns("notes", Note, TYPES | {"colour": "text"})
    with pytest.raises(TypeError, match="notes has no columns colour"):
        Columns("notes", Note, TYPES, fixed={"id", "colour"})
