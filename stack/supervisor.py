"""The process manager: supervisord, configured from programs and spoken to over XML-RPC on a unix socket."""

import contextlib
import http.client
import os
import resource
import shlex
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import psutil

from stack import preflight
from stack.errors import StackError, tail
from stack.layout import PRIVATE_UMASK, ROOT, State, private_file, private_folder
from stack.unix_http import UnixConnection

FOR_EVER = 1_000_000
"""Restarts before supervisord gives up: a program that is killed must always come back."""
_OPEN_FILES = 8192
_START_SECONDS = 10.0
_POLL_SECONDS = 0.02
STOPPED_STATES = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process that supervisord keeps running."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)
    stop_signal: str = "TERM"
    stop_seconds: int = 10
    """Seconds after its stop signal at which it is killed."""

    def with_environment(self, environment: Mapping[str, str]) -> Self:
        """The same program with more variables in its environment."""
        return replace(self, environment={**self.environment, **environment})


@dataclass(frozen=True)
class Status:
    """How supervisord sees a program."""

    name: str
    state: str
    pid: int
    started: int
    """Unix time of the last start; 0 when it never started."""


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: tuple[str, dict[str, str]] | str) -> http.client.HTTPConnection:  # noqa: ARG002
        return UnixConnection(self._path)


class Supervisor:
    """One supervisord and its state folder."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._configuration = state.folder / "supervisord.conf"
        self._socket = state.socket("supervisor")
        self._pid_file = state.folder / "supervisord.pid"

    @property
    def pid(self) -> int | None:
        """Process ID of supervisord; None when it does not run."""
        with contextlib.suppress(OSError, ValueError, psutil.Error):
            pid = int(self._pid_file.read_text())
            if "supervisord" in " ".join(psutil.Process(pid).cmdline()):
                return pid
        return None

    def start(self, programs: Iterable[Program]) -> None:
        """Starts supervisord in the background with `programs`, none of them started yet. Raises StackError."""
        for log in self._state.logs.glob("*.log"):
            log.replace(log.with_suffix(".log.1"))  # every start has its own log
        self._write(programs)
        done = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self._configuration],
            cwd=self._state.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            umask=PRIVATE_UMASK,
        )
        deadline = time.monotonic() + _START_SECONDS
        while done.returncode == 0 and time.monotonic() < deadline:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._rpc("getState"):
                    return
            time.sleep(_POLL_SECONDS)
        raise StackError(
            "supervisord did not start",
            log=f"{done.stdout}{done.stderr}{tail(self._state.log('supervisord'))}",
            advice="`make doctor`",
        )

    def start_program(self, name: str) -> None:
        """Starts a program; one that runs already stays. Raises StackError when it cannot be started at all."""
        try:
            self._rpc("startProcess", name, False)
        except xmlrpc.client.Fault as fault:
            if "ALREADY_STARTED" not in fault.faultString:
                raise self.failure(name, f"{name} could not be started: {fault.faultString}") from None

    def stop(self, names: Iterable[str]) -> None:
        """Stops programs side by side and returns when all have ended."""
        stopping = list(names)
        self.ask_to_stop(stopping)
        self.wait_stopped(stopping)

    def ask_to_stop(self, names: Iterable[str]) -> None:
        """Sends programs their stop signals; they are not started again."""
        for name in names:
            with contextlib.suppress(xmlrpc.client.Fault):
                self._rpc("stopProcess", name, False)

    def wait_stopped(self, names: Iterable[str]) -> None:
        """Waits until programs have ended; supervisord kills those that take too long."""
        waiting = list(names)
        while waiting:
            states = self.statuses()
            waiting = [name for name in waiting if name in states and states[name].state not in STOPPED_STATES]
            if waiting:
                time.sleep(_POLL_SECONDS)

    def statuses(self) -> dict[str, Status]:
        """Every program by name."""
        return {
            info["name"]: Status(info["name"], info["statename"], info["pid"], info["start"])
            for info in self._rpc("getAllProcessInfo")
        }

    def shutdown(self) -> None:
        """Ends supervisord, and whatever it still runs; returns when it is gone."""
        pid = self.pid
        with contextlib.suppress(OSError, http.client.HTTPException, xmlrpc.client.Fault):
            self._rpc("shutdown")
            while self.pid == pid:
                self._rpc("getState")  # wakes it: otherwise it checks once a second whether it is done
        if pid is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                preflight.wait_ended([psutil.Process(pid)], _START_SECONDS)
        self._socket.unlink(missing_ok=True)

    def restarts(self, name: str) -> int:
        """How often the program was started again since supervisord runs, from its log."""
        log = self._state.log("supervisord")
        spawned = f"spawned: '{name}' with pid"
        return max(0, log.read_text(errors="replace").count(spawned) - 1) if log.exists() else 0

    def failure(self, name: str, what: str) -> StackError:
        """A failure of one program, with the end of its log."""
        return StackError(what, log=tail(self._state.log(name)), advice=f"`make logs S={name}`, `make doctor`")

    def _rpc(self, method: str, *arguments: object) -> Any:
        transport = _UnixTransport(self._socket)
        with xmlrpc.client.ServerProxy("http://localhost", transport=transport, allow_none=True) as proxy:
            return getattr(proxy.supervisor, method)(*arguments)

    def _write(self, programs: Iterable[Program]) -> None:
        sections = [self._own_sections(), *(self._section(program) for program in programs)]
        private_folder(self._state.logs)
        private_file(self._configuration).write_text("\n".join(sections))

    def _own_sections(self) -> str:
        user = "user = root\n" if os.geteuid() == 0 else ""  # otherwise it warns that no user is set
        open_files = min(resource.getrlimit(resource.RLIMIT_NOFILE)[1], _OPEN_FILES)
        return (
            f"[supervisord]\nlogfile = {self._state.log('supervisord')}\nlogfile_backups = 1\n"
            f"pidfile = {self._pid_file}\nminfds = {open_files}\nchildlogdir = {self._state.logs}\n"
            f"umask = {PRIVATE_UMASK:03o}\n{user}"
            f"[unix_http_server]\nfile = {self._socket}\nchmod = 0700\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface\n"
        )

    def _section(self, program: Program) -> str:
        environment = ",".join(f'{name}="{_escaped(value)}"' for name, value in program.environment.items())
        return (
            f"[program:{program.name}]\ncommand = {_escaped(shlex.join(program.command))}\ndirectory = {ROOT}\n"
            f"environment = {environment}\nautostart = false\nautorestart = true\nstartsecs = 1\n"
            f"startretries = {FOR_EVER}\nstopsignal = {program.stop_signal}\nstopwaitsecs = {program.stop_seconds}\n"
            f"stopasgroup = false\nkillasgroup = true\nredirect_stderr = true\n"
            f"stdout_logfile = {self._state.log(program.name)}\nstdout_logfile_maxbytes = 20MB\n"
            f"stdout_logfile_backups = 1\n"
        )


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
