"""Sessions as an export writes them."""

import csv
import io

import pytest
from focusmesh.history.v1.archived_session_pb2 import ArchivedSession, ArchivedTask

from services.history import wire


@pytest.mark.parametrize("first", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_is_a_formula_of_a_spreadsheet(first: str) -> None:
    text = f"{first}HYPERLINK(1)"
    row = wire.csv_row(ArchivedSession(title=text, tasks=[ArchivedTask(title=text, focused_seconds=60)]))
    [names, cells] = csv.reader(io.StringIO(wire.csv_page([row], is_first=True, is_last=True), newline=""))
    shown = dict(zip(names, cells, strict=True))
    assert (shown["title"], shown["tasks"]) == (f"'{text}", f"'{text} (60 s)")


def test_other_cells_are_as_they_are() -> None:
    row = wire.csv_row(ArchivedSession(title="1 = 1", total_focused_seconds=60))
    assert row.split(",")[1] == "1 = 1"
