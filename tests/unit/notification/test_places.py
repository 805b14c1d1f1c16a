"""Who is sent to, and who has to wait for others."""

import asyncio

import pytest

from services.notification.jobs.places import Places


@pytest.fixture
def places() -> Places:
    """Eight of them."""
    return Places(8)


@pytest.fixture
async def messages() -> list["asyncio.Task[None]"]:
    """Messages that are being sent."""
    return [asyncio.create_task(asyncio.sleep(0)) for _ in range(8)]


async def test_a_message_takes_a_place_until_it_ends_and_its_user_gets_nothing_more(
    places: Places, messages: list["asyncio.Task[None]"]
) -> None:
    places.take(messages[0], "ada")
    assert (places.room, places.busy) == (7, {"ada"})
    places.free(messages[0])
    assert (places.room, places.busy) == (8, set())


async def test_users_whose_messages_fail_get_half_of_the_places(
    places: Places, messages: list["asyncio.Task[None]"]
) -> None:
    for number, task in enumerate(messages[:3]):
        places.note(f"user{number}", worked=False)
        places.take(task, f"user{number}")
    assert (places.room, places.room_of_suspects) == (5, 1)
    for number, task in enumerate(messages[3:7]):
        places.take(task, f"other{number}")
    assert (places.room, places.room_of_suspects) == (1, 1)
    places.note("user0", worked=True)
    assert places.suspects == {"user1", "user2"}


def test_who_fails_is_remembered_within_bounds(places: Places) -> None:
    for number in range(2000):
        places.note(str(number), worked=False)
    assert len(places.suspects) == 1000
    assert "1999" in places.suspects


def test_who_is_left_out_is_busy_for_a_while(places: Places) -> None:
    places.leave_out("ada", 60)
    places.leave_out("bob", 0)
    assert places.busy == {"ada"}
    assert places.room == 8
