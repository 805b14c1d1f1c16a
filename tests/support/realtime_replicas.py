"""Replicas of the realtime service for tests, and the events they receive."""

from collections.abc import Awaitable, Callable
from typing import Any

from mesh.events.envelope import ConsumedEvent
from mesh.runtime import clock
from mesh.runtime.ids import new_id
from services.realtime.settings import Settings
from tests.support.ports import free_ports
from tests.support.realtime_clients import Target

Replica = Callable[..., Awaitable[Target]]
Publish = Callable[..., Awaitable[str]]


def an_event(
    user_id: str, *, subject: str = "", epoch: int = 1, version: int = 1, event_id: str = "", **payload: Any
) -> ConsumedEvent:
    """An event as todo publishes it of a task."""
    event_id, subject = event_id or new_id(), subject or new_id()
    data = {"event_id": event_id, "event_type": "task-created", "task_id": subject, "schema_version": "1.0"}
    return ConsumedEvent(
        id=event_id,
        type="task-created",
        source="todo",
        subject=subject,
        user_id=user_id,
        epoch=epoch,
        version=version,
        time=clock.now(),
        data={**data, "payload": payload},
        traceparent="",
        topic="task-updates",
        value=b"",
    )


def settings_for(redis_url: str, **changes: Any) -> Settings:
    """Settings of a replica on free ports, that nothing feeds."""
    listen, websocket = free_ports(2)
    return Settings(
        listen=f"127.0.0.1:{listen}",
        websocket_listen=f"127.0.0.1:{websocket}",
        redis_url=redis_url,
        kafka_bootstrap="127.0.0.1:1",
        jwks_target="127.0.0.1:1",
        page_token_key="test",
        **{"drain_seconds": 0.0, "stop_grace_seconds": 3.0, **changes},
    )
