"""Kinds of faults in files, each by several examples: zones, days, lengths, alarms, rules, exceptions and syntax."""

import pytest

from tests.support.imported import Imported, a_file, imported, utc

STAMP = "DTSTAMP:20260101T000000Z\n"


def one(*lines: str, zones: str = "") -> Imported:
    """A file with one event of these lines, for a user in Berlin."""
    return imported(a_file("UID:a@example.org\n" + STAMP + "\n".join(lines), zones=zones))


def starts(found: Imported) -> list[str]:
    return [utc(each.start) for each in found.occurrences()]


def own_zone(name: str, summer: str, winter: str, march: str = "-1SU", extra: str = "") -> str:
    return (
        f"BEGIN:VTIMEZONE\nTZID:{name}\n{extra}BEGIN:STANDARD\nDTSTART:16010101T030000\nTZOFFSETFROM:{summer}\n"
        f"TZOFFSETTO:{winter}\nRRULE:FREQ=YEARLY;BYDAY=-1SU;BYMONTH=10\nEND:STANDARD\nBEGIN:DAYLIGHT\n"
        f"DTSTART:16010101T020000\nTZOFFSETFROM:{winter}\nTZOFFSETTO:{summer}\n"
        f"RRULE:FREQ=YEARLY;BYDAY={march};BYMONTH=3\nEND:DAYLIGHT\nEND:VTIMEZONE\n"
    )


