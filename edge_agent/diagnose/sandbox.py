"""What may the worker do? Compute. No network, no new programs, bounded memory, and it never outlives its parent."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import signal
import struct
from pathlib import Path

_CLONE_NEWNET, _CLONE_NEWUSER = 0x40000000, 0x10000000  # linux/sched.h
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP = 1, 38, 22  # linux/prctl.h
_SECCOMP_MODE_FILTER = 2

# linux/audit.h architecture, then the numbers of socket, execve, execveat, ptrace, io_uring_setup
_SYSCALLS = {
    "x86_64": (0xC000003E, (41, 59, 322, 101, 425)),
    "aarch64": (0xC00000B7, (198, 221, 281, 117, 425)),
}
_ALLOW, _DENY, _KILL = 0x7FFF0000, 0x00050001, 0x80000000  # deny with EPERM


def enter(parent: int) -> list[str]:
    """Before any library is imported: leave the network, die with the parent. Says what could be done on this system."""
    done = []
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET) == 0 or libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET) == 0:
        done.append("own empty network")
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) == 0:  # after unshare, which clears it
        done.append("dies with its parent")
    if os.getppid() != parent:  # it died before we asked
        os._exit(0)
    if libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        done.append("no new privileges")
    return done


def close(memory: int) -> list[str]:
    """After the imports, before the first model: `memory` more bytes of address space, no dumps, no files, no sockets, no programs."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGESIZE") + memory
    for which, value in ((resource.RLIMIT_AS, limit), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_FSIZE, 0)):
        resource.setrlimit(which, (value, value))
    return ["bounded memory", *(["no sockets, no programs"] if _filter() else [])]


def _filter() -> bool:
    """A seccomp filter; False where the kernel or the machine type does not know it."""
    architecture, denied = _SYSCALLS.get(platform.machine(), (0, ()))
    if not denied:
        return False
    count = len(denied)
    code = [(0x20, 0, 0, 4), (0x15, 1, 0, architecture), (0x06, 0, 0, _KILL)]  # load the architecture, go on if it is ours
    code += [(0x20, 0, 0, 0), (0x35, count + 1, 0, 0x40000000)]  # load the number; the x32 numbers would be a way around
    code += [(0x15, count - i, 0, number) for i, number in enumerate(denied)]
    code += [(0x06, 0, 0, _ALLOW), (0x06, 0, 0, _DENY)]
    packed = b"".join(struct.pack("<HBBI", *instruction) for instruction in code)
    buffer = ctypes.create_string_buffer(packed)
    program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(buffer))
    done: int = ctypes.CDLL(None).prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.create_string_buffer(program), 0, 0)
    return done == 0
