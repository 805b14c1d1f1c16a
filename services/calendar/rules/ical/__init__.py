"""Files of iCalendar (RFC 5545): read into what a calendar can keep, with a report of what it cannot, and written."""
