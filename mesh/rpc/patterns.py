"""What the patterns of the contract ask for, in words: protovalidate says the pattern itself."""

from mesh.rpc.fast_validation import DATE, NOT_BLANK, OCCURRENCE_ID, SLOT

MEANINGS = {
    NOT_BLANK: "must show something: blanks alone do not",
    DATE: "must be a date such as 2026-06-15",
    SLOT: "must be a local time such as 2026-06-15T09:00:00, or a date",
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{6})?)?$": (
        "must be a local time such as 2026-06-15T09:00:00, or a date"
    ),
    OCCURRENCE_ID: "must be the ID of an occurrence: that of its event, `_` and its slot, such as 20260615T090000",
    "^([01][0-9]|2[0-3]):[0-5][0-9]$": "must be a time of day such as 09:30",
    "^(-?P[0-9A-Z]+)?$": "must be a duration such as -PT15M or P1D",
    "^[0-9]{6}$": "must be six digits",
    "^\\+[1-9][0-9]{6,14}$": "must be a number with its country such as +491701234567",
    "^[A-Za-z0-9_-]{87}=?$": "must be an uncompressed point on P-256 in base64url",
    "^[A-Za-z0-9_-]{22}(==)?$": "must be 16 bytes in base64url",
}
"""By pattern; a test looks for one without words."""
