"""People who use the product: registered, signed in, with things of their own."""

import uuid
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from focusmesh.audit.v1 import audit_service_pb2
from focusmesh.auth.v1 import session_pb2, session_service_pb2, user_service_pb2
from focusmesh.todo.v1 import task_pb2, task_service_pb2
from google.protobuf.message import Message

from envoy.contract import Method
from stack.stack import Stack
from tests.support.clients import Client
from tests.support.gateway_process import eventually
from tests.support.rpcs import BY_NAME, descriptor
from tests.support.tokens import Signer
from tests.support.valid_requests import is_required

PASSWORD = "correct horse battery"
NEEDED_STATE = {"ReopenTask": "complete", "UndeleteTask": "deleted"}
"""Of the task that an RPC is called with; all others take a pending one."""


class Account:
    """A registered user with a session."""

    def __init__(self, client: Client) -> None:
        """client: any way to call the gateway."""
        self._client = client
        self.email = f"{uuid.uuid4()}@example.org"
        registered = self._client.call(
            BY_NAME["Register"], user_service_pb2.RegisterRequest(email=self.email, password=PASSWORD)
        )
        assert registered.ok, registered
        self.id: str = registered.response.user.id  # type: ignore[union-attr]
        tokens = self.sign_in()
        self.token, self.refresh_token = tokens.access_token, tokens.refresh_token

    def sign_in(self) -> session_pb2.Tokens:
        """Tokens of another session."""
        request = session_service_pb2.LoginRequest(email=self.email, password=PASSWORD)
        answer = self._client.call(BY_NAME["Login"], request)
        assert answer.ok, answer
        assert isinstance(answer.response, session_service_pb2.LoginResponse)
        return answer.response.tokens

    def ask(self, method: str, request: Message) -> Any:
        """The answer to a call; fails when it is refused."""
        answer = self._client.call(BY_NAME[method], request, self.token)
        assert answer.ok, answer
        return answer.response

    def task(self, state: str = "pending") -> task_pb2.Task:
        """A new task: pending, complete or deleted."""
        task: task_pb2.Task = self.ask("CreateTask", task_service_pb2.CreateTaskRequest(title="Buy groceries")).task
        if state == "complete":
            self.ask("CompleteTask", task_service_pb2.CompleteTaskRequest(task_id=task.id))
        if state == "deleted":
            self.ask("DeleteTask", task_service_pb2.DeleteTaskRequest(task_id=task.id))
        return task

    def record_id(self) -> str:
        """Id of a record in the audit log; waits until there is one."""
        found: list[str] = []

        def has_one() -> bool:
            request = audit_service_pb2.ListAuditRecordsRequest(page_size=1)
            found.extend(record.id for record in self.ask("ListAuditRecords", request).audit_records)
            return bool(found)

        if not has_one():
            self.task()
            eventually(has_one, "the audit log has a record")
        return found[0]

    def fitting(self, method: Method) -> dict[str, Any]:
        """Values for a valid call of the RPC that must exist: things of this account, in the state that it needs."""
        makers = {
            "task_id": lambda: self.task(NEEDED_STATE.get(method.name, "pending")).id,
            "audit_record_id": self.record_id,
            "refresh_token": lambda: self.sign_in().refresh_token,
        }
        fields = descriptor(method).input_type.fields
        names = [field.name for field in fields]
        unknown = {field.name for field in fields if field.name.endswith("_id") and is_required(field)} - makers.keys()
        assert not unknown, f"{method.name} needs {unknown}: say here how one is made"
        given = {name: make() for name, make in makers.items() if name in names}
        if "password" in names:
            given["password"] = PASSWORD
        if method.name == "Login":
            given["email"] = self.email
        return given


def issuer_of(machine: Stack, account: Account) -> Signer:
    """What signs the tokens of the stack: for tokens that it would never hand out."""
    key = load_pem_private_key(machine.keys.signing_key().read_bytes(), None)
    assert isinstance(key, Ed25519PrivateKey)
    return Signer(jwt.get_unverified_header(account.token)["kid"], key)


def claims_of(account: Account) -> dict[str, Any]:
    """What the account's own token says."""
    read: dict[str, Any] = jwt.decode(account.token, options={"verify_signature": False})
    return read
