"""Sessions as an export writes them."""

import csv
import io
import json

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


def test_pages_are_an_array_whichever_of_them_are_empty() -> None:
    row = wire.json_text(ArchivedSession(title="Write"))
    for pages in ([[row, row], [row]], [[row], []], [[]]):
        last = len(pages) - 1
        text = "".join(
            wire.json_page(rows, is_first=index == 0, is_last=index == last) for index, rows in enumerate(pages)
        )
        assert [each["title"] for each in json.loads(text)] == ["Write"] * sum(map(len, pages))
