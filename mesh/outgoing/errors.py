"""What a call to an address of others, or handing over a message, may end with instead of success."""

LONGEST_ANSWER = 500
"""Characters of an answer that are kept."""


class OutgoingFailure(Exception):  # noqa: N818 (its kinds say what failed)
    """What was asked for was not done."""

    def __init__(self, answer: str) -> None:
        """answer: of the other side, or what went wrong; shown to the user, so without secrets."""
        self.answer = answer[:LONGEST_ANSWER]
        super().__init__(self.answer)


class TemporaryFailure(OutgoingFailure):
    """It may succeed later; whether the other side did what was asked is not known."""

    def __init__(self, answer: str, retry_after_seconds: float | None = None) -> None:
        """retry_after_seconds: as the other side asks; None: as the backoff says."""
        super().__init__(answer)
        self.retry_after_seconds = retry_after_seconds


class PermanentFailure(OutgoingFailure):
    """The same will never succeed."""


class TargetGone(OutgoingFailure):
    """The target no longer exists, and never will again."""
