"""`make demo`: the main journey on the running stack; every call is shown with its answer.

A person registers, signs in, opens the WebSocket, creates the specification's task over REST, sees it arrive on the
socket and in the audit log, completes it over gRPC, and signs out.
"""

import asyncio
import json
import re
import time
import uuid
from typing import Any

import grpc
import httpx
from focusmesh.todo.v1 import task_service_pb2, task_service_pb2_grpc
from google.protobuf.json_format import MessageToDict
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException
from websockets.typing import Subprotocol

from stack.errors import StackError, run_command
from stack.layout import main_state
from stack.stack import Stack
from stack.terminal import BLUE, GREEN, GREY, YELLOW, colour

_PASSWORD = "correct horse battery staple"  # noqa: S105 (of a user that the demo makes)
_TASK = {
    "title": "Buy groceries",
    "description": "Milk, bread, eggs",
    "dueTime": "2026-02-09T18:00:00Z",
    "reminderTime": "2026-02-09T12:00:00Z",
}
_SECONDS = 10.0
_POLL_SECONDS = 0.01
_LONGEST_TEXT = 72
_KEY = re.compile(r'^(\s*)("[^"]+")(: )', re.MULTILINE)
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
    """Shows an answer, a frame or the end of a stream."""
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
    """One user on the way through the gateway. Methods raise StackError when an answer is not what it should be."""

    def __init__(self, http: httpx.AsyncClient, target: str) -> None:
        """http: at the gateway. target: of the gateway, host:port."""
        self._http, self._target = http, target
        self._tokens: Json = {}
        self._email = f"ada.{uuid.uuid4().hex[:12]}@example.org"

    async def walk(self) -> None:
        """The whole way."""
        step(1, "Register")
        await self._post("/v1/users", {"email": self._email, "password": _PASSWORD, "timeZone": "Europe/Berlin"})
        step(2, "Sign in")
        signed_in = await self._post("/v1/sessions", {"email": self._email, "password": _PASSWORD})
        self._tokens = signed_in["tokens"]
        step(3, "Listen: open the WebSocket")
        async with self._socket() as socket:
            await self._frame(socket, "opened")
            await self._work(socket)
            step(9, "Sign out: the access token and the open stream end with the session")
            await self._sign_out(socket)

    async def _work(self, socket: ClientConnection) -> None:
        step(4, "Create the task of the specification, over REST")
        began = time.monotonic()
        created = await self._post("/v1/tasks", {**_TASK, "requestId": str(uuid.uuid4())})
        task = created["task"]
        step(5, "See it arrive: the frame on the WebSocket, the record in the audit log")
        await self._frame(socket, "change", since=began)
        await self._audit(task["id"], "task-created", since=began)
        step(6, "List")
        await self._get("/v1/tasks?states=TASK_STATE_PENDING")
        step(7, "Complete it, over gRPC")
        began = time.monotonic()
        await self._complete(task)
        await self._frame(socket, "change", since=began)
        await self._audit(task["id"], "task-completed", since=began)
        step(8, "Verify the chain of the audit log")
        await self._get("/v1/auditRecords:verify")

    def _socket(self) -> connect:
        sent(f"GET ws://{self._target}/v1/realtime   subprotocols: focusmesh.v1, bearer.TOKEN")
        protocols = [Subprotocol("focusmesh.v1"), Subprotocol(f"bearer.{self._tokens['accessToken']}")]
        return connect(f"ws://{self._target}/v1/realtime", subprotocols=protocols, open_timeout=_SECONDS)

    async def _frame(self, socket: ClientConnection, kind: str, since: float | None = None) -> None:
        """Waits for the next frame of a kind and shows it."""
        try:
            async with asyncio.timeout(_SECONDS):
                while kind not in (frame := json.loads(await socket.recv())):
                    pass
        except TimeoutError:
            raise StackError(f"no {kind} came within {_SECONDS:.0f} s", advice="`make logs S=realtime-0`") from None
        came(f"WebSocket frame{_after(since)}", frame)

    async def _audit(self, task_id: str, event_type: str, *, since: float) -> None:
        """Asks until the record is there, and shows it."""
        path = f"/v1/auditRecords?taskId={task_id}&eventTypes={event_type}"
        sent(f"GET {path}   until it is there")
        while True:
            answer = await self._answer("GET", path)
            if answer["auditRecords"]:
                came(f"audit record{_after(since)}", answer["auditRecords"][0])
                return
            if time.monotonic() > since + _SECONDS:
                raise StackError(f"no {event_type} in the audit log", advice="`make logs S=audit-0`, `make topics`")
            await asyncio.sleep(_POLL_SECONDS)

    async def _complete(self, task: Json) -> None:
        request = task_service_pb2.CompleteTaskRequest(
            task_id=task["id"], etag=task["etag"], request_id=str(uuid.uuid4())
        )
        sent("focusmesh.todo.v1.TaskService/CompleteTask   by gRPC", MessageToDict(request))
        async with grpc.aio.insecure_channel(self._target) as channel:
            try:
                response = await task_service_pb2_grpc.TaskServiceStub(channel).CompleteTask(
                    request, metadata=(("authorization", f"Bearer {self._tokens['accessToken']}"),), timeout=_SECONDS
                )
            except grpc.aio.AioRpcError as error:
                raise StackError(f"gRPC answered {error.code().name}: {error.details()}", advice=_SLOW) from None
        came("OK", MessageToDict(response))

    async def _sign_out(self, socket: ClientConnection) -> None:
        await self._post("/v1/sessions:logout", {"refreshToken": self._tokens["refreshToken"]})
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
        sent("GET /v1/tasks   with the same token")
        answer = await self._request("GET", "/v1/tasks", None)
        came(f"{answer.status_code} {answer.reason_phrase}", answer.json())

    async def _post(self, path: str, body: Json) -> Json:
        shown = {name: "…" if name == "password" else value for name, value in body.items()}
        sent(f"POST {path}", shown)
        return await self._shown("POST", path, body)

    async def _get(self, path: str) -> Json:
        sent(f"GET {path}")
        return await self._shown("GET", path)

    async def _shown(self, verb: str, path: str, body: Json | None = None) -> Json:
        answer = await self._answer(verb, path, body)
        came("200 OK", answer)
        return answer

    async def _answer(self, verb: str, path: str, body: Json | None = None) -> Json:
        answer = await self._request(verb, path, body)
        if not answer.is_success:
            wait = "wait a minute, then again" if answer.status_code == httpx.codes.TOO_MANY_REQUESTS else _SLOW
            raise StackError(f"{verb} {path} was answered {answer.status_code}: {answer.text}", advice=wait)
        found: Json = answer.json()
        return found

    async def _request(self, verb: str, path: str, body: Json | None) -> httpx.Response:
        token = self._tokens.get("accessToken")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        return await self._http.request(verb, path, json=body, headers=headers)


def _after(began: float | None) -> str:
    return "" if began is None else f", {(time.monotonic() - began) * 1000:.0f} ms later"


async def _walk(machine: Stack) -> None:
    async with httpx.AsyncClient(base_url=machine.gateway_url, timeout=_SECONDS) as http:
        try:
            await Journey(http, machine.gateway_target).walk()
        except (httpx.HTTPError, WebSocketException, OSError) as error:
            raise StackError(f"the gateway does not answer: {error or type(error).__name__}", advice=_SLOW) from None


def main() -> None:
    """Walks the journey on the stack of `make up`."""
    machine = Stack.running(main_state())
    if machine is None:
        raise StackError("no stack runs", advice="`make up`, then `make demo`")
    asyncio.run(_walk(machine))
    print(f"\nThat was the main journey. All of it went through {machine.gateway_url}.")


if __name__ == "__main__":
    run_command(main)
