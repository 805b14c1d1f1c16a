"""What any process needs: errors, lifecycle, settings, telemetry, clock, ids, certificates."""