class TestZones:
    """TZID."""

    @pytest.mark.parametrize(
        ("tzid", "zone"),
        [
            ("Europe/Berlin", "Europe/Berlin"),
            ("europe/berlin", "Europe/Berlin"),
            ('"Europe/Berlin"', "Europe/Berlin"),
            ("/Europe/Berlin", "Europe/Berlin"),
            ("/mozilla.org/20050126_1/America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
            ("/softwarestudio.org/Olson_20011030_5/America/New_York", "America/New_York"),
            ("W. Europe Standard Time", "Europe/Berlin"),
            ("pacific standard time", "America/Los_Angeles"),
            ("Tokyo Standard Time 2", "Asia/Tokyo"),
            ("UTC", "UTC"),
            ("GMT", "GMT"),
            ("UTC+2", "Etc/GMT-2"),
            ('"GMT-05:00"', "Etc/GMT+5"),
            ('"tzone://Microsoft/Utc"', "UTC"),
        ],
    )
    def test_a_name_is_known(self, tzid: str, zone: str) -> None:
        ((event, _),) = one(f"DTSTART;TZID={tzid}:20260601T080000").events
        assert event.time_zone == zone

    @pytest.mark.parametrize(
        "tzid", ["Customized Time Zone", "(UTC+01:00) Amsterdam, Berlin", "Mitteleuropa", "x" * 900]
    )
    def test_a_zone_of_the_file_is_the_one_with_its_rules(self, tzid: str) -> None:
        found = one(f'DTSTART;TZID="{tzid}":20260701T080000', zones=own_zone(tzid, "+0200", "+0100"))
        assert found.events[0].event.time_zone == "Europe/Berlin"
        assert starts(found) == ["2026-07-01T06:00:00Z"]

    def test_the_place_of_libical_counts(self) -> None:
        zones = own_zone("Here", "+0200", "+0100", extra="X-LIC-LOCATION:Europe/Madrid\n")
        assert one("DTSTART;TZID=Here:20260701T080000", zones=zones).events[0].event.time_zone == "Europe/Madrid"

    def test_a_zone_that_only_the_file_has_keeps_the_instant_of_a_single_event(self) -> None:
        zones = own_zone("Odd", "+0237", "+0137")
        found = one("DTSTART;TZID=Odd:20260701T080000", "DURATION:PT1H", zones=zones)
        assert starts(found) == ["2026-07-01T05:23:00Z"]
        assert found.issues() == [("not_kept", "a", "TZID")]

    def test_a_zone_that_only_the_file_has_cannot_recur(self) -> None:
        found = one("DTSTART;TZID=Odd:20260701T080000", "RRULE:FREQ=DAILY", zones=own_zone("Odd", "+0237", "+0137"))
        assert (found.events, found.issues()[0]) == ([], ("not_imported", "a", "TZID"))

    @pytest.mark.parametrize("tzid", ["Nowhere", "Europe/Atlantis", "UTC+17"])
    def test_an_unknown_name_is_refused(self, tzid: str) -> None:
        assert one(f"DTSTART;TZID={tzid}:20260601T080000").issues() == [("not_imported", "a", "TZID")]

    def test_an_end_in_another_zone_is_an_instant(self) -> None:
        found = one("DTSTART;TZID=Europe/Berlin:20260601T080000", "DTEND;TZID=America/New_York:20260601T080000")
        assert [(each.end - each.start) // 3_600_000_000 for each in found.occurrences()] == [6]

    @pytest.mark.parametrize("tzid", ["(UTC+01:00) Amsterdam, Berlin", "(UTC+01.00) Amsterdam, Berlin, Bern"])
    def test_a_name_of_exchange_may_stand_without_quotes(self, tzid: str) -> None:
        found = one(f"DTSTART;TZID={tzid}:20260701T080000", zones=own_zone(tzid, "+0200", "+0100"))
        assert (found.events[0].event.time_zone, found.issues()) == ("Europe/Berlin", [])

    def test_the_rules_of_the_file_count_before_a_name_that_is_an_offset(self) -> None:
        zones = own_zone("GMT+0100", "+0200", "+0100")
        assert starts(one("DTSTART;TZID=GMT+0100:20260701T080000", zones=zones)) == ["2026-07-01T06:00:00Z"]

    def test_each_calendar_of_a_file_has_its_own_zones(self) -> None:
        files = [
            a_file(f"UID:{uid}\nDTSTART;TZID=Here:20260701T080000", zones=own_zone("Here", summer, winter))
            for uid, summer, winter in (("a", "+0200", "+0100"), ("b", "+0300", "+0200"))
        ]
        assert starts(imported("".join(files))) == ["2026-07-01T05:00:00Z", "2026-07-01T06:00:00Z"]

    def test_a_zone_may_be_in_another_calendar_of_the_file(self) -> None:
        zones = a_file(zones=own_zone("Here", "+0200", "+0100"))
        found = imported(zones + a_file("UID:a\nDTSTART;TZID=Here:20260701T080000"))
        assert starts(found) == ["2026-07-01T06:00:00Z"]

    def test_a_zone_beside_utc_is_reported(self) -> None:
        found = one("DTSTART;TZID=Europe/Berlin:20260601T080000Z")
        assert starts(found) == ["2026-06-01T08:00:00Z"]
        assert found.issues() == [("not_kept", "a", "TZID")]


class TestLengths:
    """DTEND and DURATION."""

    @pytest.mark.parametrize(
        ("lines", "days", "seconds", "reported"),
        [
            (["DTSTART:20260601T080000Z"], 0, 0, []),
            (["DTSTART:20260601T080000Z", "DTEND:20260601T080000Z"], 0, 0, []),
            (["DTSTART:20260601T080000Z", "DURATION:P1DT1H"], 1, 3600, []),
            (["DTSTART:20260601T080000Z", "DURATION:pt90m"], 0, 5400, []),
            (["DTSTART:20260601T080000Z", "DURATION:P2W"], 14, 0, []),
            (["DTSTART:20260601T080000Z", "DTEND;VALUE=DATE:20260602"], 0, 57600, ["DTEND"]),
            (["DTSTART;VALUE=DATE:20260601", "DTEND;VALUE=DATE:20260604"], 3, 0, []),
            (["DTSTART;VALUE=DATE:20260601", "DURATION:P3D"], 3, 0, []),
            (["DTSTART;VALUE=DATE:20260601", "DURATION:PT24H"], 1, 0, ["DURATION"]),
            (["DTSTART;VALUE=DATE:20260601", "DTEND:20260603T000000"], 2, 0, ["DTEND"]),
            (["DTSTART;VALUE=DATE:20260601T000000"], 1, 0, []),
            (["DTSTART;VALUE=DATE-TIME:20260601"], 1, 0, []),
            (["DTSTART:20260601T235960Z"], 0, 0, []),
            (["DTSTART:20260601T080000.250Z"], 0, 0, ["DTSTART"]),
            (["DTSTART;TZID=Asia/Tokyo:20260601T080000", "DTEND:20260601T090000"], 0, 3600, ["DTEND"]),
            (
                ["DTSTART;TZID=Europe/Berlin:20260329T023000", "DTEND;TZID=Europe/Berlin:20260329T030000"],
                *(0, 1800, ["DTEND"]),
            ),
        ],
    )
    def test_a_length_is_kept(self, lines: list[str], days: int, seconds: int, reported: list[str]) -> None:
        found = one(*lines)
        ((event, _),) = found.events
        assert event.length == (days, seconds)
        assert [name for _, _, name in found.issues()] == reported

    @pytest.mark.parametrize(
        ("line", "name"),
        [
            ("DTEND:20250601T080000Z", "DTEND"),
            ("DTEND:20280601T080000Z", "DTEND"),
            ("DURATION:-P1D", "DURATION"),
            ("DURATION:PT", "DURATION"),
            ("DURATION:P1H", "DURATION"),
            ("DURATION:P999999999W", "DURATION"),
            ("DTEND:20260230T080000Z", "DTEND"),
            ("DTEND:2026-06-01T09:00:00Z", "DTEND"),
        ],
    )
    def test_a_length_that_cannot_be_is_refused(self, line: str, name: str) -> None:
        assert one("DTSTART:20260601T080000Z", line).issues() == [("not_imported", "a", name)]


class TestAlarms:
    """VALARM."""

    @pytest.mark.parametrize(
        ("trigger", "offset"),
        [
            ("TRIGGER:-PT15M", "-PT15M"),
            ("TRIGGER:-P1D", "-P1D"),
            ("TRIGGER:-P1W", "-P1W"),
            ("TRIGGER:PT0S", "PT0S"),
            ("TRIGGER;RELATED=START:-PT1H30M", "-PT1H30M"),
            ("TRIGGER;VALUE=DURATION:-PT3600S", "-PT3600S"),
            ("TRIGGER:-p1dt1h", "-P1DT1H"),
            ("TRIGGER;RELATED=END:-PT2H", "-PT1H"),
        ],
    )
    def test_an_alarm_before_the_start_is_a_reminder(self, trigger: str, offset: str) -> None:
        lines = ["BEGIN:VALARM", "ACTION:DISPLAY", trigger, "END:VALARM"]
        ((event, _),) = one("DTSTART:20260601T080000Z", "DURATION:PT1H", *lines).events
        assert event.reminders == [{"offset": offset, "channel": "in_app"}]

    @pytest.mark.parametrize(
        ("lines", "name"),
        [
            (["TRIGGER:PT15M"], "TRIGGER"),
            (["TRIGGER:-P400D"], "TRIGGER"),
            (["TRIGGER:soon"], "TRIGGER"),
            (["ACTION:PROCEDURE", "TRIGGER:-PT15M"], "ACTION"),
            (["ACTION:DISPLAY"], "TRIGGER"),
        ],
    )
    def test_an_alarm_that_is_not_kept_is_reported(self, lines: list[str], name: str) -> None:
        found = one("DTSTART:20260601T080000Z", "BEGIN:VALARM", *lines, "END:VALARM")
        assert found.issues() == [("not_kept", "a", name)]
        assert found.events[0].event.reminders == []

    def test_what_an_alarm_has_beside_its_reminder_is_reported(self) -> None:
        alarm = ["BEGIN:VALARM", "ACTION:EMAIL", "TRIGGER:-PT5M", "DESCRIPTION:Run", "ATTENDEE:mailto:b@example.org"]
        found = one("DTSTART:20260601T080000Z", "SUMMARY:Run", *alarm, "END:VALARM")
        assert found.issues() == [("not_kept", "a", "ATTENDEE")]

    def test_an_alarm_at_the_end_is_after_the_start(self) -> None:
        alarm = ["BEGIN:VALARM", "TRIGGER;RELATED=END:PT0S", "END:VALARM"]
        found = one("DTSTART:20260601T080000Z", "DURATION:PT1H", *alarm)
        assert (found.events[0].event.reminders, found.issues()) == ([], [("not_kept", "a", "TRIGGER")])

    def test_ten_reminders_are_kept(self) -> None:
        alarms = "\n".join(f"BEGIN:VALARM\nTRIGGER:-PT{minute}M\nEND:VALARM" for minute in range(1, 13))
        found = one("DTSTART:20260601T080000Z", alarms)
        assert len(found.events[0].event.reminders) == 10
        assert found.issues() == [("not_kept", "a", "VALARM")] * 2

    def test_mail_and_repetition(self) -> None:
        lines = ["BEGIN:VALARM", "ACTION:EMAIL", "TRIGGER:-PT5M", "REPEAT:2", "DURATION:PT1M", "END:VALARM"]
        found = one("DTSTART:20260601T080000Z", *lines)
        assert found.events[0].event.reminders == [{"offset": "-PT5M", "channel": "email"}]
        assert found.issues() == [("not_kept", "a", "REPEAT")]


class TestRules:
    """RRULE."""

    @pytest.mark.parametrize(
        ("rule", "name"),
        [
            ("FREQ=HOURLY", "FREQ"),
            ("FREQ=DAILY;BYHOUR=9", "BYHOUR"),
            ("FREQ=YEARLY;BYWEEKNO=20", "BYWEEKNO"),
            ("FREQ=YEARLY;BYYEARDAY=100", "BYYEARDAY"),
            ("FREQ=DAILY;COUNT=2;UNTIL=20260701", "UNTIL"),
            ("FREQ=DAILY;COUNT=0", "COUNT"),
            ("FREQ=DAILY;INTERVAL=0", "INTERVAL"),
            ("RSCALE=CHINESE;FREQ=YEARLY", "RSCALE"),
            ("COUNT=3", "FREQ"),
            ("FREQ=DAILY;UNTIL=tomorrow", "UNTIL"),
        ],
    )
    def test_a_rule_that_focusmesh_does_not_have_is_refused_by_name(self, rule: str, name: str) -> None:
        found = one("DTSTART:20260601T080000Z", f"RRULE:{rule}")
        assert (found.events, found.issues()) == ([], [("not_imported", "a", name)])

    @pytest.mark.parametrize(
        ("start", "rule", "last"),
        [
            ("DTSTART;TZID=Europe/Berlin:20260601T080000", "FREQ=DAILY;UNTIL=20260603", "2026-06-03T06:00:00Z"),
            ("DTSTART;TZID=Europe/Berlin:20260601T080000", "FREQ=DAILY;UNTIL=20260603T060000Z", "2026-06-03T06:00:00Z"),
            ("DTSTART;TZID=Europe/Berlin:20260601T080000", "FREQ=DAILY;UNTIL=20260603T080000", "2026-06-03T06:00:00Z"),
            ("DTSTART:20260601T080000", "FREQ=DAILY;UNTIL=20260603T080000", "2026-06-03T06:00:00Z"),
            ("DTSTART:20260601T080000", "FREQ=DAILY;UNTIL=20260603T075959", "2026-06-02T06:00:00Z"),
            ("DTSTART:20260601T080000", "freq=daily;count=3;", "2026-06-03T06:00:00Z"),
            ("DTSTART;VALUE=DATE:20260601", "FREQ=DAILY;UNTIL=20260603T000000Z", "2026-06-02T22:00:00Z"),
        ],
    )
    def test_the_end_of_a_rule_is_what_it_says(self, start: str, rule: str, last: str) -> None:
        assert starts(one(start, f"RRULE:{rule}"))[-1] == last

    @pytest.mark.parametrize(
        ("start", "until"),
        [
            ("DTSTART;TZID=Europe/Berlin:20260601T080000", "99991231T235959Z"),
            ("DTSTART;TZID=America/New_York:20260601T080000", "99991231T235959"),
            ("DTSTART;TZID=America/New_York:20260601T080000", "99991231"),
            ("DTSTART:20260601T080000", "99991231T235959Z"),
            ("DTSTART;VALUE=DATE:20260601", "99991231T235959Z"),
        ],
    )
    def test_a_rule_until_the_year_9999_has_no_end(self, start: str, until: str) -> None:
        found = one(start, f"RRULE:FREQ=YEARLY;UNTIL={until}")
        assert len(starts(found)) == 74
        assert (found.events[0].event.rule or {})["until_time"] is None
        assert found.issues() == [("not_kept", "a", "UNTIL")]

    @pytest.mark.parametrize("start", ["DTSTART:20260601T080000", "DTSTART;TZID=Asia/Tokyo:20260601T080000"])
    def test_a_rule_until_the_year_1_leaves_the_start(self, start: str) -> None:
        found = one(start, "RRULE:FREQ=DAILY;UNTIL=00010101T000000")
        assert (len(starts(found)), found.issues()) == (1, [("not_kept", "a", "RRULE")])

    def test_a_rule_may_end_in_a_leap_second(self) -> None:
        assert len(starts(one("DTSTART:20260601T080000Z", "RRULE:FREQ=DAILY;UNTIL=20260602T235960Z"))) == 2

    def test_an_empty_rule_is_reported(self) -> None:
        found = one("DTSTART:20260601T080000Z", "RRULE:")
        assert (len(starts(found)), found.issues()) == (1, [("not_kept", "a", "RRULE")])

    def test_two_rules_are_refused(self) -> None:
        found = one("DTSTART:20260601T080000Z", "RRULE:FREQ=DAILY", "RRULE:FREQ=WEEKLY")
        assert found.issues() == [("not_imported", "a", "RRULE")]

    def test_a_rule_without_a_date_leaves_the_start(self) -> None:
        found = one("DTSTART:20260601T080000Z", "RRULE:FREQ=DAILY;UNTIL=20260101")
        assert starts(found) == ["2026-06-01T08:00:00Z"]
        assert found.issues() == [("not_kept", "a", "RRULE")]


class TestExceptions:
    """EXDATE, RDATE and RECURRENCE-ID."""

    DAILY = ("DTSTART;TZID=Europe/Berlin:20260601T080000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3")
    ALL = ("2026-06-01T06:00:00Z", "2026-06-02T06:00:00Z", "2026-06-03T06:00:00Z")

    @pytest.mark.parametrize(
        "excluded",
        [
            "EXDATE;TZID=Europe/Berlin:20260602T080000",
            "EXDATE:20260602T060000Z",
            "EXDATE;TZID=America/New_York:20260602T020000",
            "EXDATE:20260602T080000",
            "EXDATE;VALUE=DATE:20260602",
            "EXDATE:20260602T060000Z,20260602T060000Z",
        ],
    )
    def test_an_occurrence_is_excluded_however_its_time_is_written(self, excluded: str) -> None:
        found = one(*self.DAILY, excluded)
        assert starts(found) == [self.ALL[0], self.ALL[2]]
        assert found.issues() == []

    TOKYO = ("DTSTART;TZID=Asia/Tokyo:20260601T080000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3")

    def test_an_exception_without_a_zone_is_on_the_clock_of_its_series(self) -> None:
        assert starts(one(*self.TOKYO, "EXDATE:20260602T080000")) == ["2026-05-31T23:00:00Z", "2026-06-02T23:00:00Z"]
        moved = "UID:a@example.org\nRECURRENCE-ID:20260602T080000\nDTSTART:20260602T010000Z"
        found = imported(a_file("UID:a@example.org\n" + "\n".join(self.TOKYO), moved))
        assert starts(found) == ["2026-05-31T23:00:00Z", "2026-06-02T01:00:00Z", "2026-06-02T23:00:00Z"]
        assert len(found.events) == 1

    def test_an_added_date_without_a_zone_is_on_the_clock_of_its_series_and_reported(self) -> None:
        found = one(*self.TOKYO, "RDATE:20260610T080000")
        assert starts(found)[-1] == "2026-06-09T23:00:00Z"
        assert found.issues() == [("not_kept", "a", "RDATE")]

    def test_an_override_that_says_no_times_has_those_of_its_slot(self) -> None:
        other = "UID:a@example.org\nRECURRENCE-ID:20260602T060000Z\nSUMMARY:Named"
        found = imported(a_file("UID:a@example.org\n" + "\n".join(self.DAILY), other))
        assert [(each.end - each.start) // 3_600_000_000 for each in found.occurrences()] == [1, 1, 1]

    def test_what_excludes_nothing_is_reported(self) -> None:
        found = one(*self.DAILY, "EXDATE;TZID=Europe/Berlin:20260602T090000")
        assert starts(found) == list(self.ALL)
        assert found.issues() == [("not_kept", "a", "EXDATE")]

    def test_a_period_has_its_own_length(self) -> None:
        found = one(*self.DAILY, "RDATE;VALUE=PERIOD:20260605T060000Z/PT3H,20260606T060000Z/20260606T080000Z")
        assert [(each.end - each.start) // 3_600_000_000 for each in found.occurrences()] == [1, 1, 1, 3, 2]

    def test_an_override_of_another_kind_is_an_event_of_its_own(self) -> None:
        master = "UID:a@example.org\n" + STAMP + "\n".join(self.DAILY)
        other = (
            "UID:a@example.org\n" + STAMP + "RECURRENCE-ID:20260602T060000Z\nSUMMARY:Trip\nDTSTART;VALUE=DATE:20260602"
        )
        found = imported(a_file(master, other))
        assert [(utc(each.start), each.event.is_all_day) for each in found.occurrences()] == [
            (self.ALL[0], False),
            ("2026-06-01T22:00:00Z", True),
            (self.ALL[2], False),
        ]

    def test_a_cancelled_override_cancels(self) -> None:
        master = "UID:a@example.org\n" + STAMP + "\n".join(self.DAILY)
        other = "UID:a@example.org\n" + STAMP + "RECURRENCE-ID:20260602T060000Z\nSTATUS:CANCELLED"
        assert starts(imported(a_file(other, master))) == [self.ALL[0], self.ALL[2]]

    def test_all_that_follow_go_on_with_what_was_excluded_after_them(self) -> None:
        master = (
            "UID:a@example.org\n"
            + STAMP
            + "DTSTART:20260601T080000Z\nRRULE:FREQ=DAILY;COUNT=5\nEXDATE:20260604T080000Z"
        )
        later = "UID:a@example.org\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260603T080000Z\nDTSTART:20260603T100000Z"
        one_of = "UID:a@example.org\nRECURRENCE-ID:20260605T080000Z\nDTSTART:20260605T200000Z"
        assert starts(imported(a_file(master, later, one_of))) == [
            "2026-06-01T08:00:00Z",
            "2026-06-02T08:00:00Z",
            "2026-06-03T10:00:00Z",
            "2026-06-05T20:00:00Z",
        ]

    def test_all_that_follow_may_move_to_another_day_of_the_week(self) -> None:
        master = "UID:a\nDTSTART:20260601T080000Z\nRRULE:FREQ=WEEKLY;BYDAY=MO;COUNT=4"
        later = "UID:a\nRECURRENCE-ID;RANGE=THISANDFUTURE:20260615T080000Z\nDTSTART:20260616T080000Z"
        assert [each[8:10] for each in starts(imported(a_file(master, later)))] == ["01", "08", "16", "23"]


class TestSyntax:
    """Content lines."""

    @pytest.mark.parametrize("end", ["\r\n", "\n", "\r", "\n\n", "\r\r\n"])
    def test_lines_may_end_in_any_way(self, end: str) -> None:
        assert starts(imported(a_file("UID:a\nDTSTART:20260601T080000Z").replace("\n", end))) == [
            "2026-06-01T08:00:00Z"
        ]

    @pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
    def test_a_file_says_by_its_first_bytes_how_it_is_encoded(self, encoding: str) -> None:
        content = a_file("UID:a\nDTSTART:20260601T080000Z\nSUMMARY:Gr\u00fc\u00dfe").encode(encoding)
        assert imported(content).events[0].event.title == "Gr\u00fc\u00dfe"

    def test_a_fold_may_be_within_a_character(self) -> None:
        content = a_file("UID:a\nDTSTART:20260601T080000Z\nSUMMARY:Gr\u00fc\u00dfe").encode()
        split = content.replace("\u00fc".encode(), b"\xc3\r\n \xbc")
        assert imported(split).events[0].event.title == "Gr\u00fc\u00dfe"

    @pytest.mark.parametrize(
        ("line", "title"),
        [
            ("SUMMARY:a\\, b\\; c\\\\n\\nd", "a, b; c\\n\nd"),
            ('summary;LANGUAGE=de;X-A="x:y;z":a:b', "a:b"),
            ("SUMMARY:", "Untitled"),
            ("SUMMARY:   ", "Untitled"),
            ("X-A:1", "Untitled"),
        ],
    )
    def test_texts_are_read_without_their_escapes(self, line: str, title: str) -> None:
        assert one("DTSTART:20260601T080000Z", line).events[0].event.title == title

    def test_long_texts_are_cut_and_reported(self) -> None:
        found = one("DTSTART:20260601T080000Z", "SUMMARY:" + "x" * 300, "DESCRIPTION:" + "y" * 10_001)
        event = found.events[0].event
        assert (len(event.title), len(event.description or "")) == (255, 10_000)
        assert found.issues() == [("not_kept", "a", "SUMMARY"), ("not_kept", "a", "DESCRIPTION")]

    def test_what_is_no_utf8_is_reported(self) -> None:
        content = a_file("UID:a\nDTSTART:20260601T080000Z\nSUMMARY:x").encode().replace(b":x", b":M\xfcller\x00")
        found = imported(content)
        assert found.events[0].event.title == "M\ufffdller"
        assert found.issues() == [("not_kept", "a", "SUMMARY")] * 2

    def test_an_event_without_uid_has_the_same_one_each_time(self) -> None:
        content = a_file("DTSTART:20260601T080000Z\nSUMMARY:x")
        first, second = imported(content), imported(content)
        assert first.events[0].event.uid == second.events[0].event.uid
        assert [name for *_, name in first.issues()] == ["UID"]

    def test_an_event_that_begins_within_another_breaks_it_off(self) -> None:
        content = a_file("UID:a\nDTSTART:20260601T080000Z\nBEGIN:VEVENT\nUID:b\nDTSTART:20260602T080000Z")
        found = imported(content)
        assert starts(found) == ["2026-06-02T08:00:00Z"]
        assert found.issues() == [("not_imported", "a", "")]

    @pytest.mark.parametrize("method", ["REPLY", "COUNTER"])
    def test_messages_about_events_of_others_are_no_events(self, method: str) -> None:
        content = a_file("UID:a\nDTSTART:20260601T080000Z").replace("VERSION:2.0", f"METHOD:{method}")
        assert imported(content).issues() == [("not_imported", "a", "METHOD")]
