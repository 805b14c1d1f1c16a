"""Outages of receivers: mails and webhooks arrive once or say why not, and no other channel waits for them."""

import asyncio
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg

from harness.accounts import Accounts, User
from harness.http_receiver import Receiver, Respond, answers, hangs, receiving
from harness.smtp_server import Mail, taking_mail
from harness.waiting import until
from prove import checker
from prove.checker import EMAIL, IN_APP, WEBHOOK, Delivery
from prove.plan import CALLABLE_HOST, Plan
from prove.promises import Promise, note
from prove.users import sign_up
from stack.database import MAIN
from stack.errors import StackError
from stack.infrastructure import mail
from stack.stack import Stack

_UNHARMED_SECONDS = 3.0
"""How late what goes through other channels may be meanwhile."""
_AHEAD = timedelta(seconds=1)
_POLL_SECONDS = 0.5
_PAGE = 100
_CHANNELS, _WEBHOOKS = 2, 5
"""In the app and by mail; webhooks of each user, beside the app."""
_REFUSAL = "550 5.1.1 no such mailbox"
_VERIFY = "UPDATE auth.users SET email_verified = true WHERE id = ANY(%s::uuid[])"
_NO_CONTENT = answers(204)


class _Ledger:
    """Reminders of some users, and what ListDeliveries says of them."""

    def __init__(self, http: httpx.Client, people: Sequence[User]) -> None:
        self._http, self._accounts, self.people = http, Accounts(http), people
        self._tokens = {user.id: user.token for user in people}

    async def call(self, user: User, verb: str, path: str, **request: Any) -> dict[str, Any]:
        """A call as a user, who signs in again when the token has expired; raises StackError for anything else."""
        response = await asyncio.to_thread(self._request, user, verb, path, request)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._tokens[user.id] = (await asyncio.to_thread(self._accounts.sign_in, user)).token
            response = await asyncio.to_thread(self._request, user, verb, path, request)
        if not response.is_success:
            raise StackError(f"{verb} {path}: {response.status_code} {response.text}", advice="`make logs`")
        found: dict[str, Any] = response.json()
        return found

    def _request(self, user: User, verb: str, path: str, request: dict[str, Any]) -> httpx.Response:
        headers = {"authorization": f"Bearer {self._tokens[user.id]}"}
        return self._http.request(verb, path, headers=headers, **request)

    async def remind(self) -> None:
        """Makes a reminder for each of the users, due in a moment."""
        at = (datetime.now(UTC) + _AHEAD).isoformat()
        body = {"title": "Water the plants", "remindTime": at}
        await asyncio.gather(*(self.call(user, "POST", "/v1/reminders", json=body) for user in self.people))

    async def deliveries(self) -> list[Delivery]:
        """Every delivery of a reminder to the users; mails for their accounts are sent at other times."""
        pages = await asyncio.gather(
            *(self.call(user, "GET", f"/v1/deliveries?pageSize={_PAGE}") for user in self.people)
        )
        return [
            _delivery(user, each)
            for user, page in zip(self.people, pages, strict=True)
            for each in page["deliveries"]
            if each["kind"] == "NOTIFICATION_KIND_REMINDER"
        ]

    async def settle(self, seconds: float, each_user: int, doomed: Callable[[Delivery], bool]) -> list[Delivery]:
        """Waits until what can be sent is sent, and the rest has failed; returns every delivery.

        each_user: deliveries to each of the users.
        """

        async def settled() -> bool:
            found = await self.deliveries()
            ended = [each for each in found if (each.is_failed if doomed(each) else each.is_sent)]
            return len(ended) == len(found) == len(self.people) * each_user

        with suppress(StackError):  # the checker says what is missing
            await until(settled, "every delivery has ended", seconds, poll=_POLL_SECONDS)
        return await self.deliveries()


def _delivery(user: User, found: dict[str, Any]) -> Delivery:
    sent = found.get("sendTime")
    return Delivery(
        id=found["id"],
        user_id=user.id,
        channel=found["channel"],
        target_id=found.get("targetId", ""),
        state=found["state"],
        message_id=found.get("messageId", ""),
        reason=found.get("reason", ""),
        late=datetime.fromisoformat(sent) - datetime.fromisoformat(found["scheduledTime"]) if sent else None,
    )


async def prove(stack: Stack, plan: Plan, http: httpx.Client) -> list[Promise]:
    """Lets mail servers and receivers of webhooks fail in turn; returns what holds."""
    mails, webhooks = await asyncio.gather(_mails(stack, plan, http), _webhooks(plan, http))
    return [*mails, *webhooks]


