"""System calls that Python's os module does not have."""

import ctypes
import os
from functools import cache
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36
PR_GET_CHILD_SUBREAPER = 37

# x86-64, arm64, riscv64 and all newer architectures number these alike.
SYS_FSOPEN = 430
SYS_FSCONFIG = 431
SYS_FSMOUNT = 432
FSCONFIG_CMD_CREATE = 6


@cache
def libc() -> ctypes.CDLL:
    """Return the C library, loaded so that ctypes keeps errno."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return `result`; raise OSError if it is -1. `what` names the system call."""
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def swapon(path: Path) -> None:
    """Call swapon(2). Raise OSError if it fails."""
    checked(libc().swapon(os.fsencode(path), 0), str(path))


def swapoff(path: Path) -> None:
    """Call swapoff(2). Raise OSError if it fails."""
    checked(libc().swapoff(os.fsencode(path)), str(path))


def subreaper() -> bool:
    """Return whether this process adopts orphans among its descendants."""
    value = ctypes.c_int()
    checked(libc().prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0), "prctl")
    return bool(value.value)


def set_subreaper(wanted: bool) -> None:
    """Make this process adopt orphans among its descendants, or leave them to init again."""
    checked(libc().prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0), "prctl")


def detached_mount(kind: str) -> int:
    """Return a descriptor of a mount of file system `kind` that is attached nowhere.

    It uses fsopen() and fsmount() (v5.2). The mount ends with the descriptor, so a killed run
    leaves no mount behind. Raise OSError if it fails.
    """
    call = libc().syscall
    context = checked(call(SYS_FSOPEN, kind.encode(), 1), kind)
    try:
        checked(call(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0), kind)
        return checked(call(SYS_FSMOUNT, context, 1, 0), kind)
    finally:
        os.close(context)
