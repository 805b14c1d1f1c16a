"""A physical standby of the run's Postgres, which follows it."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from harness.waiting import wait_until
from stack import unprivileged
from stack.database import Cluster
from stack.infrastructure import postgres
from stack.layout import RUN, State
from tests.support.ports import free_ports


@contextmanager
def standby_of(primary: Cluster) -> Iterator[Cluster]:
    """A standby that was copied from the primary and streams from it; its state goes with it."""
    state, [port] = State(RUN / f"test-{os.getpid()}-standby"), free_ports(1)
    data = state.postgres
    data.mkdir(parents=True, mode=0o700)
    unprivileged.give(data)
    standby = Cluster(port, primary.keys)
    try:
        backup = str(postgres.binary("pg_basebackup"))
        source = ("--dbname", primary.administrator_url(), "--pgdata", str(data))
        options = ("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
        subprocess.run((*unprivileged.prefix(postgres.binary("postgres"), data), backup, *source, *options), check=True)
        program = postgres.program(state, port, durable=False)
        with subprocess.Popen(program.command, stderr=subprocess.DEVNULL) as server:
            try:
                wait_until(lambda: postgres.responses(standby.administrator_url()), "the standby responds")
                yield standby
            finally:
                server.send_signal(signal.SIGQUIT)  # ends at once
    finally:
        shutil.rmtree(state.folder, ignore_errors=True)
