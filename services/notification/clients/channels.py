"""The channels that the settings provide for."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from mesh.outgoing.client import OutgoingClient
from mesh.outgoing.guard import Guard, networks
from services.notification.clients.email import EmailSender, MailServer
from services.notification.clients.rendering import Renderer
from services.notification.clients.sms import SmsSender
from services.notification.clients.unsubscribe import UnsubscribeLinks
from services.notification.clients.webhook import WebhookSender
from services.notification.clients.webpush import WebPushSender
from services.notification.model import Channel, Outgoing
from services.notification.settings import Settings


class Sender(Protocol):
    """Sends messages through one channel."""

    async def send(self, outgoing: Outgoing) -> str:
        """Sends one; returns the provider's answer. Raises an OutgoingFailure."""

    async def close(self) -> None:
        """Closes its connections."""


def outgoing_guard(settings: Settings) -> Guard:
    """What may be called; raises ValueError for a setting that is no list of networks."""
    return Guard(networks(settings.outgoing_allowed_networks))


def unsubscribe_links(settings: Settings) -> UnsubscribeLinks:
    """Makes and reads the links that end mails."""
    return UnsubscribeLinks(settings.unsubscribe_key, settings.public_url)


def senders(settings: Settings) -> Mapping[Channel, Sender]:
    """A sender for each channel that is configured. Raises ValueError or OSError for settings that cannot be used."""
    renderer, tls = Renderer(settings.app_url), ssl.create_default_context()

    def client() -> OutgoingClient:
        return OutgoingClient(outgoing_guard(settings), tls=tls)

    found: dict[Channel, Sender] = {Channel.WEBHOOK: WebhookSender(client())}
    if settings.smtp_host:
        found[Channel.EMAIL] = _email(settings, renderer)
    if settings.vapid_key_file:
        key, contact = Path(settings.vapid_key_file), settings.vapid_contact
        found[Channel.WEBPUSH] = WebPushSender(client(), renderer, key=key, contact=contact)
    if settings.sms_url:
        url, token = settings.sms_url, settings.sms_token
        found[Channel.SMS] = SmsSender(client(), renderer, url=url, token=token, sender=settings.sms_from)
    return found


def _email(settings: Settings, renderer: Renderer) -> EmailSender:
    if not settings.unsubscribe_key:
        raise ValueError("FOCUSMESH_UNSUBSCRIBE_KEY is not set; it signs the links that end mails")
    server = MailServer(
        settings.smtp_host,
        settings.smtp_port,
        settings.smtp_tls,
        settings.smtp_user,
        settings.smtp_password,
        settings.smtp_ca_file,
    )
    return EmailSender(server, renderer, unsubscribe_links(settings), sender=settings.mail_from)
