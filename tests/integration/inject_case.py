"""What the tests share that make system calls and allocations fail in a program: which one, in what
way, and what it was. The file is that of tests/inject/injection.h.
"""

import errno
import mmap
import os
import pathlib
import struct
import tempfile
import time

from protocol_client import DEADLINE

CALLS = os.environ.get("INJECT_CALLS", "")
MEMORY = os.environ.get("INJECT_MEMORY", "")
SANITIZED = bool(os.environ.get("FASTALLOC_SANITIZE"))
ERRORS = 4  # that one call can end with, at most
LASTING_ERRORS = 2

# (memory, lasting, choice): each way in which the n-th call fails. Sanitizers bring their own malloc.
WAYS = [(False, False, choice) for choice in range(ERRORS)] + [
    (False, True, choice) for choice in range(LASTING_ERRORS)]
if not SANITIZED:
    WAYS += [(True, False, 0), (True, True, 0)]
FIRST_ERRORS = [way for way in WAYS if way[2] == 0]
ONCE = [way for way in FIRST_ERRORS if not way[1]]


class Injection:
    """The file. Fields as in the struct."""

    FIELDS = {name: ("I", 4 * at) for at, name in enumerate(
        ("armed", "at_begin", "lasting", "choice", "resting", "rests", "number", "error", "memory",
         "pad"))}
    FIELDS.update({name: ("Q", 40 + 8 * at) for at, name in enumerate(("at", "calls", "failed"))})

    def __init__(self):
        handle, path = tempfile.mkstemp(prefix="inject-")
        self.path = pathlib.Path(path)
        os.ftruncate(handle, 72)
        self.mapping = mmap.mmap(handle, 72)
        os.close(handle)

    def remove(self):
        self.mapping.close()
        self.path.unlink()

    def __getitem__(self, name):
        return struct.unpack_from("<" + self.FIELDS[name][0], self.mapping, self.FIELDS[name][1])[0]

    def __setitem__(self, name, value):
        struct.pack_into("<" + self.FIELDS[name][0], self.mapping, self.FIELDS[name][1], value)

    def command(self, *command):
        """The command that runs that one so that its calls fail."""
        return [CALLS, self.path, *command]

    def environment(self):
        """What the command needs beside. In a process that is traced nobody can look for leaks."""
        if SANITIZED:
            return {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}
        return {"LD_PRELOAD": MEMORY, "FASTALLOC_INJECT_MEMORY": str(self.path)}

    def prepare(self, way, number, at_begin=False):
        self["memory"], self["lasting"], self["choice"] = way
        for name in ("armed", "rests", "calls", "failed", "number", "error"):
            self[name] = 0
        self["at"], self["at_begin"] = number, at_begin

    def arm(self, way, number):
        self.prepare(way, number)
        self["armed"] = True

    def disarm(self):
        self["armed"] = self["at_begin"] = False

    def is_over(self):
        """There was no n-th call."""
        return self["calls"] < self["at"]

    def wait_for_rest(self):
        """Until the program waits for something to happen."""
        deadline = time.monotonic() + DEADLINE
        while not self["resting"]:
            assert time.monotonic() < deadline, "it never comes to rest"
            time.sleep(0)

    def describe(self):
        """What failed, for the messages of the test."""
        what = "an allocation" if self["memory"] else \
            f"system call {self['number']} by {errno.errorcode.get(self['error'])}"
        return f"{what} failed, number {self['at']}" + (" and all after it" * self["lasting"])
