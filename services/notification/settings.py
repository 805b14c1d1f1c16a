"""Settings of the notification service."""

from dataclasses import dataclass

from mesh.runtime.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Settings(ServiceSettings):
    """Settings beyond those of every service. A channel is there when its server or its key is given."""

    smtp_host: str = ""
    """Mail server that takes all mails; empty: no channel `email`."""
    smtp_port: int = 587
    smtp_tls: str = "starttls"
    """`starttls`, `implicit` (encrypted from the first byte on, port 465) or `none`."""
    smtp_user: str = ""
    smtp_password: str = ""
    smtp_ca_file: str = ""
    """Authority of the mail server's certificate, PEM; empty: those of the system."""
    mail_from: str = "Focusmesh <notifications@focusmesh.example>"
    """Sender of mails; its domain is that of their Message-IDs."""
    public_url: str = "http://localhost"
    """The REST API as readers of mails reach it: where the links lead that end mails."""
    app_url: str = ""
    """The web app: mails link to its `/verify-email` and `/reset-password`; empty: they show the code alone."""
    unsubscribe_key: str = ""
    """Secret that signs the links that end mails, the same for all replicas; required by the channel `email`."""
    vapid_key_file: str = ""
    """P-256 private key, PKCS #8 PEM: identifies the service to push services; empty: no channel `webpush`."""
    vapid_contact: str = "mailto:operator@focusmesh.example"
    """Whom push services write to: a `mailto:` or `https:` address."""
    sms_url: str = ""
    """Address of the provider of SMS; empty: no channel `sms`."""
    sms_token: str = ""
    """Bearer token for the provider."""
    sms_from: str = "Focusmesh"
    """Number or name that texts come from."""
    outgoing_allowed_networks: str = ""
    """Networks that webhooks, push services and the provider of SMS may be in though they are not public, also without
    encryption: `10.1.0.0/16;fd00::/8`. Empty: public addresses alone, with https alone."""
    secrets_key: str
    """Secret that the secrets of webhooks are encrypted with, and codes of phones hashed; the same for all replicas."""
    grace_seconds: int = 24 * 3600
    """How late something may be sent; afterwards it is missed."""
    settle_seconds: float = 5.0
    """For how long what comes late waits for what else an outage held back, to go out in one message."""
    lease_seconds: int = 90
    """After so long without a result a message is sent again, with the same id; longer than any attempt."""
    retention_days: int = 90
    """How long notifications, and reminders that are over, are kept."""
