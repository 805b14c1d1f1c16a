"""`make demo`: the main journey on the running stack; shows every call with its response.

A person registers, signs in, opens the WebSocket, creates the specification's task over REST, sees it arrive on the
socket and in the audit log, completes it over gRPC; verifies the address, is reminded of a task in the app and by mail;
starts, pauses, resumes and finishes a focus session and finds it in the history; plans an event, is reminded of it,
starts and finishes it, compares what was planned with what came of it; and signs out.
"""

import asyncio
import json
import re
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import httpx
from focusmesh.todo.v1 import task_service_pb2, task_service_pb2_grpc
from google.protobuf.json_format import MessageToDict
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from harness.accounts import Accounts, User
from harness.waiting import until
from stack.commands import mail as mail_command
from stack.errors import StackError, run_command
from stack.infrastructure import mail
from stack.layout import State, main_state
from stack.stack import Stack
from stack.terminal import BLUE, GREEN, GREY, YELLOW, colour

_TASK = {
    "title": "Buy groceries",
    "description": "Milk, bread, eggs",
    "dueTime": "2026-02-09T18:00:00Z",
    "reminderTime": "2026-02-09T12:00:00Z",
}
_SECONDS = 10.0
_REMINDED_SECONDS = 2.0
_PLANNED_SECONDS = 3.0
_CODE = re.compile(r"fmm_[\w-]+")
_LONGEST_TEXT = 72
_KEY = re.compile(r'^(\s*)("[^"]+")(: )', re.MULTILINE)
_SHOWN = "shown"
"""Extension of a request: whether it and its response are shown."""
_SLOW = "`make status`, `make logs`"

Json = dict[str, Any]


def step(number: int, title: str) -> None:
    """Announces what comes next."""
    print(f"\n{colour(f'{number}. {title}', YELLOW)}")


def sent(call: str, body: Json | None = None) -> None:
    """Shows a call."""
    print(f"{colour('→', BLUE)} {colour(call, BLUE)}")
    if body is not None:
        print(_pretty(body))


def came(what: str, body: Json | None = None) -> None:
    """Shows a response, a frame or the end of a stream."""
    print(f"{colour('←', GREEN)} {colour(what, GREEN)}")
    if body is not None:
        print(_pretty(body))


def _pretty(body: Json) -> str:
    """JSON as people read it; secrets and hashes shortened."""
    text = json.dumps(_shortened(body), indent=2, ensure_ascii=False)
    return _KEY.sub(lambda found: f"{found[1]}{colour(found[2], GREY)}{found[3]}", text)


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shortened(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value]
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:24]}… ({len(value)} characters)"
    return value


