"""Runs a command under what a systemd unit lays upon it, as far as that can be done without systemd being in charge.

``python confined.py UNIT COMMAND ...`` sets what needs no other rights: open files, no new privileges,
system calls, families of addresses. What hides or closes folders is the caller's.
"""

import ctypes
import os
import re
import resource
import subprocess
import sys
from pathlib import Path

NO_NEW_PRIVILEGES = 38  # <sys/prctl.h>
ALLOW, REFUSE = 0x7FFF0000, 0x00050000  # <seccomp.h>; the error's number comes on top
EPERM, EAFNOSUPPORT = 1, 97
FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10}
EQUAL = 4


class Comparison(ctypes.Structure):
    """``scmp_arg_cmp``."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


def settings(unit: str) -> dict[str, list[str]]:
    """What stands in a unit, by name."""
    found: dict[str, list[str]] = {}
    for name, value in re.findall(r"^(\w+)=(.*)$", unit, re.MULTILINE):
        found.setdefault(name, []).append(value)
    return found


def calls(group: str) -> set[str]:
    """The system calls of a group, as systemd has them."""
    shown = subprocess.run(["systemd-analyze", "syscall-filter", group], capture_output=True, text=True, check=True)
    names = [line.strip() for line in shown.stdout.splitlines()[1:] if line.strip() and "#" not in line]
    return {call for name in names for call in (calls(name) if name.startswith("@") else {name})}


def filter_calls(seccomp: ctypes.CDLL, allowed: set[str]) -> None:
    """Refuse all other system calls."""
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(REFUSE + EPERM)))
    for name in allowed:
        if (number := seccomp.seccomp_syscall_resolve_name(name.encode())) >= 0:  # others are of other processors
            assert seccomp.seccomp_rule_add_array(context, ALLOW, number, 0, None) == 0, name
    assert seccomp.seccomp_load(context) == 0


def filter_families(seccomp: ctypes.CDLL, allowed: set[int]) -> None:
    """Refuse sockets of all other families."""
    context = ctypes.c_void_p(seccomp.seccomp_init(ctypes.c_uint32(ALLOW)))
    number = seccomp.seccomp_syscall_resolve_name(b"socket")
    for family in set(range(64)) - allowed:
        one = Comparison(0, EQUAL, family, 0)
        assert seccomp.seccomp_rule_add_array(context, REFUSE + EAFNOSUPPORT, number, 1, ctypes.byref(one)) == 0
    assert seccomp.seccomp_load(context) == 0


def confine(unit: dict[str, list[str]]) -> None:
    """Lay upon this process, and all that it becomes or starts, what the unit says."""
    (most,) = map(int, unit["LimitNOFILE"])
    resource.setrlimit(resource.RLIMIT_NOFILE, (1_024, most))  # systemd raises only the hard limit
    allowed, refused = unit["SystemCallFilter"]
    left = calls(allowed) - calls(refused.removeprefix("~"))
    libc, seccomp = ctypes.CDLL(None), ctypes.CDLL("libseccomp.so.2")
    seccomp.seccomp_init.restype = ctypes.c_void_p
    assert unit["NoNewPrivileges"] == ["yes"]
    assert libc.prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0) == 0
    filter_families(seccomp, {FAMILIES[name] for name in unit["RestrictAddressFamilies"][0].split()})
    filter_calls(seccomp, left)


if __name__ == "__main__":
    confine(settings(Path(sys.argv[1]).read_text()))
    os.execvp(sys.argv[2], sys.argv[2:])
