"""Tasks of users, from todo."""

from focusmesh.todo.v1.task_ownership_service_pb2 import FindOwnedTasksRequest
from focusmesh.todo.v1.task_ownership_service_pb2_grpc import TaskOwnershipServiceStub

from mesh.platform import Platform
from mesh.runtime.errors import DependencyUnavailable
from services.calendar.errors import TodoTaskNotFound, TodoUnavailable

_SECONDS = 1.0
"""After so long todo counts as away."""


class TaskOwners:
    """Whose tasks are whose."""

    def __init__(self, platform: Platform) -> None:
        self._stub = TaskOwnershipServiceStub(platform.client("todo").channel)

    async def check(self, user_id: str, task_id: str | None, field: str) -> None:
        """Raises TodoTaskNotFound when a task is not the user's, and TodoUnavailable. field: that names the task."""
        if task_id is None:
            return
        request = FindOwnedTasksRequest(user_id=user_id, task_ids=[task_id])
        try:
            response = await self._stub.FindOwnedTasks(request, timeout=_SECONDS)
        except DependencyUnavailable:
            raise TodoUnavailable(retry_after=_SECONDS) from None
        if not response.task_ids:
            raise TodoTaskNotFound(task_id, field)
