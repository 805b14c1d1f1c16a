"""People who use the product: registered, signed in, with resources of their own."""

import re
import time
from collections.abc import Callable
from functools import cache, cached_property, partial
from typing import Any

import jwt
from focusmesh.audit.v1 import audit_service_pb2
from focusmesh.auth.v1 import session_service_pb2
from focusmesh.history.v1 import history_service_pb2
from focusmesh.pomodoro.v1 import focus_session_pb2, focus_session_service_pb2
from focusmesh.todo.v1 import task_pb2, task_service_pb2
from focusmesh.todo.v1.task_instance_service_pb2 import WithdrawInstance
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from contract.methods import Method
from harness.accounts import PASSWORD, Accounts, User
from harness.clients import Rest
from harness.mails import WITH_TOKEN, Mails
from harness.notified import Notified
from harness.planned import Planned
from harness.recurring import Recurring
from harness.rpcs import BY_NAME, descriptor, request_class
from harness.valid_requests import is_required, valid_request
from harness.waiting import wait_until
from mesh.runtime.ids import new_id

NEEDED_STATE = {"ReopenTask": "complete", "UndeleteTask": "deleted"}
"""State of the task that an RPC is called with; all others take a pending one."""
NEEDED_VALUES: dict[str, dict[str, Any]] = {"ApplyInstance": {"slot": "2026-03-29", "withdraw": WithdrawInstance()}}
"""Values that belong together, by RPC."""
NEEDED_FOCUS_STATE = {
    "StartFocusSession": "planned",
    "UpdateFocusSession": "planned",
    "ResumeFocusSession": "paused",
    "UndeleteFocusSession": "deleted",
}
"""The same of the focus session; all others take a running one."""
FINISH_CURRENT = focus_session_service_pb2.WHEN_RUNNING_FINISH_CURRENT


