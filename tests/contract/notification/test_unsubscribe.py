"""The end of mails by the address in one of them, as a mail program uses it."""

from collections.abc import Awaitable, Callable

import grpc
import pytest
from focusmesh.notification.v1.notification_preferences_pb2 import ChannelPreferences
from focusmesh.notification.v1.unsubscribe_service_pb2 import UnsubscribeRequest, UnsubscribeResponse
from focusmesh.notification.v1.unsubscribe_service_pb2_grpc import UnsubscribeServiceStub
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.field_mask_pb2 import FieldMask

from harness.smtp_server import MailServer
from harness.waiting import until
from mesh.runtime.ids import new_id
from services.notification.clients import Subscription, UnsubscribeLinks, unsubscribe_links
from services.notification.model import Kind
from services.notification.settings import Settings
from tests.contract.notification.people import EMAIL, IN_APP, Person, after
from tests.support.errors import refused

ON = ChannelPreferences(reminders=True, updates=True)
ONE_CLICK = HttpBody(content_type="application/x-www-form-urlencoded", data=b"List-Unsubscribe=One-Click")


@pytest.fixture
def links(settings: Settings) -> UnsubscribeLinks:
    """As the service makes them."""
    return unsubscribe_links(settings)


@pytest.fixture
def click(channel: grpc.aio.Channel) -> Callable[[str], Awaitable[UnsubscribeResponse]]:
    """Calls the address of a mail without a token, as the gateway passes it on."""
    stub = UnsubscribeServiceStub(channel)

    async def call(link: str) -> UnsubscribeResponse:
        token = link.strip("<>").rpartition("/")[2]
        return await stub.Unsubscribe(UnsubscribeRequest(token=token, form=ONE_CLICK))

    return call


async def with_mails(person: Person) -> None:
    """Asks for every mail there is."""
    await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["email"]), email=ON)


async def test_one_click_ends_the_reminders_that_come_by_mail(
    register: Callable[..., Awaitable[Person]],
    click: Callable[[str], Awaitable[UnsubscribeResponse]],
    mail_server: MailServer,
) -> None:
    person = await register()
    await with_mails(person)
    await person.CreateReminder(title="By mail", remind_time=after(0.3))
    await until(lambda: mail_server.taken, "the mail has come")
    await click(mail_server.taken[0].message["List-Unsubscribe"])
    assert (await person.GetNotificationPreferences()).preferences.email == ChannelPreferences(updates=True)
    await person.CreateReminder(title="In the app", remind_time=after(0.3))
    assert [each.title for each in await person.shown(2)] == ["In the app", "By mail"]
    assert len(await person.deliveries(EMAIL)) == len(mail_server.taken) == 1


async def test_reminders_that_name_mail_are_shown_in_the_app_from_then_on(
    register: Callable[..., Awaitable[Person]],
    click: Callable[[str], Awaitable[UnsubscribeResponse]],
    links: UnsubscribeLinks,
    mail_server: MailServer,
) -> None:
    person = await register()
    await person.UpdateNotificationPreferences(update_mask=FieldMask(paths=["in_app"]), in_app=ChannelPreferences())
    created = (await person.CreateReminder(title="Call home", remind_time=after(1), channel=EMAIL)).reminder
    await click(links.link(Subscription(person.user_id, Kind.REMINDER)))
    changed = (await person.GetReminder(reminder_id=created.id)).reminder
    assert (changed.channel, changed.etag) != (EMAIL, created.etag)
    assert changed.channel == IN_APP
    [shown] = await person.shown()
    assert shown.title == "Call home"
    assert mail_server.taken == []


async def test_a_click_again_changes_nothing(
    person: Person, click: Callable[[str], Awaitable[UnsubscribeResponse]], links: UnsubscribeLinks
) -> None:
    await with_mails(person)
    for _ in range(2):
        await click(links.link(Subscription(person.user_id, Kind.UPDATE)))
        assert (await person.GetNotificationPreferences()).preferences.email == ChannelPreferences(reminders=True)


async def test_mails_can_be_asked_for_again(
    person: Person, click: Callable[[str], Awaitable[UnsubscribeResponse]], links: UnsubscribeLinks
) -> None:
    await with_mails(person)
    await click(links.link(Subscription(person.user_id, Kind.REMINDER)))
    await with_mails(person)
    assert (await person.GetNotificationPreferences()).preferences.email == ON


async def test_an_address_that_was_not_made_here_ends_nothing(
    person: Person, click: Callable[[str], Awaitable[UnsubscribeResponse]], links: UnsubscribeLinks
) -> None:
    await with_mails(person)
    made_elsewhere = UnsubscribeLinks("another secret of thirty-two chars", "https://api.example.org")
    for link in (made_elsewhere.link(Subscription(person.user_id, Kind.REMINDER)), f"{links}x"):
        with refused("UNSUBSCRIBE_TOKEN_INVALID"):
            await click(link)
    assert (await person.GetNotificationPreferences()).preferences.email == ON


async def test_nobody_learns_whether_a_user_is_still_there(
    click: Callable[[str], Awaitable[UnsubscribeResponse]], links: UnsubscribeLinks
) -> None:
    assert await click(links.link(Subscription(new_id(), Kind.REMINDER))) == UnsubscribeResponse()
