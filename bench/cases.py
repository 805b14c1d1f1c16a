"""What is measured: one case per row of the report, and the request that each sends."""

import json
from dataclasses import dataclass

from focusmesh.todo.v1 import task_service_pb2 as pb

from bench.accounts import Account
from bench.ceiling import CALLER
from bench.load import Job

OPERATIONS = ("create", "list")
CEILING, FASTAPI = "ceiling", "fastapi"
DIRECT, ENVOY_GRPC, REST = "todo.grpc", "todo.envoy-grpc", "todo.rest"
VARIANTS = (CEILING, FASTAPI, DIRECT, ENVOY_GRPC, REST)

PAGE = 50
_TITLE = "Write the weekly report"
_DESCRIPTION = "lorem ipsum " * 8
_DUE = "2030-01-01T00:00:00Z"
_DUE_SECONDS = 1_893_456_000
_METHODS = {"create": "CreateTask", "list": "ListTasks"}
_REQUEST_ID_FIELD = b"\x0a\x24"
"""Field 1, 36 bytes: a UUID as text follows."""


@dataclass(frozen=True)
class Addresses:
    """host:port of everything that is called."""

    ceiling: str
    fastapi: str
    todo: str
    gateway: str


@dataclass(frozen=True)
class Case:
    """One way to do one operation."""

    variant: str
    operation: str

    @property
    def name(self) -> str:
        """Of its row."""
        return f"{self.variant}/{self.operation}"

    @property
    def server(self) -> str:
        """The process whose CPU is counted: ceiling, fastapi or todo."""
        return self.variant.partition(".")[0]

    def job(self, addresses: Addresses, account: Account, in_flight: int, seconds: float) -> Job:
        """The measurement. account: whose tasks are created or listed."""
        make = _http_job if self.variant in (FASTAPI, REST) else _grpc_job
        return make(self, addresses, account, in_flight, seconds)


def all_cases() -> list[Case]:
    """Every row."""
    return [Case(variant, operation) for operation in OPERATIONS for variant in VARIANTS]


def _grpc_job(case: Case, addresses: Addresses, account: Account, in_flight: int, seconds: float) -> Job:
    if case.operation == "create":
        new = pb.CreateTaskRequest(title=_TITLE, description=_DESCRIPTION)
        new.due_time.seconds = _DUE_SECONDS
        body, fresh = new.SerializeToString(), _REQUEST_ID_FIELD
    else:
        body, fresh = pb.ListTasksRequest(page_size=PAGE).SerializeToString(), b""
    bare = case.variant == CEILING
    address = {CEILING: addresses.ceiling, DIRECT: addresses.todo, ENVOY_GRPC: addresses.gateway}[case.variant]
    return Job(
        kind="grpc",
        address=address,
        path=f"/focusmesh.todo.v1.TaskService/{_METHODS[case.operation]}",
        headers={CALLER: account.user_id} if bare else {"authorization": f"Bearer {account.token}"},
        body=body.hex(),
        fresh_id=fresh.hex(),
        in_flight=in_flight,
        seconds=seconds,
    )


def _http_job(case: Case, addresses: Addresses, account: Account, in_flight: int, seconds: float) -> Job:
    ours = case.variant == REST
    request_id, page_size, due = (
        ("requestId", "pageSize", "dueTime") if ours else ("request_id", "page_size", "due_date")
    )
    create = case.operation == "create"
    rest = json.dumps({"title": _TITLE, "description": _DESCRIPTION, due: _DUE})[1:]
    return Job(
        kind="http",
        address=addresses.gateway if ours else addresses.fastapi,
        method="POST" if create else "GET",
        path="/v1/tasks" if create else f"/v1/tasks?{page_size}={PAGE}",
        headers={
            "authorization": f"Bearer {account.token}",
            **({"content-type": "application/json"} if create else {}),
        },
        body=f'", {rest}'.encode().hex() if create else "",
        fresh_id=f'{{"{request_id}": "'.encode().hex() if create else "",
        in_flight=in_flight,
        seconds=seconds,
    )