class Account:
    """A registered user with a session."""

    def __init__(self, rest: Rest, mails: Mails | None = None) -> None:
        """rest: a client of the gateway. mails: only for calls that need the token of a mail."""
        self._rest, self._mails = rest, mails
        self._accounts = Accounts(rest.http)
        self._user = self._accounts.sign_up()
        self.id, self.email, self.token = self._user.id, self._user.email, self._user.token
        self.refresh_token = self._user.refresh_token
        self._manual_sessions = 0
        self.shown_in: dict[str, tuple[str, str]] = {}
        """Of resources that no RPC reads alone: the id field and the id of the resource that shows them."""

    @property
    def mails(self) -> Mails:
        """The mails of the stack."""
        assert self._mails, "this account was made without the mails of its stack"
        return self._mails

    @property
    def notified(self) -> Notified:
        """What the account has in the notification service."""
        return Notified(self.call)

    @cached_property
    def recurring(self) -> Recurring:
        """What the account has in the recurrence service."""
        return Recurring(self.call, self.shown_in)

    @cached_property
    def planned(self) -> Planned:
        """What the account has in the calendar service."""
        return Planned(self.call)

    def sign_in(self) -> User:
        """The account in another session."""
        return self._accounts.sign_in(self._user)

    def call(self, method: str | Method, request: Message) -> Any:
        """The response of an RPC; fails when the call does. method: by name, when no other service has one like it."""
        found = BY_NAME[method] if isinstance(method, str) else method
        result = self._rest.call(found, request, self.token)
        assert result.ok, result
        return result.response

    def task(self, state: str = "pending") -> task_pb2.Task:
        """A new task: pending, complete or deleted."""
        task: task_pb2.Task = self.call("CreateTask", task_service_pb2.CreateTaskRequest(title="Buy groceries")).task
        if state == "complete":
            self.call("CompleteTask", task_service_pb2.CompleteTaskRequest(task_id=task.id))
        if state == "deleted":
            self.call("DeleteTask", task_service_pb2.DeleteTaskRequest(task_id=task.id))
        return task

    def focus_session(self, state: str = "running") -> focus_session_pb2.FocusSession:
        """A new focus session with a task: planned, running, paused or deleted. One that was running is finished."""
        starts = state != "planned"
        when_running = FINISH_CURRENT if starts else focus_session_service_pb2.WHEN_RUNNING_UNSPECIFIED
        request = focus_session_service_pb2.CreateFocusSessionRequest(
            start=starts,
            auto_start_breaks=False,  # one that runs after SkipInterval would end in the middle of another test
            when_running=when_running,
            tasks=[focus_session_service_pb2.NewSessionTask(title="Write")],
        )
        session: focus_session_pb2.FocusSession = self.call("CreateFocusSession", request).focus_session
        if state == "paused":
            pause = focus_session_service_pb2.PauseFocusSessionRequest(focus_session_id=session.id)
            self.call("PauseFocusSession", pause)
        if state == "deleted":
            delete = focus_session_service_pb2.DeleteFocusSessionRequest(focus_session_id=session.id)
            self.call("DeleteFocusSession", delete)
        self.shown_in.update((task.id, ("focus_session_id", session.id)) for task in session.tasks)
        return session

    def free_time(self) -> dict[str, Timestamp]:
        """Twenty minutes of the past in which no session of the account was at work; others each time."""
        self._manual_sessions += 1
        end = int(time.time()) - self._manual_sessions * 3 * 3600
        return {"start_time": Timestamp(seconds=end - 1200), "end_time": Timestamp(seconds=end)}

    def archived_session_id(self, *, is_deleted: bool = False) -> str:
        """Id of a new session of the history, which was added by hand."""
        free: dict[str, Any] = self.free_time()
        request = history_service_pb2.AddManualSessionRequest(title="Read", **free)
        session_id: str = self.call("AddManualSession", request).archived_session.id
        if is_deleted:
            delete = history_service_pb2.DeleteArchivedSessionRequest(archived_session_id=session_id)
            self.call("DeleteArchivedSession", delete)
        return session_id

    def record_id(self) -> str:
        """Id of a record in the audit log; waits until there is one."""
        found: list[str] = []

        def has_one() -> bool:
            request = audit_service_pb2.ListAuditRecordsRequest(page_size=1)
            found.extend(record.id for record in self.call("ListAuditRecords", request).audit_records)
            return bool(found)

        if not has_one():
            self.task()
            wait_until(has_one, "the audit log has a record")
        return found[0]

    def created(self, entity: str) -> str:
        """Id of a new resource, made by its Create RPC: `created("shopping_list")` calls CreateShoppingList."""
        create = BY_NAME.get(f"Create{camel_case(entity)}")
        assert create, f"the contract has no way to make a {entity}: say in Account.fitting how one is made"
        made: str = getattr(self.call(create.name, valid_request(create, self.fitting(create))), entity).id
        return made

    def page_token(self, method: Method) -> str:
        """A token of the second page of a list, which shows what its Create RPC makes or what follows from tasks."""
        if method.name == "SummarizePlan":
            self.planned.start_two()
            listing = self.listing(method, page_size=1)
            wait_until(lambda: self.call(method, listing).next_page_token, "history knows both plans")
            token_of_plans: str = self.call(method, listing).next_page_token
            return token_of_plans
        if method.owner == "history":
            for _ in range(9):  # of two days
                self.archived_session_id()
            first = self.call(method, self.listing(method, page_size=1))
            token_of_history: str = first.next_page_token
            return token_of_history
        if method.owner == "calendar":
            self.planned.make_pages()
            token_of_calendar: str = self.call(method, self.listing(method, page_size=1)).next_page_token
            return token_of_calendar
        fields = descriptor(method).output_type.fields
        [listed] = [field.message_type.name for field in fields if field.is_repeated and field.message_type]
        create = BY_NAME.get(f"Create{listed}", BY_NAME["CreateTask"])
        if method.owner == "recurrence":
            self.recurring.logged()
            self.recurring.schedule()
            first = self.call(method, self.listing(method, page_size=1))
            token_of_recurrence: str = first.next_page_token
            return token_of_recurrence
        for _ in range(2):
            if listed in ("Notification", "Delivery"):
                self.notified.shown()
            else:
                self.call(create.name, valid_request(create, self.fitting(create)))
        request = request_class(method)(page_size=1)
        wait_until(lambda: self.call(method, request).next_page_token, f"{method.name} has two pages")
        token: str = self.call(method, request).next_page_token
        return token

    def listing(self, method: Method, **fields: Any) -> Message:
        """A valid request of a list with these fields, and what else it must have."""
        required = {field.name for field in descriptor(method).input_type.fields if is_required(field)}
        given = {name: value for name, value in self.fitting(method).items() if name in required}
        return valid_request(method, given | fields)

    def fitting(self, method: Method) -> dict[str, Any]:
        """Values for a valid call of the RPC that must exist: resources of this account, in the state that it needs."""
        session = cache(partial(self.focus_session, NEEDED_FOCUS_STATE.get(method.name, "running")))
        makers: dict[str, Callable[[], Any]] = {
            "user_id": lambda: self.id,
            "task_id": lambda: self.task(NEEDED_STATE.get(method.name, "pending")).id,
            "focus_session_id": lambda: session().id,
            "session_task_id": lambda: session().tasks[0].id,
            "session_task_ids": lambda: [task.id for task in session().tasks],
            "when_running": lambda: FINISH_CURRENT if "focus_session_id" in names else 0,
            "audit_record_id": self.record_id,
            "archived_session_id": lambda: self.archived_session_id(
                is_deleted=method.name == "UndeleteArchivedSession"
            ),
            "refresh_token": lambda: self.sign_in().refresh_token,
            "guest_refresh_token": lambda: Guest(self._rest).refresh_token,
            "guest_id": new_id,
            **self.notified.makers(),
            "series_id": new_id,
            "original_event_id": new_id,
        }
        fields = descriptor(method).input_type.fields
        names = [field.name for field in fields]
        recurring = self.recurring.fitting(method.name, names) if method.owner == "recurrence" else {}
        planned = self.planned.fitting(method.name, names) if method.owner == "calendar" else {}
        belonging = recurring | planned
        makers |= {name: partial(belonging.get, name) for name in belonging}
        for field in fields:
            if field.name.endswith("_id") and field.name != "mail_id" and is_required(field):
                makers.setdefault(field.name, partial(self.created, field.name.removesuffix("_id")))
        given = {name: make() for name, make in makers.items() if name in names}
        if method.owner == "notification":
            given |= self.notified.fields(method.name)
        given |= NEEDED_VALUES.get(method.name, {})
        if method.name == "AddManualSession":
            given |= self.free_time()
        if "before_date" in names:
            years = (2026, 2026) if method.name in ("GetHeatmap", "SummarizePlan") else (2020, 2029)
            given |= {"from_date": f"{years[0]}-01-01", "before_date": f"{years[1]}-12-31"}
        if method.name in WITH_TOKEN:  # for another user: a new password would end this one's sessions
            given["token"] = self.mails.token_for(method.name, self._accounts.register().id)
        if "mail_id" in names:
            given["mail_id"] = self.mails.requested(self.id, "verify_email")
        if "password" in names:
            given["password"] = PASSWORD
        if method.name == "Login":
            given["email"] = self.email
        return given


