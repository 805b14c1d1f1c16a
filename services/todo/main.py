"""The todo service: `python -m services.todo.main`."""

from focusmesh.todo.v1.task_instance_service_pb2_grpc import add_TaskInstanceServiceServicer_to_server
from focusmesh.todo.v1.task_ownership_service_pb2_grpc import add_TaskOwnershipServiceServicer_to_server
from focusmesh.todo.v1.task_planning_service_pb2_grpc import add_TaskPlanningServiceServicer_to_server
from focusmesh.todo.v1.task_service_pb2_grpc import add_TaskServiceServicer_to_server

from mesh.app import App, main
from mesh.database.quota import Quota
from mesh.platform import Platform
from mesh.rpc.identity import KeySource
from mesh.runtime import clock
from services.todo.clients import Users
from services.todo.consumers import SUBSCRIPTIONS
from services.todo.errors import TooManyTasks
from services.todo.handlers import (
    TaskHandlers,
    TaskInstanceHandlers,
    TaskOwnershipHandlers,
    TaskPlanningHandlers,
)
from services.todo.jobs import SeriesStarter, TaskPurger
from services.todo.settings import Settings


def build(settings: Settings, keys: KeySource | None = None) -> App:
    """Wires the service. keys: replaces the signing keys that auth publishes."""
    platform = Platform("todo", settings, keys)
    # Without statistics of somebody new Postgres would read and sort all of their tasks for each page.
    db, users = platform.database(sorts=False), Users(platform)
    quota = Quota("tasks", settings.most_tasks, TooManyTasks)
    return platform.app(
        [
            (add_TaskServiceServicer_to_server, TaskHandlers(db, platform.pages, quota, users.time_zone, clock.now)),
            (add_TaskInstanceServiceServicer_to_server, TaskInstanceHandlers(db, clock.now)),
            (add_TaskOwnershipServiceServicer_to_server, TaskOwnershipHandlers(db)),
            (add_TaskPlanningServiceServicer_to_server, TaskPlanningHandlers(db, platform.pages, quota, clock.now)),
        ],
        database=db,
        components=[
            TaskPurger(db),
            SeriesStarter(db, users.time_zone, clock.now),
            platform.consumer(db, SUBSCRIPTIONS),
        ],
    )


if __name__ == "__main__":
    main("todo", Settings, build)