async def _mails(stack: Stack, plan: Plan, http: httpx.Client) -> list[Promise]:
    """The mail server is away, then slow, and refuses one address."""
    ledger = _Ledger(http, await sign_up(Accounts(http), plan.outage_users))
    await asyncio.to_thread(_verify, stack, ledger.people)
    wanted = {"updateMask": "email", "email": {"reminders": True}}
    for user in ledger.people:
        await ledger.call(user, "PATCH", "/v1/notifications/preferences", json=wanted)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*stack.keys.mail_certificate())
    note(f"the mail server is away for {plan.away_seconds:.0f} s, then slow, and refuses an address")
    await asyncio.to_thread(stack.supervisor.stop, [mail.NAME])
    try:
        for _ in range(plan.outage_waves):
            await ledger.remind()
            await asyncio.sleep(plan.away_seconds / plan.outage_waves)
        async with taking_mail(stack.ports.mail, tls=tls) as server:
            back, refused = time.monotonic(), ledger.people[0]
            server.slow_seconds = plan.slow_seconds
            server.refused[refused.email] = _REFUSAL
            await ledger.remind()
            found = await ledger.settle(
                plan.outage_settle_seconds, (plan.outage_waves + 1) * _CHANNELS, lambda each: _is_refused(each, refused)
            )
            took = time.monotonic() - back
            # Mails for accounts have no link that ends them.
            taken = [_message_id(each) for each in server.taken if each.message["List-Unsubscribe"]]
    finally:
        await asyncio.to_thread(stack.supervisor.start_program, mail.NAME)
    mails = [each for each in found if each.channel == EMAIL]
    return [
        Promise.unless(
            checker.wrong_sends(mails, taken, lambda each: _is_refused(each, refused)),
            "a mail is sent once or its failure is visible, whatever the mail server does",
            f"{len(taken)} of {len(mails)} sent, {took:.0f} s after {plan.away_seconds:.0f} s without a server;"
            f" {sum(each.is_failed for each in mails)} refused",
        ),
        _unharmed("mails", [each for each in found if each.channel == IN_APP]),
    ]


def _message_id(taken: Mail) -> str:
    return str(taken.message["Message-ID"]).strip("<>").partition("@")[0]


def _is_refused(delivery: Delivery, refused: User) -> bool:
    return delivery.channel == EMAIL and delivery.user_id == refused.id


def _verify(stack: Stack, people: Iterable[User]) -> None:
    with psycopg.connect(stack.cluster.administrator_url(MAIN)) as connection:
        connection.execute(_VERIFY, ([user.id for user in people],))


class _Endpoint:
    """A receiver that fails for a while, and keeps the ids of what it took."""

    def __init__(self, receiver: Receiver, fails: Respond = _NO_CONTENT, times: int = 0) -> None:
        """times: requests that it responds to with `fails`, before it takes one."""
        self.url, self.taken = receiver.url, list[str]()
        self._receiver, self._fails, self._times = receiver, fails, times
        receiver.respond = self._respond

    async def _respond(self, writer: asyncio.StreamWriter) -> None:
        if len(self._receiver.received) <= self._times:
            await self._fails(writer)
            return
        self.taken.append(self._receiver.received[-1].headers["webhook-id"])
        await _NO_CONTENT(writer)


async def _webhooks(plan: Plan, http: httpx.Client) -> list[Promise]:
    """Receivers respond with 500, hang, redirect to loopback, or have a name that is a private address."""
    ledger = _Ledger(http, await sign_up(Accounts(http), plan.webhook_users))
    async with AsyncExitStack() as opened:
        local = await opened.enter_async_context(receiving())
        endpoints, healthy, doomed = list[_Endpoint](), set[str](), set[str]()
        for user in ledger.people:

            async def endpoint(fails: Respond = _NO_CONTENT, times: int = 0) -> _Endpoint:
                made = _Endpoint(await opened.enter_async_context(receiving(CALLABLE_HOST)), fails, times)
                endpoints.append(made)
                return made

            async def webhook(url: str, user: User = user) -> str:
                return str((await ledger.call(user, "POST", "/v1/webhooks", json={"url": url}))["webhook"]["id"])

            healthy.add(await webhook((await endpoint()).url))
            for fails, times in ((answers(500), plan.server_errors), (hangs, 1)):
                await webhook((await endpoint(fails, times)).url)
            redirects = await endpoint(answers(302, Location=local.url), plan.server_errors + 100)
            doomed |= {await webhook(redirects.url), await webhook(f"http://localhost:{local.port}/")}
        note(f"webhooks of {len(ledger.people)} users fail, hang, redirect to loopback, or are at a private address")
        await ledger.remind()
        found = await ledger.settle(plan.outage_settle_seconds, _WEBHOOKS + 1, lambda each: each.target_id in doomed)
        called = local.connections
    hooks = [each for each in found if each.channel == WEBHOOK]
    taken = [message_id for each in endpoints for message_id in each.taken]
    return [
        Promise.unless(
            checker.wrong_sends(hooks, taken, lambda each: each.target_id in doomed),
            "a webhook is sent once or its failure is visible, whatever its receiver does",
            f"{len(taken)} of {len(hooks)} sent; {sum(each.is_failed for each in hooks)} failed visibly",
        ),
        Promise(
            "nothing is called at an address that is not public, by redirect or by name",
            f"{called} connections",
            called == 0,
        ),
        _unharmed("webhooks", [each for each in found if each.channel == IN_APP or each.target_id in healthy]),
    ]


def _unharmed(failing: str, others: Sequence[Delivery]) -> Promise:
    slowest = max((each.late.total_seconds() for each in others if each.late), default=float("inf"))
    unsent = [f"{each.channel} of user {each.user_id}: {each.state}" for each in others if not each.is_sent]
    return Promise(
        f"other channels deliver within {_UNHARMED_SECONDS:.0f} s while {failing} fail",
        f"{slowest:.2f} s at most, {len(others)} deliveries",
        not unsent and slowest <= _UNHARMED_SECONDS,
        unsent,
    )
