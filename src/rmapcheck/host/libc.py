"""The few system calls that Python's os module has no name for."""

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
    """Return the C library, asked to keep errno."""
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return `result`; raise OSError where it is -1."""
    if result == -1:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error), what)
    return result


def swapon(path: Path) -> None:
    """swapon(2). Raise OSError."""
    checked(libc().swapon(os.fsencode(path), 0), str(path))


def swapoff(path: Path) -> None:
    """swapoff(2). Raise OSError."""
    checked(libc().swapoff(os.fsencode(path)), str(path))


def subreaper() -> bool:
    """Tell whether orphans among our descendants become our children."""
    value = ctypes.c_int()
    checked(libc().prctl(PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0), "prctl")
    return bool(value.value)


def set_subreaper(wanted: bool) -> None:
    """Make orphans among our descendants our children, or init's again."""
    checked(libc().prctl(PR_SET_CHILD_SUBREAPER, int(wanted), 0, 0, 0), "prctl")


def detached_mount(kind: str) -> int:
    """Return a file descriptor of a file system that is mounted nowhere. Raise OSError.

    fsopen(), fsmount(), v5.2. It is gone when the descriptor is, so that a killed driver leaves
    no mount behind.
    """
    call = libc().syscall
    context = checked(call(SYS_FSOPEN, kind.encode(), 1), kind)
    try:
        checked(call(SYS_FSCONFIG, context, FSCONFIG_CMD_CREATE, None, None, 0), kind)
        return checked(call(SYS_FSMOUNT, context, 1, 0), kind)
    finally:
        os.close(context)
