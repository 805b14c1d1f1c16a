"""Accounts and settings: what a change makes of them."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest
from focusmesh.auth.events.v1.user_event_pb2 import UserSnapshot
from hypothesis import given
from hypothesis import strategies as st

from mesh.runtime.errors import VersionConflict
from services.auth import events
from services.auth.errors import TimeZoneUnknown
from services.auth.model import Account, Theme, User, UserSettings, WeekStart
from services.auth.rules import users

ANN = users.register("0190-ann", "Ann@example.com", "Ann", "Europe/Berlin", 240, now=1_000)

changes_of_settings = st.fixed_dictionaries(
    {},
    optional={
        "default_pomodoro_minutes": st.integers(1, 180),
        "default_short_break_minutes": st.integers(1, 60),
        "default_long_break_minutes": st.integers(1, 120),
        "long_break_interval": st.integers(1, 12),
        "theme": st.sampled_from(Theme),
        "auto_start_breaks": st.booleans(),
        "auto_start_focus": st.booleans(),
        "week_start": st.sampled_from(WeekStart),
    },
)
changes_of_users = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=100),
        "time_zone": st.sampled_from(sorted(users.TIME_ZONES)),
        "day_start_minutes": st.integers(0, 1439),
    },
)


def test_a_new_account_keeps_its_address_as_given_and_begins_with_version_one() -> None:
    assert User("0190-ann", "Ann@example.com", "Ann", "Europe/Berlin", 240, 1, 1_000, 1_000) == ANN


def test_an_account_without_a_zone_lives_in_utc_and_an_empty_name_is_none() -> None:
    user = users.register("id", "a@example.com", "", "", 0, now=1)
    assert (user.time_zone, user.name) == ("UTC", None)


@pytest.mark.parametrize(
    "name", ["Europe/berlin", "Mars/Olympus", "+02:00", "Factory", "localtime", "../etc/passwd", " UTC"]
)
def test_a_zone_that_is_not_an_exact_iana_name_is_refused_by_name(name: str) -> None:
    with pytest.raises(TimeZoneUnknown) as refused:
        users.time_zone(name)
    assert refused.value.metadata == {"time_zone": name}
    assert [violation.field for violation in refused.value.fields] == ["time_zone"]


@given(st.sampled_from(sorted(users.TIME_ZONES)))
def test_every_accepted_zone_can_be_calculated_with(name: str) -> None:
    assert ZoneInfo(users.time_zone(name)).key == name


@given(changes_of_users)
def test_a_change_of_the_account_raises_its_version_exactly_when_something_differs(changes: dict[str, Any]) -> None:
    changed = users.update_user(ANN, changes, now=2_000, etag="v1")
    expected = {**changes, "name": changes["name"] or None} if "name" in changes else changes
    assert {field: getattr(changed, field) for field in changes} == expected
    if all(getattr(ANN, field) == value for field, value in expected.items()):
        assert changed is ANN
    else:
        assert (changed.version, changed.updated_at, changed.email) == (2, 2_000, ANN.email)


@given(changes_of_settings)
def test_a_change_of_settings_raises_their_version_exactly_when_something_differs(changes: dict[str, Any]) -> None:
    settings = UserSettings()
    changed = users.update_settings(settings, changes, now=2_000, etag=None)
    assert {field: getattr(changed, field) for field in changes} == changes
    assert (changed is settings) == all(getattr(settings, field) == value for field, value in changes.items())
    assert changed.version == (1 if changed is settings else 2)


def test_a_change_that_is_based_on_another_version_is_refused_with_the_current_one() -> None:
    with pytest.raises(VersionConflict) as refused:
        users.update_user(ANN, {"name": "Bea"}, now=2_000, etag="v7")
    assert refused.value.metadata == {"etag": "v1"}
    with pytest.raises(VersionConflict):
        users.update_settings(UserSettings(version=3), {}, now=2_000, etag="v2")


def test_a_change_is_never_older_than_the_one_before() -> None:
    user = users.update_user(ANN, {"name": "Anna"}, now=ANN.updated_at - 1, etag=None)
    assert (user.version, user.updated_at) == (2, ANN.updated_at)
    settings = UserSettings(25, 5, 15, 4, Theme.LIGHT, version=1, updated_at=1_000)
    assert users.update_settings(settings, {"theme": Theme.DARK}, now=999, etag=None).updated_at == 1_000


def test_a_snapshot_has_every_field_of_the_contract_and_no_other() -> None:
    assert list(events.user_updated(Account(ANN, WeekStart.SUNDAY)).payload) == [
        field.name for field in UserSnapshot.DESCRIPTOR.fields
    ]
