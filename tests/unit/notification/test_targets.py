"""Webhooks and codes: when they end, and how their secrets are kept."""

import pytest
from cryptography.exceptions import InvalidTag

from mesh.runtime.clock import DAY, SECOND
from mesh.runtime.errors import VersionConflict
from mesh.runtime.ids import new_id
from services.notification.errors import TooManyCodes
from services.notification.model import Webhook
from services.notification.rules import secrets, targets
from services.notification.rules.secrets import Sealer

NOW = 1_770_640_200_000_000
HOUR = 3600 * SECOND
USER, NUMBER = new_id(), "+491701234567"
WEBHOOK = Webhook(new_id(), USER, "https://example.org/", None, True, None, None, None, "aa", None, None, NOW, NOW, 1)


def test_a_webhook_is_disabled_after_three_days_of_failures_that_go_on() -> None:
    failing = targets.failed(WEBHOOK, "HTTP 500", now=NOW, gone=False)
    assert (failing.failing_since, failing.is_enabled) == (NOW, True)
    for hours in (24, 48, 71):
        failing = targets.failed(failing, "HTTP 500", now=NOW + hours * HOUR, gone=False)
        assert (failing.failing_since, failing.is_enabled) == (NOW, True)
    ended = targets.failed(failing, "HTTP 500", now=NOW + 3 * DAY, gone=False)
    assert (ended.is_enabled, ended.disabled_reason) == (False, "three days of failures: HTTP 500")


@pytest.mark.parametrize(("hours", "goes_on"), [(24, True), (36, True), (37, False), (24 * 30, False)])
def test_a_failure_long_after_the_last_one_begins_anew(hours: int, goes_on: bool) -> None:
    """Nothing was sent meanwhile: the webhook may have worked for all but two messages."""
    failing = targets.failed(WEBHOOK, "HTTP 500", now=NOW, gone=False)
    later = NOW + hours * HOUR
    again = targets.failed(failing, "HTTP 500", now=later, gone=False)
    assert (again.failing_since, again.is_enabled) == (NOW if goes_on else later, True)


def test_one_that_is_gone_is_disabled_at_once_and_enabled_without_its_past() -> None:
    gone = targets.failed(WEBHOOK, "HTTP 410", now=NOW, gone=True)
    assert (gone.is_enabled, gone.disabled_reason) == (False, "HTTP 410")
    enabled = targets.update_webhook(gone, {"is_enabled": True}, now=NOW, etag=None)
    assert (enabled.is_enabled, enabled.disabled_reason, enabled.failing_since) == (True, None, None)
    assert targets.update_webhook(WEBHOOK, {"is_enabled": True}, now=NOW, etag=None) is WEBHOOK
    with pytest.raises(VersionConflict):
        targets.update_webhook(WEBHOOK, {"url": "https://example.net/"}, now=NOW, etag="v7")


@pytest.mark.parametrize(("hours", "valid_after_an_hour"), [(0, False), (1, False), (2, True)])
def test_a_replaced_secret_is_valid_for_so_many_hours(hours: int, valid_after_an_hour: bool) -> None:
    rotated = targets.rotate(WEBHOOK, "bb", overlap_hours=hours, now=NOW, etag=None)
    assert rotated.secret == "bb"
    assert targets.old_secret_is_valid(rotated, NOW) == (hours > 0)
    assert targets.old_secret_is_valid(rotated, NOW + HOUR) == valid_after_an_hour


def test_a_secret_is_opened_by_its_key_for_its_row_alone() -> None:
    secret, owner = secrets.new_secret(), new_id()
    sealed = Sealer("key").seal(secret, owner)
    assert secret.hex() not in sealed
    assert Sealer("key").open(sealed, owner) == secret
    for sealer, other in ((Sealer("key"), new_id()), (Sealer("another"), owner)):
        with pytest.raises(InvalidTag):
            sealer.open(sealed, other)


def test_codes_are_bounded_a_day() -> None:
    code = None
    for number in range(targets.MOST_CODES):
        code = targets.ask_code(code, USER, NUMBER, now=NOW)
        assert code.asked == number + 1
    with pytest.raises(TooManyCodes):
        targets.ask_code(code, USER, NUMBER, now=NOW)
    assert targets.ask_code(code, USER, NUMBER, now=NOW + DAY).asked == 1


def test_a_code_is_accepted_in_time_for_its_number_and_five_times_tried() -> None:
    sealer = Sealer("key")
    code = sealer.code(new_id())
    hashed = sealer.code_hash(code, USER, NUMBER)
    sent = targets.ask_code(None, USER, NUMBER, now=NOW)._replace(
        code_hash=hashed, expires_at=targets.code_expires(NOW)
    )
    assert targets.accepts(sent._replace(tries=5), hashed, NUMBER, now=NOW)
    assert not targets.accepts(sent._replace(tries=6), hashed, NUMBER, now=NOW)
    assert not targets.accepts(sent, hashed, NUMBER, now=NOW + 600 * SECOND)
    assert not targets.accepts(sent, hashed, "+491709999999", now=NOW)
    assert not targets.accepts(sent, sealer.code_hash(code, new_id(), NUMBER), NUMBER, now=NOW)
    assert not targets.accepts(sent._replace(code_hash=None), hashed, NUMBER, now=NOW)
    assert not targets.accepts(None, hashed, NUMBER, now=NOW)
