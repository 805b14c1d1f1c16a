"""The usual Python stack, for comparison: FastAPI, uvicorn on uvloop and httptools, pydantic, psycopg.

The same work on the same tables as the todo service's CreateTask and ListTasks: the token is verified with the
published keys (once, then cached until it expires, as todo does) and its scope checked, the body is validated by
pydantic, the task and its outbox row commit in one transaction, and each request has a span (a tenth recorded) and a
duration by OpenTelemetry's instrumentation of FastAPI, sent by OTLP. Left out, in its favour: idempotency, revocation,
deadlines, and the relay of its outbox, whose rows go to a table of the same shape that nobody publishes.
"""

import base64
import os
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from time import time
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import jwt
import orjson
import uvicorn
from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from pydantic import AwareDatetime, BaseModel, Field, model_validator

CONNECTIONS = 8
TRACE_RATIO = 0.1
_REMEMBERED = 10_000

INSERT = """
    INSERT INTO tasks (id, user_id, title, description, status, due_date, reminder_time, is_recurring,
        recurrence_schedule, created_at, updated_at, version)
    VALUES (%(id)s, %(user_id)s, %(title)s, %(description)s, %(status)s, %(due_date)s, %(reminder_time)s,
        %(is_recurring)s, %(recurrence_schedule)s, %(created_at)s, %(updated_at)s, %(version)s)"""
OUTBOX = """
    INSERT INTO bench.outbox (event_id, topics, key, version, shard, value)
    VALUES (%s, %s, %s, %s, 0, %s)"""
LIST = """
    SELECT id, user_id, title, description, status, due_date, reminder_time, is_recurring, recurrence_schedule,
        created_at, updated_at, completed_at, version
    FROM tasks WHERE user_id = %s AND deleted_at IS NULL
    ORDER BY created_at DESC, id DESC LIMIT %s"""

Schedule: TypeAlias = Literal["daily", "weekly", "monthly"]
Pool: TypeAlias = "AsyncConnectionPool[Any]"


class NewTask(BaseModel):
    """Body of a create."""

    request_id: uuid.UUID | None = None
    title: Annotated[str, Field(min_length=1, max_length=255, pattern=r"\S")]
    description: Annotated[str, Field(max_length=10_000)] | None = None
    due_date: AwareDatetime | None = None
    reminder_time: AwareDatetime | None = None
    is_recurring: bool = False
    recurrence_schedule: Schedule | None = None

    @model_validator(mode="after")
    def schedule_goes_with_recurring(self) -> "NewTask":
        """Refuses one without the other."""
        if self.is_recurring != (self.recurrence_schedule is not None):
            raise ValueError("recurrence_schedule must be set exactly when is_recurring is true")
        return self


class Task(BaseModel):
    """A task, as responses show it."""

    id: uuid.UUID
    user_id: uuid.UUID
    title: str
    description: str | None
    status: Literal["pending", "in_progress", "complete"]
    due_date: datetime | None
    reminder_time: datetime | None
    is_recurring: bool
    recurrence_schedule: Schedule | None
    created_at: datetime
    updated_at: datetime
    completed_at: datetime | None
    version: int


class Page(BaseModel):
    """A page of tasks."""

    tasks: list[Task]
    next_page_token: str | None = None


class Caller(NamedTuple):
    """The claims of a verified token."""

    user_id: uuid.UUID
    scopes: frozenset[str]
    expires: float


class Tokens:
    """Verifies access tokens against the published keys; a verified one is cached until it expires."""

    def __init__(self, jwks_url: str) -> None:
        self._keys = jwt.PyJWKClient(jwks_url)
        self._verified: dict[str, Caller] = {}

    def verify(self, token: str) -> Caller:
        """Raises InvalidTokenError."""
        known = self._verified.get(token)
        if known is not None and known.expires > time():
            return known
        claims = jwt.decode(
            token,
            self._keys.get_signing_key_from_jwt(token).key,
            algorithms=["EdDSA"],
            audience="focusmesh",
            issuer="https://auth.focusmesh",
            options={"require": ["exp", "iat", "sub", "sid"]},
        )
        caller = Caller(uuid.UUID(claims["sub"]), frozenset(claims["scope"].split()), claims["exp"])
        if len(self._verified) >= _REMEMBERED:
            self._verified.clear()
        self._verified[token] = caller
        return caller


