"""Webhooks, push subscriptions and phones of a user: how many, and how they change."""

import hmac
from collections.abc import Mapping
from typing import Any

from mesh.rpc.etag import check_etag, next_version
from mesh.runtime.clock import SECOND, to_datetime
from services.notification import errors
from services.notification.model import PhoneCode, Webhook

MOST_WEBHOOKS, MOST_SUBSCRIPTIONS = 10, 20
"""Of one user."""
MOST_CODES, MOST_TRIES = 5, 5
"""Codes of one user a day, and tries of one code."""
CODE_SECONDS = 600
FAILING_SECONDS = 3 * 24 * 3600
"""After so long without a delivery, and failures that go on, a webhook is disabled."""
PAUSE_SECONDS = 36 * 3600
"""A failure that comes longer after the one before begins anew. Attempts of one message are a day apart at most."""
_HOUR = 3600 * SECOND


def update_webhook(webhook: Webhook, changes: Mapping[str, Any], *, now: int, etag: str | None) -> Webhook:
    """The webhook with its changes; enabled, or with another address, it has not failed yet."""
    check_etag(etag, webhook.version)
    changed = webhook._replace(**changes)
    if changed == webhook:
        return webhook
    if changed.is_enabled and (not webhook.is_enabled or changed.url != webhook.url):
        changed = changed._replace(disabled_reason=None, failing_since=None)
    return next_version(changed, now)


def rotate(webhook: Webhook, sealed: str, *, overlap_hours: int, now: int, etag: str | None) -> Webhook:
    """The webhook with a new secret; the one before it signs too for so many hours."""
    check_etag(etag, webhook.version)
    keeps = overlap_hours > 0
    return next_version(
        webhook,
        now,
        secret=sealed,
        old_secret=webhook.secret if keeps else None,
        old_secret_until=now + overlap_hours * _HOUR if keeps else None,
    )


def failed(webhook: Webhook, answer: str, *, now: int, gone: bool) -> Webhook:
    """The webhook after a failed attempt: disabled when it is gone, or has failed for days without a long pause."""
    goes_on = webhook.last_failed_at is not None and now - webhook.last_failed_at <= PAUSE_SECONDS * SECOND
    since = (webhook.failing_since if goes_on else None) or now
    webhook = webhook._replace(failing_since=since, last_failed_at=now)
    if gone:
        return next_version(webhook, now, is_enabled=False, disabled_reason=answer)
    if now - since >= FAILING_SECONDS * SECOND:
        reason = f"three days of failures: {answer}"
        return next_version(webhook, now, is_enabled=False, disabled_reason=reason)
    return webhook


def ask_code(known: PhoneCode | None, user_id: str, phone_number: str, *, now: int) -> PhoneCode:
    """The request for a code, which voids the one before; raises TooManyCodes."""
    today = to_datetime(now).date().isoformat()
    asked = known.asked if known is not None and known.asked_on == today else 0
    if asked >= MOST_CODES:
        raise errors.TooManyCodes(limit=MOST_CODES)
    return PhoneCode(user_id, phone_number, None, None, 0, today, asked + 1)


def accepts(known: PhoneCode | None, code_hash: str, phone_number: str, *, now: int) -> bool:
    """Whether a code is the one that was sent to this number, in time and not tried too often."""
    if known is None or known.code_hash is None or known.expires_at is None:
        return False
    matches = hmac.compare_digest(known.code_hash, code_hash)
    in_time = known.phone_number == phone_number and now < known.expires_at and known.tries <= MOST_TRIES
    return matches and in_time


def code_expires(now: int) -> int:
    """Until when a code is valid that is sent now."""
    return now + CODE_SECONDS * SECOND


def old_secret_is_valid(webhook: Webhook, now: int) -> bool:
    """Whether messages are signed with the secret before the current one too."""
    return webhook.old_secret is not None and now < (webhook.old_secret_until or 0)