class Guest(Account):
    """Somebody without an account, who has focus sessions."""

    def __init__(self, rest: Rest) -> None:
        """rest: a client of the gateway."""
        self._rest, self._mails = rest, None
        result = rest.call(BY_NAME["CreateGuest"], session_service_pb2.CreateGuestRequest(), None)
        assert result.ok, result
        tokens = result.response.tokens  # type: ignore[union-attr]
        self.email, self.token, self.refresh_token = "", tokens.access_token, tokens.refresh_token
        self.id = str(claims_of(self)["sub"])
        self.shown_in = {}

    def focus_session(self, state: str = "running") -> focus_session_pb2.FocusSession:
        """The same; the sessions before it are deleted, and so make room."""
        listed = self.call("ListFocusSessions", focus_session_service_pb2.ListFocusSessionsRequest()).focus_sessions
        for session in listed:
            delete = focus_session_service_pb2.DeleteFocusSessionRequest(focus_session_id=session.id)
            self.call("DeleteFocusSession", delete)
        return super().focus_session(state)


def camel_case(name: str) -> str:
    """`shopping_list` as the contract's messages spell it."""
    return "".join(word.title() for word in name.split("_"))


def snake_case(name: str) -> str:
    """`ShoppingList` as the contract's fields spell it."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def claims_of(account: Account) -> dict[str, Any]:
    """The claims of the account's own token."""
    read: dict[str, Any] = jwt.decode(account.token, options={"verify_signature": False})
    return read
