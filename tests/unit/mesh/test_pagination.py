"""Page tokens: opaque, and good only for the list they were made by."""

import pytest
from focusmesh.todo.v1 import task_pb2
from focusmesh.todo.v1 import task_service_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from mesh.rpc.pagination import LARGEST_RESPONSE, Key, Pages
from mesh.runtime.errors import PageTokenInvalid

PAGES = Pages("secret")
LAST: Key = [1_770_544_800_000_000, "550e8400-e29b-41d4-a716-446655440001"]


def token(request: pb.ListTasksRequest, user: str = "alice") -> str:
    return PAGES.lead_on(pb.ListTasksResponse(), PAGES.read(request, user), LAST).next_page_token


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


def tasks(count: int, characters: int = 1) -> pb.ListTasksResponse:
    response = pb.ListTasksResponse()
    for _ in range(count):
        response.tasks.add(title="\x01" * characters)
    return response


@pytest.mark.parametrize(
    ("rows", "size", "characters", "shown", "more"),
    [
        (0, 3, 1, 0, False),
        (3, 3, 1, 3, False),
        (4, 3, 1, 3, True),
        (4, 3, LARGEST_RESPONSE // 2 - 100, 2, True),
        (2, 3, LARGEST_RESPONSE // 2 - 100, 2, False),
        (2, 3, LARGEST_RESPONSE + 1, 1, True),
    ],
)
def test_a_page_ends_at_its_size_or_where_no_more_items_fit(
    rows: int, size: int, characters: int, shown: int, more: bool
) -> None:
    page = PAGES.read(pb.ListTasksRequest(page_size=size), "alice")
    response = PAGES.cut(tasks(min(rows, size), characters), range(rows), page, lambda row: [row])
    assert len(response.tasks) == shown
    assert bool(response.next_page_token) == more
    if more:
        following = pb.ListTasksRequest(page_size=size, page_token=response.next_page_token)
        assert PAGES.read(following, "alice").after == [shown - 1]


@pytest.mark.parametrize(("characters", "after"), [(1, LAST), (LARGEST_RESPONSE // 2 - 100, [1])])
def test_a_page_whose_reader_stopped_looking_leads_on_from_there_unless_it_ends_earlier(
    characters: int, after: Key
) -> None:
    page = PAGES.read(pb.ListTasksRequest(page_size=3), "alice")
    response = PAGES.cut(tasks(3, characters), range(3), page, lambda row: [row], more_after=LAST)
    following = pb.ListTasksRequest(page_token=response.next_page_token)
    assert PAGES.read(following, "alice").after == after
