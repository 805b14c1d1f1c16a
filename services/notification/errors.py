"""Every error of the notification service; reasons are values of `focusmesh.notification.v1.ErrorReason`."""

from mesh.runtime.errors import FailedPrecondition, FieldViolation, InvalidArgument, NotFound, ResourceExhausted


class ReminderNotFound(NotFound):
    """The caller has no reminder with this id."""

    reason = "REMINDER_NOT_FOUND"
    message = "There is no reminder {reminder_id}."


class ReminderCancelled(FailedPrecondition):
    """A cancelled reminder is snoozed or cancelled."""

    reason = "REMINDER_CANCELLED"
    message = "Reminder {reminder_id} is cancelled."


class ReminderAlreadySent(FailedPrecondition):
    """A reminder is cancelled of which nothing waits any more."""

    reason = "REMINDER_ALREADY_SENT"
    message = "Reminder {reminder_id} has been sent."


class RemindTimeInPast(InvalidArgument):
    """A reminder would be for an instant that is over, or too far ahead."""

    reason = "REMIND_TIME_IN_PAST"
    message = "It is {server_time}; a reminder is for an instant from now on, at most ten years ahead."


class TooManyReminders(ResourceExhausted):
    """The user has as many pending reminders as a user may have."""

    reason = "TOO_MANY_REMINDERS"
    message = "There are {limit} pending reminders already, the most that a user can have. Cancel one."


class TooManyRepeats(ResourceExhausted):
    """The user has snoozed reminders and sent messages again too often today."""

    reason = "TOO_MANY_REPEATS"
    message = "Reminders were snoozed and messages sent again {limit} times today (UTC), the most in a day."


class QuietHoursEmpty(InvalidArgument):
    """Quiet hours would begin and end at the same time."""

    reason = "QUIET_HOURS_EMPTY"
    message = "Quiet hours begin and end at different times."


class SmsUnavailable(FailedPrecondition):
    """No provider of SMS is configured."""

    reason = "SMS_UNAVAILABLE"
    message = "No SMS are sent here."


class TooManyCodes(ResourceExhausted):
    """The user has asked for too many codes today."""

    reason = "TOO_MANY_CODES"
    message = "{limit} codes were asked for today, the most that are sent in a day."


class CodeInvalid(FailedPrecondition):
    """A code is wrong or too old, or was tried too often; the caller does not learn which."""

    reason = "CODE_INVALID"
    message = "The code is not valid. Ask for another one."


class PushEndpointInvalid(InvalidArgument):
    """An endpoint is no address of a push service."""

    reason = "PUSH_ENDPOINT_INVALID"
    message = "The endpoint {problem}."


class PushKeysInvalid(InvalidArgument):
    """No message can be encrypted with the keys of a browser."""

    reason = "PUSH_KEYS_INVALID"
    message = "The keys are not those of a browser: a point on P-256, and a secret of 16 bytes."

    def __init__(self) -> None:
        super().__init__(fields=[FieldViolation("p256dh", "must be the key of a browser, with its `auth`")])


class TooManyPushSubscriptions(ResourceExhausted):
    """The user has as many subscriptions as a user may have."""

    reason = "TOO_MANY_PUSH_SUBSCRIPTIONS"
    message = "There are {limit} subscriptions already, the most that a user can have. Delete one."


class PushSubscriptionNotFound(NotFound):
    """The caller has no subscription with this id."""

    reason = "PUSH_SUBSCRIPTION_NOT_FOUND"
    message = "There is no push subscription {push_subscription_id}."


class WebhookUrlInvalid(InvalidArgument):
    """An address cannot be one of a webhook."""

    reason = "WEBHOOK_URL_INVALID"
    message = "The url {problem}."


class TooManyWebhooks(ResourceExhausted):
    """The user has as many webhooks as a user may have."""

    reason = "TOO_MANY_WEBHOOKS"
    message = "There are {limit} webhooks already, the most that a user can have. Delete one."


class WebhookNotFound(NotFound):
    """The caller has no webhook with this id."""

    reason = "WEBHOOK_NOT_FOUND"
    message = "There is no webhook {webhook_id}."


class WebhookDisabled(FailedPrecondition):
    """A message is sent again to a webhook that is disabled or was removed."""

    reason = "WEBHOOK_DISABLED"
    message = "Webhook {webhook_id} is disabled, or was removed."


class DeliveryNotFound(NotFound):
    """The caller has no delivery to a webhook with this id."""

    reason = "DELIVERY_NOT_FOUND"
    message = "There is no delivery {delivery_id} to a webhook."


class DeliveryPending(FailedPrecondition):
    """A message is sent again whose delivery has not ended."""

    reason = "DELIVERY_PENDING"
    message = "Delivery {delivery_id} has not ended yet."


class UnsubscribeTokenInvalid(InvalidArgument):
    """A token was not made for a mail of this installation, or was changed."""

    reason = "UNSUBSCRIBE_TOKEN_INVALID"
    message = "The address is not one from a mail. Change what you receive in the settings of notifications."

    def __init__(self) -> None:
        super().__init__(fields=[FieldViolation("token", "must be that of an address in a mail")])
