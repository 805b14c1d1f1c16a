"""Links of session tasks to todo tasks: a user may link to tasks of their own only."""

from collections.abc import Mapping

from focusmesh.todo.v1.task_ownership_service_pb2 import FindOwnedTasksRequest
from focusmesh.todo.v1.task_ownership_service_pb2_grpc import TaskOwnershipServiceStub

from mesh.rpc.call import current_call
from mesh.runtime.errors import DependencyUnavailable
from services.pomodoro import errors

_SECONDS = 1.0
"""After so long todo counts as away."""


class TodoLinks:
    """Checks links at todo."""

    def __init__(self, todo: TaskOwnershipServiceStub) -> None:
        self._todo = todo

    async def check(self, links: Mapping[str, str]) -> None:
        """Raises TodoTaskNotFound or TodoUnavailable. links: ids of todo tasks by the field that names them."""
        if not links:
            return
        request = FindOwnedTasksRequest(user_id=current_call().user_id, task_ids=sorted(set(links.values())))
        try:
            response = await self._todo.FindOwnedTasks(request, timeout=_SECONDS)
        except DependencyUnavailable:
            raise errors.TodoUnavailable(retry_after=_SECONDS) from None
        for field, task_id in links.items():
            if task_id not in response.task_ids:
                raise errors.TodoTaskNotFound(field, task_id)