class Journey:
    """The journey of one user through the gateway. Methods raise StackError when a response is not the expected one."""

    def __init__(self, http: httpx.Client, target: str, state: State) -> None:
        """http: at the gateway; it shows what it carries. target: of the gateway, host:port. state: of the stack."""
        self._http, self._target, self._state = http, target, state
        self._accounts = Accounts(http, retry_seconds=0)
        self._user: User

    async def walk(self) -> None:
        """Makes every call of the journey."""
        step(1, "Register")
        email = f"ada.{uuid.uuid4().hex[:12]}@example.org"
        user = await asyncio.to_thread(self._accounts.register, email=email, timeZone="Europe/Berlin")
        step(2, "Sign in")
        self._user = await asyncio.to_thread(self._accounts.sign_in, user)
        self._http.headers["authorization"] = f"Bearer {self._user.token}"
        step(3, "Listen: open the WebSocket")
        async with self._socket() as socket:
            await self._frame(socket, "opened")
            await self._work(socket)
            await self._remind(socket)
            await self._focus(socket)
            await self._plan(socket)
            step(18, "Sign out: the access token and the open stream end with the session")
            await self._sign_out(socket)

    async def _work(self, socket: ClientConnection) -> None:
        step(4, "Create the task of the specification, over REST")
        began = time.monotonic()
        created = await self._post("/v1/tasks", {**_TASK, "requestId": str(uuid.uuid4())})
        task = created["task"]
        step(5, "See it arrive: the frame on the WebSocket, the record in the audit log")
        await self._change(socket, "task-created", since=began)
        await self._audit(task["id"], "task-created", since=began)
        step(6, "List")
        await self._get("/v1/tasks?states=TASK_STATE_PENDING")
        step(7, "Complete it, over gRPC")
        began = time.monotonic()
        await self._complete(task)
        await self._change(socket, "task-completed", since=began)
        await self._audit(task["id"], "task-completed", since=began)
        step(8, "Verify the chain of the audit log")
        await self._get("/v1/auditRecords:verify")

    async def _remind(self, socket: ClientConnection) -> None:
        step(9, "Verify the address, by the code in the mail that came to it")
        code = _CODE.search(await self._mail("Verify"))
        if code is None:
            raise StackError("there is no code in the mail", advice="`make mail M=1`")
        await self._post("/v1/users:verifyEmail", {"token": code[0]})
        step(10, "Be reminded of a task: in the app, on every device, and by mail")
        wanted = {"updateMask": "email", "email": {"reminders": True}}
        await self._call("PATCH", "/v1/notifications/preferences", wanted)
        due = datetime.now(UTC) + timedelta(seconds=_REMINDED_SECONDS)
        body = {"title": "Call home", "reminderTime": due.isoformat(), "requestId": str(uuid.uuid4())}
        await self._post("/v1/tasks", body)
        began = time.monotonic() + _REMINDED_SECONDS
        await self._change(socket, "notification-created", since=began)
        await self._mail("Reminder", since=began)

    async def _mail(self, subject: str, since: float | None = None) -> str:
        """Waits until the catcher has a mail with a subject that begins so; shows it and returns its text."""
        sent(f"make mail TO={self._user.email}   until it is there")
        texts: list[str] = []

        def caught() -> bool:
            messages = map(mail.read, mail_command.chosen(self._state, self._user.email))
            texts.extend(mail_command.whole(each) for each in messages if each["Subject"].startswith(subject))
            return bool(texts)

        advice = "`make mail`, `make logs S=notification-0`"
        await until(lambda: asyncio.to_thread(caught), f"a mail {subject}", _SECONDS, advice=advice)
        came(f"mail{_after(since)}")
        print(texts[0].partition(colour("--- text/html", GREY))[0].rstrip())
        return texts[0]

    async def _focus(self, socket: ClientConnection) -> None:
        step(11, "Start a focus session: its clock is the server's, and every device gets its changes")
        tasks = [{"title": "Buy groceries"}]
        body = {"start": True, "title": "Shopping", "tasks": tasks, "requestId": str(uuid.uuid4())}
        session = await self._turn(socket, "/v1/focusSessions", body)
        step(12, "Pause it, resume it, finish it")
        for verb in ("pause", "resume", "finish"):
            body = {"etag": session["etag"], "requestId": str(uuid.uuid4())}
            session = await self._turn(socket, f"/v1/focusSessions/{session['id']}:{verb}", body)
        step(13, "Find it in the history")
        began = time.monotonic()
        archived = await self._found(f"/v1/history/sessions/{session['id']}")
        came(f"in the archive{_after(began)}", archived)

    async def _plan(self, socket: ClientConnection) -> None:
        step(14, "Plan: an event that begins in a moment, with a reminder")
        start = (datetime.now(UTC) + timedelta(seconds=_PLANNED_SECONDS)).replace(microsecond=0)
        reminder = {"offset": "PT0S", "channel": "REMINDER_CHANNEL_IN_APP"}
        body = {"title": "Write", "start": f"{start:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC", "durationMinutes": 50}
        event = (await self._post("/v1/events", {**body, "reminders": [reminder], "requestId": str(uuid.uuid4())}))[
            "event"
        ]
        began = time.monotonic() + (start - datetime.now(UTC)).total_seconds()
        await self._change(socket, "notification-created", since=began)
        step(15, "Start it: the occurrence becomes a focus session")
        began = time.monotonic()
        occurrence = f"/v1/occurrences/{event['id']}_{start:%Y%m%dT%H%M%S}"
        started = await self._post(f"{occurrence}:start", {"requestId": str(uuid.uuid4())})
        await self._change(socket, "occurrence-started", since=began)
        step(16, "Work for a second and finish: the occurrence is complete")
        session = f"/v1/focusSessions/{started['focusSessionId']}"
        await self._until(session, "a second is worked", lambda found: found["focusSession"]["totalFocusedSeconds"] > 0)
        began = time.monotonic()
        await self._post(f"{session}:finish", {"requestId": str(uuid.uuid4())})
        await self._change(socket, "occurrence-completed", since=began)
        step(17, "Compare what was planned with what came of it, and verify the audit log")
        days = [(datetime.now(UTC) + timedelta(days=by)).date().isoformat() for by in (-2, 2)]
        path = f"/v1/history/plan?fromDate={days[0]}&beforeDate={days[1]}&group=PLAN_GROUP_OCCURRENCE"
        summary = await self._until(
            path, "the plan has its session", lambda found: found["total"]["completedCount"] == 1
        )
        came(f"planned against actual{_after(began)}", summary)
        await self._get("/v1/auditRecords:verify")

    async def _until(self, path: str, what: str, holds: Callable[[Json], bool]) -> Json:
        """Asks until the response is as it should be; returns it."""
        sent(f"GET {path}   until {what}")
        found: Json = {}

        async def is_so() -> bool:
            found.update(await self._get(path, shown=False))
            return holds(found)

        await until(is_so, what, _SECONDS, advice="`make topics`, `make logs`")
        return found

    async def _turn(self, socket: ClientConnection, path: str, body: Json) -> Json:
        """Changes the session and shows the frame of it; returns the session."""
        began = time.monotonic()
        session: Json = (await self._post(path, body))["focusSession"]
        await self._change(socket, "session-", since=began)
        return session

    async def _found(self, path: str) -> Json:
        """Asks until the resource is there."""
        sent(f"GET {path}   until it is there")
        found: list[Json] = []

        async def there() -> bool:
            response = await asyncio.to_thread(self._http.get, path, extensions={_SHOWN: False})
            if response.is_success:
                found.append(response.json())
            return bool(found)

        await until(there, f"{path} is there", _SECONDS, advice="`make logs S=history-0`, `make topics`")
        return found[0]

    def _socket(self) -> connect:
        sent(f"GET ws://{self._target}/v1/realtime   subprotocols: focusmesh.v1, bearer.TOKEN")
        protocols = [Subprotocol("focusmesh.v1"), Subprotocol(f"bearer.{self._user.token}")]
        return connect(f"ws://{self._target}/v1/realtime", subprotocols=protocols, open_timeout=_SECONDS)

    async def _change(self, socket: ClientConnection, event: str, since: float) -> None:
        """Waits for the next change whose event's type begins so, and shows it."""
        await self._frame(socket, "change", lambda frame: frame["change"]["eventType"].startswith(event), since)

    async def _frame(
        self,
        socket: ClientConnection,
        kind: str,
        meant: Callable[[Json], bool] = lambda _frame: True,
        since: float | None = None,
    ) -> None:
        """Waits for the next frame of a kind that is meant, and shows it."""
        try:
            async with asyncio.timeout(_SECONDS):
                while kind not in (frame := json.loads(await socket.recv())) or not meant(frame):
                    pass
        except TimeoutError:
            raise StackError(f"no {kind} came within {_SECONDS:.0f} s", advice="`make logs S=realtime-0`") from None
        came(f"WebSocket frame{_after(since)}", frame)

    async def _audit(self, task_id: str, event_type: str, *, since: float) -> None:
        """Asks until the record is there, and shows it."""
        path = f"/v1/auditRecords?taskId={task_id}&eventTypes={event_type}"
        sent(f"GET {path}   until it is there")
        records: list[Json] = []

        async def recorded() -> bool:
            records.extend((await self._get(path, shown=False))["auditRecords"])
            return bool(records)

        await until(recorded, f"{event_type} in the audit log", _SECONDS, advice="`make logs S=audit-0`, `make topics`")
        came(f"audit record{_after(since)}", records[0])

    async def _complete(self, task: Json) -> None:
        request = task_service_pb2.CompleteTaskRequest(
            task_id=task["id"], etag=task["etag"], request_id=str(uuid.uuid4())
        )
        sent("focusmesh.todo.v1.TaskService/CompleteTask   by gRPC", MessageToDict(request))
        async with grpc.aio.insecure_channel(self._target) as channel:
            try:
                response = await task_service_pb2_grpc.TaskServiceStub(channel).CompleteTask(
                    request, metadata=(("authorization", f"Bearer {self._user.token}"),), timeout=_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                raise StackError(f"gRPC responded {error.code().name}: {error.details()}", advice=_SLOW) from None
        came("OK", MessageToDict(response))

    async def _sign_out(self, socket: ClientConnection) -> None:
        await asyncio.to_thread(self._accounts.sign_out, self._user)
        ended = time.monotonic()
        try:
            async with asyncio.timeout(_SECONDS):
                while True:
                    await socket.recv()
        except ConnectionClosed as closed:
            code = f"{closed.rcvd.code} {closed.rcvd.reason}" if closed.rcvd else "no reason"
            came(f"the WebSocket is closed with {code}{_after(ended)}")
        except TimeoutError:
            raise StackError("the stream outlives its session", advice="`make logs S=realtime-0`") from None
        await asyncio.to_thread(self._http.get, "/v1/tasks")

    async def _post(self, path: str, body: Json) -> Json:
        return await self._call("POST", path, body)

    async def _get(self, path: str, *, shown: bool = True) -> Json:
        return await self._call("GET", path, shown=shown)

    async def _call(self, verb: str, path: str, body: Json | None = None, *, shown: bool = True) -> Json:
        response = await asyncio.to_thread(self._http.request, verb, path, json=body, extensions={_SHOWN: shown})
        if not response.is_success:
            raise StackError(f"{verb} {path}: {response.status_code} {response.text}", advice=_SLOW)
        found: Json = response.json()
        return found


def show_request(request: httpx.Request) -> None:
    """Shows a call by HTTP, without what proves who somebody is."""
    if request.extensions.get(_SHOWN, True):
        body = json.loads(request.content) if request.content else {}
        shown = {name: "…" if name in {"password", "token"} else value for name, value in body.items()}
        sent(f"{request.method} {request.url.raw_path.decode()}", shown or None)


def show_response(response: httpx.Response) -> None:
    """Shows the response to a call by HTTP."""
    if response.request.extensions.get(_SHOWN, True):
        came(f"{response.status_code} {response.reason_phrase}", json.loads(response.read()))


def _after(began: float | None) -> str:
    return "" if began is None else f", {(time.monotonic() - began) * 1000:.0f} ms later"


async def _walk(stack: Stack) -> None:
    hooks: dict[str, list[Callable[..., None]]] = {"request": [show_request], "response": [show_response]}
    with httpx.Client(base_url=stack.gateway_url, timeout=_SECONDS, event_hooks=hooks) as http:
        try:
            await Journey(http, stack.gateway_target, stack.state).walk()
        except (httpx.HTTPError, WebSocketException, OSError) as error:
            raise StackError(f"the gateway does not respond: {error or type(error).__name__}", advice=_SLOW) from None


def main() -> None:
    """Walks the journey on the stack of `make up`."""
    stack = Stack.running(main_state())
    if stack is None:
        raise StackError("no stack runs", advice="`make up`, then `make demo`")
    asyncio.run(_walk(stack))
    print(f"\nThat was the main journey. All of it went through {stack.gateway_url}.")


if __name__ == "__main__":
    run_command(main)
