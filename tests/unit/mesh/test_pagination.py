"""Page tokens: opaque, and good only for the list they were made by."""

import pytest
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from mesh.rpc.pagination import Pages
from mesh.runtime.errors import PageTokenInvalid

PAGES = Pages("secret")
LAST = [1_770_544_800_000_000, "550e8400-e29b-41d4-a716-446655440001"]


def token(request: pb.ListTasksRequest, user: str = "alice") -> str:
    return PAGES.next_token(PAGES.read(request, user), LAST)


@pytest.mark.parametrize(("asked", "size"), [(0, 50), (1, 1), (200, 200), (201, 200), (2**31 - 1, 200)])
def test_a_page_has_the_size_that_was_asked_for_within_the_limit(asked: int, size: int) -> None:
    assert PAGES.read(pb.ListTasksRequest(page_size=asked), "alice").size == size


def test_a_token_leads_on_from_the_last_row_also_with_another_page_size() -> None:
    request = pb.ListTasksRequest(page_size=10, is_recurring=True)
    again = pb.ListTasksRequest(page_size=20, is_recurring=True, page_token=token(request))
    assert PAGES.read(again, "alice").after == LAST


@pytest.mark.parametrize(
    "changed",
    [
        pb.ListTasksRequest(states=[task_pb2.TASK_STATE_COMPLETE]),
        pb.ListTasksRequest(order=pb.TASK_ORDER_DUE_TIME_ASC),
        pb.ListTasksRequest(show_deleted=True),
    ],
)
def test_a_token_is_refused_when_filters_or_order_changed(changed: pb.ListTasksRequest) -> None:
    changed.page_token = token(pb.ListTasksRequest())
    with pytest.raises(PageTokenInvalid):
        PAGES.read(changed, "alice")


def test_a_token_of_another_user_or_another_secret_is_refused() -> None:
    request = pb.ListTasksRequest(page_token=token(pb.ListTasksRequest()))
    with pytest.raises(PageTokenInvalid):
        PAGES.read(request, "bob")
    with pytest.raises(PageTokenInvalid):
        Pages("other").read(request, "alice")


@given(st.text(max_size=512))
def test_no_text_is_taken_for_a_token(text: str) -> None:
    if text:
        with pytest.raises(PageTokenInvalid):
            PAGES.read(pb.ListTasksRequest(page_token=text), "alice")


@pytest.mark.parametrize(
    ("rows", "size", "fit", "shown", "more"),
    [
        (0, 3, 9, 0, False),
        (3, 3, 9, 3, False),
        (4, 3, 9, 3, True),
        (4, 3, 2, 2, True),
        (2, 3, 2, 2, False),
    ],
)
def test_a_page_ends_at_its_size_or_where_no_more_rows_fit(
    rows: int, size: int, fit: int, shown: int, more: bool
) -> None:
    page = PAGES.read(pb.ListTasksRequest(page_size=size), "alice")
    cut, token = PAGES.cut(list(range(rows)), page, lambda row: [row], fit=fit)
    assert list(cut) == list(range(shown))
    assert bool(token) == more
    if more:
        following = pb.ListTasksRequest(page_size=size, page_token=token)
        assert PAGES.read(following, "alice").after == [shown - 1]
