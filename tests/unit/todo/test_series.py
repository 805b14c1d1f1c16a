"""Recurring tasks: how a request says that one recurs, which slot it has, and what the next instance takes from it."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.recurrence.document import from_document, to_document
from mesh.recurrence.rule import Day, Frequency, Rule
from mesh.recurrence.zones import to_wall
from mesh.runtime.errors import InvalidRequest, ServiceError
from services.todo import errors
from services.todo.model import Schedule, State, Task
from services.todo.rules import series, tasks

BERLIN = "Europe/Berlin"
USER, ID, OTHER = (f"0190a000-0000-7000-8000-00000000000{number}" for number in range(3))


def at(text: str) -> int:
    """An instant of UTC."""
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


NOW = at("2026-03-02T10:00")  # a Monday
PLAIN = Task(
    id=ID,
    user_id=USER,
    title="Water the plants",
    description=None,
    status=State.PENDING.value,
    due_date=None,
    reminder_time=None,
    is_recurring=False,
    recurrence_schedule=None,
    estimated_pomodoros=None,
    created_at=NOW,
    updated_at=NOW,
    completed_at=None,
    deleted_at=None,
    purge_at=None,
    version=1,
)
DAILY = to_document(Rule(Frequency.DAILY))
MONDAYS = to_document(Rule(Frequency.WEEKLY, by_day=(Day(0),)))
TUESDAYS = to_document(Rule(Frequency.WEEKLY, by_day=(Day(1),)))
TEN_TIMES = to_document(Rule(Frequency.DAILY, times=10))


def created(zone: str | None = BERLIN, **fields: Any) -> Task:
    return tasks.create(PLAIN._replace(**fields), zone)


def updated(task: Task, zone: str | None = None, **changes: Any) -> Task:
    return tasks.update(task, NOW, None, changes=changes, series_id=OTHER, zone=zone)


class TestForms:
    """The simple form and the full one."""

    @pytest.mark.parametrize("schedule", Schedule)
    def test_the_simple_form_stands_for_a_rule_of_that_frequency(self, schedule: Schedule) -> None:
        task = created(is_recurring=True, recurrence_schedule=schedule.value)
        assert from_document(task.recurrence or {}) == Rule(Frequency(schedule.value))
        assert (task.repeat_from, task.time_zone) == ("from_due_next_future", BERLIN)

    @pytest.mark.parametrize("frequency", Frequency)
    def test_the_full_form_sets_the_simple_one(self, frequency: Frequency) -> None:
        task = created(recurrence=to_document(Rule(frequency, interval=3)))
        assert (task.is_recurring, task.recurrence_schedule) == (True, frequency.value)

    def test_both_may_be_given_when_they_agree(self) -> None:
        assert created(recurrence=MONDAYS, is_recurring=True, recurrence_schedule="weekly") == created(
            recurrence=MONDAYS
        )

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"recurrence": DAILY, "recurrence_schedule": "weekly"}, "recurrence_schedule"),
            ({"time_zone": BERLIN}, "time_zone"),
            ({"repeat_from": "from_completion"}, "repeat_from"),
        ],
    )
    def test_a_new_task_that_contradicts_itself_is_refused_by_the_field(
        self, fields: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(errors.RecurrenceContradiction) as refused:
            created(**fields)
        assert [violation.field for violation in refused.value.fields] == [field]

    @pytest.mark.parametrize(
        ("changes", "field"),
        [
            ({"recurrence": MONDAYS, "is_recurring": False}, "is_recurring"),
            ({"recurrence": MONDAYS, "recurrence_schedule": None}, "recurrence_schedule"),
            ({"recurrence": None, "is_recurring": True}, "is_recurring"),
            ({"recurrence": None, "recurrence_schedule": "daily"}, "recurrence_schedule"),
            ({"recurrence": None, "time_zone": "Asia/Tokyo"}, "time_zone"),
            ({"is_recurring": False, "recurrence_schedule": None, "repeat_from": "from_completion"}, "repeat_from"),
        ],
    )
    def test_a_change_that_contradicts_itself_is_refused_by_the_field(
        self, changes: dict[str, Any], field: str
    ) -> None:
        with pytest.raises(errors.RecurrenceContradiction) as refused:
            updated(created(recurrence=DAILY), **changes)
        assert refused.value.metadata == {"field": field}

    def test_a_client_of_the_simple_form_leaves_the_rule_as_it_is_while_the_frequency_stays(self) -> None:
        task = created(recurrence=MONDAYS)
        changed = updated(task, title="y", is_recurring=True, recurrence_schedule="weekly")
        assert (changed.recurrence, changed.series_id) == (MONDAYS, task.series_id)
        daily = updated(task, recurrence_schedule="daily")
        assert from_document(daily.recurrence or {}) == Rule(Frequency.DAILY)

    @pytest.mark.parametrize("off", [{"recurrence": None}, {"is_recurring": False, "recurrence_schedule": None}])
    def test_a_task_that_recurs_no_more_is_in_no_series(self, off: dict[str, Any]) -> None:
        task = created(recurrence=MONDAYS, reminder_offsets=["-P1D"])
        expected = PLAIN._replace(reminder_offsets=["-P1D"], version=2)
        assert updated(task, **off) == expected


class TestZone:
    """Where a rule counts."""

    def test_the_zone_of_the_user_is_asked_for_only_when_the_task_names_none(self) -> None:
        with pytest.raises(series.ZoneMissing):
            created(None, recurrence=DAILY)
        assert created(None, recurrence=DAILY, time_zone="Asia/Tokyo").time_zone == "Asia/Tokyo"
        assert created(None).time_zone is None

    def test_a_cleared_zone_is_that_of_the_user(self) -> None:
        task = created(recurrence=DAILY, time_zone="Asia/Tokyo")
        with pytest.raises(series.ZoneMissing):
            updated(task, time_zone=None)
        assert updated(task, BERLIN, time_zone=None).time_zone == BERLIN

    @pytest.mark.parametrize("name", ["Europe/Nowhere", "localtime", "../etc/passwd", "europe/berlin"])
    def test_an_unknown_zone_is_refused_by_name(self, name: str) -> None:
        with pytest.raises(errors.TimeZoneUnknown) as refused:
            created(recurrence=DAILY, time_zone=name)
        assert [violation.field for violation in refused.value.fields] == ["time_zone"]


class TestSlot:
    """Which instance of its series a task is."""

    def test_the_first_instance_has_the_series_of_its_id_and_its_due_time_on_the_wall_clock(self) -> None:
        task = created(recurrence=DAILY, due_date=at("2026-03-28T01:30"))
        assert (task.series_id, task.slot) == (ID, "2026-03-28T02:30:00")

    @pytest.mark.parametrize(
        ("zone", "rule", "slot"),
        [
            (BERLIN, DAILY, "2026-03-02"),
            ("Pacific/Kiritimati", DAILY, "2026-03-03"),
            ("Pacific/Honolulu", DAILY, "2026-03-02"),
            (BERLIN, TUESDAYS, "2026-03-03"),
            (BERLIN, MONDAYS, "2026-03-02"),
        ],
    )
    def test_without_a_due_time_it_is_the_first_date_of_the_rule_from_the_local_day_of_creation_on(
        self, zone: str, rule: dict[str, Any], slot: str
    ) -> None:
        assert created(zone, recurrence=rule).slot == slot

    def test_a_due_time_that_the_rule_does_not_produce_is_refused_with_the_next_that_would_do(self) -> None:
        with pytest.raises(errors.DueTimeNotInRecurrence) as refused:
            created(recurrence=TUESDAYS, due_date=at("2026-03-25T08:00"))
        assert refused.value.metadata == {
            "slot": "2026-03-25T09:00:00",
            "next_slot": "2026-03-31T09:00:00",
            "next_due_time": "2026-03-31T07:00:00Z",
        }
        next_one = at(refused.value.metadata["next_due_time"].removesuffix("Z"))
        assert created(recurrence=TUESDAYS, due_date=next_one).slot == "2026-03-31T09:00:00"

    def test_a_rule_without_any_date_is_refused_by_its_part(self) -> None:
        ended = to_document(Rule(Frequency.DAILY, until_time=at("2026-03-01T00:00")))
        with pytest.raises(InvalidRequest) as refused:
            created(recurrence=ended)
        assert [violation.field for violation in refused.value.fields] == ["recurrence.frequency"]

    def test_a_due_time_beyond_the_calendar_of_its_zone_is_refused(self) -> None:
        with pytest.raises(InvalidRequest) as refused:
            created(recurrence=DAILY, due_date=at("9999-12-31T23:59"))
        assert [violation.field for violation in refused.value.fields] == ["due_time"]


class TestUpdates:
    """What a change of one instance means for its series."""

    def test_a_change_of_how_it_recurs_begins_a_series_at_its_slot(self) -> None:
        task = created(recurrence=DAILY, due_date=at("2026-03-02T08:00"))
        for changes in ({"recurrence": MONDAYS}, {"recurrence_schedule": "weekly"}, {"repeat_from": "from_completion"}):
            changed = updated(task, **changes)
            assert (changed.series_id, changed.slot) == (OTHER, "2026-03-02T09:00:00")

    def test_a_series_begins_at_the_slot_although_the_instance_was_moved(self) -> None:
        moved = updated(created(recurrence=DAILY, due_date=at("2026-03-02T08:00")), due_date=at("2026-03-02T15:00"))
        assert (moved.series_id, moved.slot) == (ID, "2026-03-02T09:00:00")
        assert updated(moved, repeat_from="from_completion").slot == "2026-03-02T09:00:00"

    def test_a_rule_and_a_due_time_that_change_together_begin_at_that_time(self) -> None:
        task = created(recurrence=MONDAYS, due_date=at("2026-03-02T08:00"))
        with pytest.raises(errors.DueTimeNotInRecurrence):
            updated(task, recurrence=TUESDAYS)
        changed = updated(task, recurrence=TUESDAYS, due_date=at("2026-03-03T17:00"))
        assert changed.slot == "2026-03-03T18:00:00"

    def test_in_another_zone_the_instance_stays_due_at_its_instant(self) -> None:
        task = created(recurrence=DAILY, due_date=at("2026-03-02T08:00"))
        changed = updated(task, time_zone="Asia/Tokyo")
        assert (changed.due_date, changed.slot, changed.series_id) == (task.due_date, "2026-03-02T17:00:00", OTHER)

    def test_a_date_that_another_rule_does_not_have_goes_on_to_one_that_it_has(self) -> None:
        task = created(recurrence=DAILY)
        assert updated(task, recurrence=TUESDAYS).slot == "2026-03-03"
        assert updated(task, recurrence=MONDAYS).slot == "2026-03-02"

    def test_a_task_that_comes_to_recur_begins_a_series(self) -> None:
        changed = updated(PLAIN, BERLIN, is_recurring=True, recurrence_schedule="daily")
        assert (changed.series_id, changed.slot, changed.time_zone) == (OTHER, "2026-03-02", BERLIN)

    @pytest.mark.parametrize("changes", [{"recurrence": MONDAYS}, {"recurrence": None}, {"time_zone": "Asia/Tokyo"}])
    def test_how_a_complete_instance_recurs_cannot_change(self, changes: dict[str, Any]) -> None:
        done = tasks.complete(created(recurrence=DAILY), NOW, None)
        with pytest.raises(errors.TaskAlreadyComplete):
            updated(done, **changes)
        assert updated(done, title="y").title == "y"

    def test_a_recurring_task_of_before_series_changes_as_ever_and_gets_one_with_its_rule(self) -> None:
        simple = {"is_recurring": True, "recurrence_schedule": "daily", "recurrence": DAILY}
        of_before = PLAIN._replace(**simple, repeat_from="from_due_next_future")
        done = tasks.complete(of_before, NOW, None)
        assert (updated(done, title="y").title, updated(of_before, title="y").series_id) == ("y", None)
        with pytest.raises(series.ZoneMissing):
            updated(of_before, recurrence_schedule="weekly")
        assert updated(of_before, BERLIN, recurrence_schedule="weekly").series_id == OTHER

    def test_a_count_is_stated_again_when_a_later_instance_begins_a_series(self) -> None:
        first = created(recurrence=TEN_TIMES)
        assert updated(first, repeat_from="from_completion").recurrence == TEN_TIMES
        later = series.put(first, None, "2026-03-05", {}, NOW)
        with pytest.raises(errors.RecurrenceCountMissing) as refused:
            updated(later, repeat_from="from_completion")
        assert [violation.field for violation in refused.value.fields] == ["recurrence"]
        seven = to_document(Rule(Frequency.DAILY, times=7))
        assert updated(later, repeat_from="from_completion", recurrence=seven).recurrence == seven

    @given(
        st.lists(
            st.one_of(
                st.fixed_dictionaries({"title": st.sampled_from(["x", "y"])}),
                st.fixed_dictionaries({"due_date": st.sampled_from([None, at("2026-03-03T08:00"), NOW])}),
                st.fixed_dictionaries({"recurrence": st.sampled_from([None, DAILY, MONDAYS, TEN_TIMES])}),
                st.fixed_dictionaries({"recurrence_schedule": st.sampled_from([None, "daily", "weekly", "monthly"])}),
                st.fixed_dictionaries({"is_recurring": st.booleans(), "recurrence_schedule": st.just("weekly")}),
                st.fixed_dictionaries({"time_zone": st.sampled_from([None, BERLIN, "Asia/Tokyo", "Mars/Olympus"])}),
                st.fixed_dictionaries({"repeat_from": st.sampled_from([None, "from_completion"])}),
                st.just({"complete": True}),
                st.just({"reopen": True}),
            ),
            max_size=12,
        )
    )
    def test_whatever_changes_a_task_recurs_wholly_or_not_at_all(self, steps: list[dict[str, Any]]) -> None:
        task = PLAIN
        for changes in steps:
            verb = {"complete": tasks.complete, "reopen": tasks.reopen}.get(next(iter(changes)))
            try:
                task = verb(task, NOW, None) if verb else updated(task, BERLIN, **changes)
            except ServiceError:
                continue
            of_recurring = (
                task.recurrence_schedule,
                task.recurrence,
                task.time_zone,
                task.repeat_from,
                task.series_id,
                task.slot,
            )
            assert [value is not None for value in of_recurring] == [task.is_recurring] * len(of_recurring)
            assert not task.is_recurring or from_document(task.recurrence or {}).frequency == task.recurrence_schedule
            assert task.is_recurring or task.series_values is None


class TestInstances:
    """What the next instance takes from the one before."""

    SOURCE = created(
        recurrence=DAILY,
        due_date=at("2026-03-28T08:00"),
        reminder_time=at("2026-03-28T06:30"),
        description="With rain water",
        estimated_pomodoros=2,
        reminder_offsets=["-PT10M"],
    )

    def test_it_has_what_its_series_has_and_is_new(self) -> None:
        done = tasks.complete(tasks.start(self.SOURCE, NOW, None), NOW, None)._replace(focus_seconds=60, pomodoros=1)
        made = series.put(done, None, "2026-03-29T09:00:00", {"due_date": at("2026-03-29T07:00")}, NOW + 5)
        assert made == self.SOURCE._replace(
            id=series.instance_id(ID, "2026-03-29T09:00:00"),
            slot="2026-03-29T09:00:00",
            due_date=at("2026-03-29T07:00"),
            reminder_time=at("2026-03-29T05:30"),
            created_at=NOW + 5,
            updated_at=NOW + 5,
        )

    def test_its_id_follows_from_its_series_and_slot(self) -> None:
        one, other = (series.put(self.SOURCE, None, slot, {}, NOW) for slot in ("2026-03-29", "2026-03-30"))
        assert series.put(self.SOURCE, None, "2026-03-29", {}, NOW + 9).id == one.id
        assert len({one.id, other.id, series.instance_id(OTHER, "2026-03-29")}) == 3

    def test_what_was_changed_of_one_instance_alone_ends_with_it(self) -> None:
        changed = updated(self.SOURCE, title="Today the roses", reminder_offsets=None, due_date=NOW)
        made = series.put(changed, None, "2026-03-29T09:00:00", {}, NOW)
        assert (made.title, made.reminder_offsets) == (self.SOURCE.title, ["-PT10M"])
        back = updated(changed, title=self.SOURCE.title, reminder_offsets=["-PT10M"])
        assert back.series_values is None

    def test_what_is_changed_together_with_the_rule_is_the_series(self) -> None:
        changed = updated(self.SOURCE, title="Today", description="Roses")
        split = updated(changed, title="Every Saturday", recurrence=to_document(Rule(Frequency.WEEKLY)))
        made = series.put(split, None, "2026-04-04T09:00:00", {}, NOW)
        assert (made.title, made.description) == ("Every Saturday", "With rain water")

    @pytest.mark.parametrize(
        ("reminder", "slot", "moved"),
        [
            ("2026-03-28T06:30", "2026-03-29T09:00:00", "2026-03-29T05:30"),
            ("2026-03-28T01:30", "2026-03-29T09:00:00", "2026-03-29T01:30"),
            ("2026-03-27T08:00", "2026-10-25T09:00:00", "2026-10-24T07:00"),
        ],
        ids=["the same wall-clock time", "in a gap", "the day before"],
    )
    def test_its_reminder_moves_as_its_slot_does_on_the_wall_clock(self, reminder: str, slot: str, moved: str) -> None:
        made = series.put(self.SOURCE._replace(reminder_time=at(reminder)), None, slot, {}, NOW)
        assert made.reminder_time == at(moved)

    def test_a_reminder_beyond_the_calendar_is_none(self) -> None:
        late = self.SOURCE._replace(reminder_time=at("9999-12-31T20:00"))
        assert series.put(late, None, "2026-03-29T09:00:00", {}, NOW).reminder_time is None

    def test_a_withdrawn_instance_comes_back_as_its_next_version(self) -> None:
        made = series.put(self.SOURCE, None, "2026-03-29T09:00:00", {}, NOW)
        withdrawn = tasks.delete(made._replace(is_withdrawn=True, title="y"), NOW, None)
        again = series.put(self.SOURCE, withdrawn, "2026-03-29T09:00:00", {}, NOW + 1)
        assert again == made._replace(version=3, updated_at=NOW + 1)

    def test_revised_it_keeps_what_it_has_alone_and_the_series_has_the_changes(self) -> None:
        alone = updated(self.SOURCE, title="Today", description="Roses")
        revised = series.revise(alone, ID, "2026-03-28T10:00:00", {"title": "Water", "recurrence": MONDAYS}, NOW)
        assert (revised.title, revised.description, revised.slot) == ("Water", "Roses", "2026-03-28T10:00:00")
        assert (revised.recurrence_schedule, revised.series_id) == ("weekly", ID)
        made = series.put(revised, None, "2026-03-30T10:00:00", {}, NOW)
        assert (made.title, made.description) == ("Water", "With rain water")
        assert series.revise(revised, ID, "2026-03-28T10:00:00", {"title": "Water"}, NOW) is revised

    @pytest.mark.parametrize(
        ("task", "begun"),
        [
            (SOURCE, False),
            (SOURCE._replace(title="y"), False),
            (SOURCE._replace(status=State.IN_PROGRESS.value), True),
            (SOURCE._replace(status=State.COMPLETE.value), True),
            (SOURCE._replace(focus_seconds=1), True),
        ],
    )
    def test_it_is_begun_when_somebody_did_something_on_it(self, task: Task, begun: bool) -> None:
        assert series.is_begun(task) is begun


@pytest.mark.parametrize(
    "offset", ["1D", "P1D", "-P", "-PT", "PT5M", "-P367D", "-PT8785H", "-P1Y", "-P1M", "-P1.5D", "-P1W1D", "--P1D"]
)
def test_a_wrong_reminder_offset_is_refused_by_its_position(offset: str) -> None:
    for change in (
        lambda: created(reminder_offsets=["-P1D", offset]),
        lambda: updated(PLAIN, reminder_offsets=["-P1D", offset]),
        lambda: series.put(TestInstances.SOURCE, None, "2026-03-29", {"reminder_offsets": ["-P1D", offset]}, NOW),
    ):
        with pytest.raises(errors.ReminderOffsetInvalid) as refused:
            change()
        assert [violation.field for violation in refused.value.fields] == ["reminder_offsets[1]"]
        assert refused.value.metadata["offset"] == offset


def test_an_error_about_an_element_names_the_element() -> None:
    with pytest.raises(errors.RecurrenceContradiction) as refused, errors.of_element("requests[3]"):
        raise errors.RecurrenceContradiction("time_zone")
    assert [violation.field for violation in refused.value.fields] == ["requests[3].time_zone"]


def test_the_zone_of_a_series_is_its_own() -> None:
    """Case D-zones-1: whatever zone its user has later."""
    task = created(recurrence=MONDAYS, due_date=at("2026-07-06T07:00"))
    assert updated(task, "Asia/Tokyo", title="y").time_zone == BERLIN
    assert to_wall(task.due_date or 0, BERLIN).hour == 9