def caller_with(scope: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, who must have a scope."""

    async def verified(
        request: Request, credentials: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]
    ) -> Caller:
        try:
            caller: Caller = request.app.state.tokens.verify(credentials.credentials)
        except jwt.InvalidTokenError as error:
            raise HTTPException(401, "token is invalid") from error
        if scope not in caller.scopes:
            raise HTTPException(403, f"scope {scope} is missing")
        return caller

    return verified


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Opens the pool."""
    pool: Pool = AsyncConnectionPool(
        os.environ["DATABASE_URL"], min_size=CONNECTIONS, max_size=CONNECTIONS, kwargs={"autocommit": True}, open=False
    )
    app.state.pool, app.state.tokens = pool, Tokens(os.environ["JWKS_URL"])
    async with pool:
        await pool.wait()
        yield


def instrument(app: FastAPI) -> None:
    """Spans and durations by OpenTelemetry's instrumentation, without its spans for each phase of a request."""
    resource = Resource.create({"service.name": "fastapi"})
    traces = TracerProvider(resource=resource, sampler=ParentBased(TraceIdRatioBased(TRACE_RATIO)))
    traces.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    meters = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource)
    FastAPIInstrumentor.instrument_app(
        app, tracer_provider=traces, meter_provider=meters, exclude_spans=["receive", "send"]
    )


app = FastAPI(lifespan=lifespan)
instrument(app)


def created_event(task: Task) -> tuple[uuid.UUID, bytes]:
    """Id and envelope of the event of a new task."""
    event_id = uuid.uuid4()
    envelope = {
        "specversion": "1.0",
        "id": event_id,
        "source": "/focusmesh/todo",
        "type": "task-created",
        "subject": str(task.id),
        "time": task.created_at,
        "datacontenttype": "application/json",
        "partitionkey": str(task.user_id),
        "data": {
            "event_id": event_id,
            "event_type": "task-created",
            "task_id": task.id,
            "timestamp": task.created_at,
            "schema_version": "1.0",
            "payload": task.model_dump(
                include={
                    *("title", "description", "status", "due_date"),
                    *("reminder_time", "is_recurring", "recurrence_schedule"),
                }
            ),
        },
    }
    return event_id, orjson.dumps(envelope)


@app.post("/v1/tasks")
async def create_task(
    new: NewTask, request: Request, caller: Annotated[Caller, Depends(caller_with("tasks:write"))]
) -> Task:
    """Creates a task; it and its event commit together."""
    now = datetime.now(UTC)
    task = Task(
        id=uuid.uuid4(),
        user_id=caller.user_id,
        status="pending",
        created_at=now,
        updated_at=now,
        completed_at=None,
        version=1,
        **new.model_dump(exclude={"request_id"}),
    )
    event_id, envelope = created_event(task)
    async with request.app.state.pool.connection() as connection, connection.transaction():
        await connection.execute(INSERT, dict(task))
        await connection.execute(
            OUTBOX, (event_id, ["task-events", "task-updates"], str(task.user_id), task.version, envelope)
        )
    return task


@app.get("/v1/tasks")
async def list_tasks(
    request: Request,
    caller: Annotated[Caller, Depends(caller_with("tasks:read"))],
    page_size: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Page:
    """A page of the caller's tasks, newest first."""
    async with request.app.state.pool.connection() as connection:
        cursor = connection.cursor(binary=True, row_factory=class_row(Task))
        await cursor.execute(LIST, (caller.user_id, page_size + 1))
        tasks: list[Task] = await cursor.fetchall()
    if len(tasks) <= page_size:
        return Page(tasks=tasks)
    last = tasks[page_size - 1]
    token = base64.urlsafe_b64encode(f"{last.created_at.isoformat()} {last.id}".encode()).decode()
    return Page(tasks=tasks[:page_size], next_page_token=token)


if __name__ == "__main__":
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_level="warning",
    )
