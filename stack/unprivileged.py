"""Runs a program as a user without privileges, for programs that refuse to run as root.

    python -m stack.unprivileged USER [--reach-closed-folders] [--hold PATH]… COMMAND…

Replaces itself with the command, so signals and pids are the command's. A path to hold is opened before privileges go,
and the command is given /proc/self/fd/N in its place: it comes to its own data in a folder that is closed to it.
"""

import ctypes
import os
import pwd
import shutil
import stat
import subprocess
import sys
from pathlib import Path

SYSTEM_USER = "focusmesh"
FALLBACK_USER = "nobody"
REACH = "--reach-closed-folders"
HOLD = "--hold"
_REACHES = (2, 1)
"""CAP_DAC_READ_SEARCH; CAP_DAC_OVERRIDE, which also writes, in containers that have only that."""
_PR_SET_SECUREBITS, _NO_SETUID_FIXUP = 28, 1 << 2
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE = 47, 2
_CAPABILITY_VERSION_3 = 0x20080522
_libc = ctypes.CDLL(None, use_errno=True)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def system_user() -> str:
    """The user to run as in place of root: created when allowed, otherwise `nobody`."""
    try:
        return pwd.getpwnam(SYSTEM_USER).pw_name
    except KeyError:
        pass
    if useradd := shutil.which("useradd"):
        command = [useradd, "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", SYSTEM_USER]
        if subprocess.run(command, capture_output=True, check=False).returncode == 0:
            return SYSTEM_USER
    return FALLBACK_USER


def enterable(path: Path) -> bool:
    """Whether anybody may come as far as `path`."""
    return all(folder.stat().st_mode & stat.S_IXOTH for folder in path.resolve().parents)


def prefix(executable: Path, *held: Path) -> tuple[str, ...]:
    """What goes before a command that root may not run; empty for everybody else.

    executable: the command's. When a folder above it is closed to others (a checkout in root's home), the command keeps
    the one capability to pass closed folders. held: its own files and folders among its arguments.
    """
    if os.geteuid() != 0:
        return ()
    reach = () if enterable(executable) else (REACH,)
    holds = (word for path in held for word in (HOLD, str(path)))
    return (sys.executable, "-m", "stack.unprivileged", system_user(), *reach, *holds)


def give(path: Path) -> None:
    """Makes `path` belong to the user of `prefix`, where there is one."""
    if os.geteuid() == 0:
        entry = pwd.getpwnam(system_user())
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _keep_capabilities() -> None:
    """Makes capabilities outlive the change of user, and count in access(2) afterwards."""
    _prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP)


def _only_reach() -> None:
    """Gives every capability back but one of _REACHES, which outlives exec as an ambient one; see capabilities(7)."""
    for capability in _REACHES:
        mask = 1 << capability
        data = (_Data * 2)(_Data(mask, mask, mask), _Data(0, 0, 0))
        if _libc.capset(ctypes.byref(_Header(_CAPABILITY_VERSION_3, 0)), data) == 0:
            _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability)
            return
    raise OSError(ctypes.get_errno(), "capset")


def _prctl(*arguments: int) -> None:
    if _libc.prctl(*arguments, *[0] * (5 - len(arguments))) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _held(path: str) -> str:
    """Opens a path for the command that follows; returns by which name it comes to it."""
    number = os.open(path, os.O_PATH)
    os.set_inheritable(number, True)
    return f"/proc/self/fd/{number}"


def main(user: str, *command: str) -> None:
    """Becomes the user, then the command."""
    entry = pwd.getpwnam(user)
    reach = command[0] == REACH
    if reach:
        command = command[1:]
        _keep_capabilities()
    while command[0] == HOLD:
        _, path, *rest = command
        name = _held(path)
        command = tuple(word.replace(path, name) for word in rest)
    os.setgroups([])
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    if reach:
        _only_reach()
    os.chdir("/")
    os.execv(command[0], command)  # noqa: S606 (the point of it)


if __name__ == "__main__":
    main(*sys.argv[1:])
