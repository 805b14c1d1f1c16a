"""Addresses: which mail answers a request, and tokens."""

import re

import pytest
from focusmesh.auth.events.v1.user_event_pb2 import RequestedMail
from hypothesis import given
from hypothesis import strategies as st

from mesh.events.envelope import envelope
from mesh.runtime.clock import DAY, SECOND
from services.auth import events
from services.auth.model import Mail, MailKind
from services.auth.rules import addresses, users

ANN = users.register("0190-ann", "Ann@example.com", "Ann", "Europe/Berlin", 240, now=1_000)
VERIFY, RESET = MailKind.VERIFY_EMAIL, MailKind.RESET_PASSWORD


@pytest.mark.parametrize(
    ("requested", "verified", "answer"),
    [(VERIFY, False, VERIFY), (VERIFY, True, None), (RESET, False, VERIFY), (RESET, True, RESET)],
)
def test_an_unverified_address_gets_verification_only_and_a_verified_one_never(
    requested: MailKind, verified: bool, answer: MailKind | None
) -> None:
    assert addresses.answer_to(requested, verified=verified) is answer


def test_a_reset_lives_thirty_minutes_and_a_verification_a_day() -> None:
    assert addresses.TOKEN_LIFE == {RESET: 30 * 60 * SECOND, VERIFY: DAY}


def test_a_token_has_256_bits_and_needs_no_escaping_in_a_url() -> None:
    tokens = {addresses.new_token() for _ in range(200)}
    assert len(tokens) == 200
    assert all(re.fullmatch(r"fmm_[A-Za-z0-9_-]{43}", token) for token in tokens)


def test_an_address_is_verified_once() -> None:
    verified = users.verify(ANN, now=5_000)
    assert verified == ANN._replace(email_verified=True, version=2, updated_at=5_000)
    assert users.verify(verified, now=6_000) is verified


@given(st.sampled_from(MailKind), st.uuids(), st.uuids())
def test_the_event_of_a_mail_has_ids_only(kind: MailKind, mail_id: object, user_id: object) -> None:
    event = events.mail_requested(Mail(str(mail_id), str(user_id), kind, 1_000))
    assert event.payload == {"mail_id": str(mail_id), "kind": kind.value}
    assert set(event.payload) == {field.name for field in RequestedMail.DESCRIPTOR.fields}
    assert (event.user_id, event.subject, event.version) == (str(user_id), str(mail_id), 1)
    assert b"@" not in envelope(event, "")
