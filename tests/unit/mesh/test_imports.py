"""What no service imports by itself: each of these costs every start, and every restart, its CPU."""

import json
import subprocess
import sys

from stack import registry

_FOR_OTHERS = {"alembic", "opentelemetry.exporter", "opentelemetry.sdk", "sqlalchemy"}
"""Migrations import the first and the last, a service with a collector the other two."""


def test_importing_the_services_imports_nothing_that_only_others_need() -> None:
    mains = ", ".join(f"services.{name}.main" for name in registry.load().services)
    program = f"import {mains}, json, sys; print(json.dumps(list(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert not _FOR_OTHERS & set(json.loads(done.stdout))
