"""Tasks of users, from todo."""

from collections.abc import Sequence

from focusmesh.todo.v1.task_pb2 import Task
from focusmesh.todo.v1.task_planning_service_pb2 import (
    DueTask,
    GetOwnedTaskRequest,
    ImportedTask,
    ImportTasksRequest,
    ListDueTasksRequest,
)
from focusmesh.todo.v1.task_planning_service_pb2_grpc import TaskPlanningServiceStub

from mesh.platform import Platform
from mesh.rpc.status import CalleeError
from mesh.runtime.errors import DependencyUnavailable
from services.calendar.errors import TodoTaskNotFound, TodoUnavailable

MOST_DUE = 5_000
"""Tasks of a feed."""
_PAGE, _MOST_IMPORTED = 200, 100
_IMPORT_SECONDS = 5.0
_SECONDS = 1.0
"""After so long todo counts as away."""


class Tasks:
    """The tasks of todo."""

    def __init__(self, platform: Platform) -> None:
        self._stub = TaskPlanningServiceStub(platform.client("todo").channel)

    async def due(self, user_id: str) -> list[DueTask]:
        """The tasks of a user that have a due time, the first MOST_DUE; raises DependencyUnavailable."""
        found: list[DueTask] = []
        page = ""
        while len(found) < MOST_DUE:
            request = ListDueTasksRequest(user_id=user_id, page_size=_PAGE, page_token=page)
            response = await self._stub.ListDueTasks(request, timeout=_SECONDS)
            found += response.tasks
            page = response.next_page_token
            if not page:
                break
        return found

    async def import_all(self, user_id: str, tasks: Sequence[ImportedTask], *, dry_run: bool) -> list[bool]:
        """Imports the tasks of a file; returns of each whether it is new. Raises TodoUnavailable."""
        are_new: list[bool] = []
        for begin in range(0, len(tasks), _MOST_IMPORTED):
            some = tasks[begin : begin + _MOST_IMPORTED]
            request = ImportTasksRequest(user_id=user_id, tasks=some, dry_run=dry_run)
            try:
                response = await self._stub.ImportTasks(request, timeout=_IMPORT_SECONDS)
            except DependencyUnavailable:
                raise TodoUnavailable(retry_after=_SECONDS) from None
            are_new += [each.is_new for each in response.imports]
        return are_new

    async def require(self, user_id: str, task_id: str, field: str) -> Task:
        """A task; raises TodoTaskNotFound when it is not the user's, and TodoUnavailable. field: that names it."""
        request = GetOwnedTaskRequest(user_id=user_id, task_id=task_id)
        try:
            response = await self._stub.GetOwnedTask(request, timeout=_SECONDS)
        except DependencyUnavailable:
            raise TodoUnavailable(retry_after=_SECONDS) from None
        except CalleeError as error:
            if error.reason != "TASK_NOT_FOUND":
                raise
            raise TodoTaskNotFound(task_id, field) from None
        return response.task
