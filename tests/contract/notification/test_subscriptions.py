"""PushSubscriptionService, as a caller sees it, and what browsers get."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from harness.http_receiver import Receiver, answers
from harness.notified import browser
from harness.waiting import until
from services.notification.rules.targets import MOST_SUBSCRIPTIONS
from tests.contract.notification.people import SENT, WEBPUSH, Others, Person, a_reminder, at, messages_of
from tests.support.errors import refused


async def test_a_browser_gets_one_message_for_what_is_due_together(
    person: Person, others: Others, receiver: Receiver
) -> None:
    receiver.respond = answers(201)
    await others.locate(person.user_id)
    registered = await person.RegisterPushSubscription(**browser(f"{receiver.url}/one"), label="Firefox")
    assert registered.push_subscription.push_service == "127.0.0.1"
    await others.remind(*(a_reminder(person.user_id, at=at(-1 - number)) for number in range(3)))
    sent = await person.ended(WEBPUSH, 3)
    assert {each.state for each in sent} == {SENT}
    assert {each.target_id for each in sent} == {registered.push_subscription.id}
    assert len(receiver.received) == len(messages_of(sent)) == 1


async def test_every_browser_gets_its_own(person: Person, others: Others, receiver: Receiver) -> None:
    receiver.respond = answers(201)
    await others.locate(person.user_id)
    for name in ("one", "two"):
        await person.RegisterPushSubscription(**browser(f"{receiver.url}/{name}"))
    await others.remind(a_reminder(person.user_id, at=at(0)))
    await person.ended(WEBPUSH, 2)
    assert sorted(each.target for each in receiver.received) == ["/one", "/two"]


async def test_a_subscription_that_is_gone_is_removed(person: Person, others: Others, receiver: Receiver) -> None:
    receiver.respond = answers(410)
    await others.locate(person.user_id)
    await person.RegisterPushSubscription(**browser(f"{receiver.url}/one"))
    await others.remind(a_reminder(person.user_id, at=at(0)))
    [ended] = await person.ended(WEBPUSH)
    assert ended.reason.startswith("HTTP 410")

    async def removed() -> bool:
        return not (await person.ListPushSubscriptions()).push_subscriptions

    await until(removed, "the subscription is removed")


async def test_an_endpoint_belongs_to_who_registered_it_last(person: Person, receiver: Receiver) -> None:
    keys = browser(f"{receiver.url}/shared")
    first = await person.RegisterPushSubscription(**keys)
    again = await person.RegisterPushSubscription(**keys, label="Again")
    assert again.push_subscription.id == first.push_subscription.id
    other = person.another()
    await other.RegisterPushSubscription(**keys)
    assert not (await person.ListPushSubscriptions()).push_subscriptions
    assert len((await other.ListPushSubscriptions()).push_subscriptions) == 1


async def test_a_list_shows_the_key_to_subscribe_with_and_no_endpoint(person: Person, receiver: Receiver) -> None:
    await person.RegisterPushSubscription(**browser(f"{receiver.url}/secret"))
    listed = await person.ListPushSubscriptions()
    assert "/secret" not in str(listed)
    point = base64.urlsafe_b64decode(listed.application_server_key + "=")
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


async def test_a_subscription_is_deleted_by_its_owner_alone(person: Person, receiver: Receiver) -> None:
    made = (await person.RegisterPushSubscription(**browser(f"{receiver.url}/one"))).push_subscription
    with refused("PUSH_SUBSCRIPTION_NOT_FOUND", push_subscription_id=made.id):
        await person.another().DeletePushSubscription(push_subscription_id=made.id)
    await person.DeletePushSubscription(push_subscription_id=made.id)
    with refused("PUSH_SUBSCRIPTION_NOT_FOUND", push_subscription_id=made.id):
        await person.DeletePushSubscription(push_subscription_id=made.id)


@pytest.mark.parametrize("endpoint", ["ftp://push.example/x", "https://10.0.0.1/x", "https://u:p@push.example/x"])
async def test_an_endpoint_that_cannot_be_called_is_refused(person: Person, endpoint: str) -> None:
    with refused("PUSH_ENDPOINT_INVALID") as error:
        await person.RegisterPushSubscription(**browser(endpoint))
    assert error.fields == ["endpoint"]


async def test_a_user_has_a_bounded_number_of_subscriptions(person: Person, receiver: Receiver) -> None:
    for number in range(MOST_SUBSCRIPTIONS):
        await person.RegisterPushSubscription(**browser(f"{receiver.url}/{number}"))
    with refused("TOO_MANY_PUSH_SUBSCRIPTIONS", limit=str(MOST_SUBSCRIPTIONS)):
        await person.RegisterPushSubscription(**browser(f"{receiver.url}/more"))


@pytest.mark.parametrize("point", [b"\x04" + b"\x01" * 64, b"\x05" * 65])
async def test_keys_that_no_browser_has_are_refused(person: Person, receiver: Receiver, point: bytes) -> None:
    p256dh = base64.urlsafe_b64encode(point).decode().rstrip("=")
    with refused("PUSH_KEYS_INVALID") as error:
        await person.RegisterPushSubscription(**{**browser(receiver.url), "p256dh": p256dh})
    assert error.fields == ["p256dh"]
    assert not (await person.ListPushSubscriptions()).push_subscriptions
