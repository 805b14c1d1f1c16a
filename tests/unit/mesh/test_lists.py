"""No response is too large to be received: lists end their pages early, and the others cannot grow so far."""

import ast
from collections import defaultdict
from functools import cache
from typing import Any

import pytest
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from contract import descriptors
from contract.descriptors import field_rules
from contract.methods import Method
from contract.rules import inputs
from envoy.settings import GatewaySettings
from harness.rpcs import METHODS, descriptor, response_class
from mesh.recurrence.series import Moved
from mesh.rpc.limits import LARGEST_REQUEST
from mesh.rpc.pagination import LARGEST_RESPONSE, LARGEST_SIZE, Page, Pages
from services.calendar.rules.feeds import MOST_FEEDS
from services.calendar.rules.ical.content import MOST_ISSUES
from services.calendar.rules.subscriptions import MOST_SUBSCRIPTIONS
from services.notification.rules import targets
from services.pomodoro.model import MOST_GUEST_BYTES, MOST_GUEST_SESSIONS, MOST_TASKS
from services.recurrence.rules.schedules import MOST_CHANGES
from stack.layout import ROOT

PAGES = Pages("secret")
LARGEST_MESSAGE = 4 << 20
"""Bytes that a gRPC client accepts unless it is told otherwise."""
PAGED = [method for method in METHODS if "next_page_token" in descriptor(method).output_type.fields_by_name]
LISTS = [method for method in PAGED if any(field.is_repeated for field in descriptor(method).output_type.fields)]


def fill(message: Message, depth: int = 0) -> None:
    """Makes every text long, of characters that grow in JSON."""
    for field in message.DESCRIPTOR.fields:
        if field.message_type is not None and field.message_type.full_name.startswith("focusmesh."):
            if depth < 3:
                inner = getattr(message, field.name)
                fill(inner.add() if field.is_repeated else inner, depth + 1)
        elif field.type == field.TYPE_STRING:
            text = "\x01" * 10_000
            getattr(message, field.name).append(text) if field.is_repeated else setattr(message, field.name, text)


@pytest.mark.parametrize("method", LISTS, ids=lambda method: method.full_name)
def test_a_page_of_any_list_fits_into_a_message_and_into_json_however_long_its_texts(method: Method) -> None:
    response: Any = response_class(method)()
    (items,) = (getattr(response, field.name) for field in response.DESCRIPTOR.fields if field.is_repeated)
    for _ in range(LARGEST_SIZE):
        fill(items.add())
    page = Page(LARGEST_SIZE, None, b"")
    PAGES.cut(response, range(LARGEST_SIZE), page, lambda row: [row])
    assert 0 < len(items) < LARGEST_SIZE
    assert response.next_page_token
    assert response.ByteSize() < LARGEST_RESPONSE + 1000
    shown = json_format.MessageToJson(response, indent=None, always_print_fields_with_no_presence=True)
    assert len(shown) <= GatewaySettings().largest_response_bytes


@pytest.mark.parametrize("method", PAGED, ids=lambda method: method.full_name)
def test_every_list_ends_its_pages_in_the_one_way(method: Method) -> None:
    called = {
        node.func.attr
        for source in (ROOT / "services" / method.owner).rglob("*.py")
        for handler in ast.walk(ast.parse(source.read_text()))
        if isinstance(handler, ast.AsyncFunctionDef) and handler.name == method.name
        for node in ast.walk(handler)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    }
    assert ("cut" if method in LISTS else "lead_on") in called


MOST = {
    "GetJwksResponse.keys": 10,
    "FindFreeTimeResponse.free_times": 200,
    "GetHeatmapResponse.days": 366,
    "ImportEventsResponse.issues": MOST_ISSUES,
    "ImportTasksResponse.imports": 100,
    "ListFeedsResponse.feeds": MOST_FEEDS,
    "ListSubscriptionsResponse.subscriptions": MOST_SUBSCRIPTIONS,
    "ListPushSubscriptionsResponse.push_subscriptions": targets.MOST_SUBSCRIPTIONS,
    "ListWebhooksResponse.webhooks": targets.MOST_WEBHOOKS,
    "Delivery.attempts": 10,
    "FocusSession.tasks": MOST_TASKS,
    "ArchivedSession.tasks": MOST_TASKS,
    "ClaimGuestSessionsResponse.claimed_sessions": MOST_GUEST_SESSIONS,
    "PreviewGuestClaimResponse.claimed_sessions": MOST_GUEST_SESSIONS,
    "PreviewRecurrenceResponse.slots": 100,
    "PreviewEventResponse.occurrences": 100,
    "PreviewSlot.moves": len(Moved),
    "Occurrence.moved_reasons": len(Moved),
    "Schedule.cancelled_slots": MOST_CHANGES,
    "Schedule.moved_slots": MOST_CHANGES,
}
"""Items of repeated fields that no request of the package has; the others have as many as a request may have."""
TEXTS = {
    "BatchCreateTasks": LARGEST_REQUEST,
    "PreviewEvent": LARGEST_REQUEST,
    "ImportEvents": MOST_ISSUES * 4 * (50 + 255 + 50 + 300),
    "PreviewGuestClaim": MOST_GUEST_BYTES,
    "ClaimGuestSessions": MOST_GUEST_BYTES,
}
"""Bytes of all texts of a response that has those of its request, or what is left of longer ones."""
LONG, SHORT = 4_000, 500
"""Bytes of the longest text that no request of the package sets, and of one that TEXTS does not count."""


@cache
def largest_in_requests() -> tuple[dict[str, int], dict[str, int]]:
    """The longest text, in bytes, and the longest list of all requests, by package and name of the field."""
    texts, lists = defaultdict[str, int](int), defaultdict[str, int](int)
    for message in inputs(descriptors.load()):
        for field in message.descriptor.field:
            rules, name = field_rules(field), f"{message.package}.{field.name}"
            text = (rules.repeated.items if field.label == field.LABEL_REPEATED else rules).string
            texts[name] = max(texts[name], 4 * text.max_len, text.max_bytes, 36)
            lists[name] = max(lists[name], rules.repeated.max_items)
    return texts, lists


def largest(message: Descriptor, longest: int) -> int:
    """Bytes of the largest message of a response. longest: bytes of its longest text."""
    texts, lists = largest_in_requests()
    size = 0
    for field in message.fields:
        own, name = f"{message.name}.{field.name}", f"{message.file.package}.{field.name}"
        count = (MOST.get(own) or lists[name]) if field.is_repeated else 1
        assert count, f"{own} has no upper bound"
        if field.message_type is not None and field.message_type.full_name.startswith("focusmesh."):
            one = largest(field.message_type, longest)
        else:
            one = min(texts.get(name, LONG), longest) if field.type == field.TYPE_STRING else 20
        size += count * (one + 6)
    return size


@pytest.mark.parametrize(
    "method",
    [method for method in METHODS if method not in PAGED and not method.streaming],
    ids=lambda method: method.full_name,
)
def test_no_other_response_can_be_too_large_to_be_received(method: Method) -> None:
    of_texts = TEXTS.get(method.name, 0)
    size = of_texts + largest(descriptor(method).output_type, SHORT if of_texts else LARGEST_MESSAGE)
    assert size <= LARGEST_MESSAGE
