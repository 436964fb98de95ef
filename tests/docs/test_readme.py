#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs what README.md and other documents tell the reader to do, and compares what they say comes out.

  ```console   lines with "$ " are run in one bash a document, in turn; the lines below are the output.
               A command for which none is shown must print nothing and succeed.
  ```sh        each line is run likewise, but its output isn't compared.
  ```c         the first line names the file, /* hello.c */; what a command does with it is up to it.

They run in a directory of their own that looks like the top of the tree, its name standing for /tmp.
Then the documents are changed, one fault at a time, and each fault must be noticed.
"""
import difflib
import os
import pathlib
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR") or pathlib.Path(__file__).parents[2]).resolve()
BUILD = pathlib.Path(os.environ["BUILD_DIR"]).resolve()
DOCUMENTS = ["README.md", "docs/hacking.md", "docs/testing.md"]
SECONDS = 60  # that a command may take
SECONDS_BEHIND = 5  # that output from the background may come after it

# Commands that aren't run: they build or test everything, install packages, or want a terminal.
NOT_RUN = [
    "cmake -S . -B build",
    "cmake --build build -j",
    "./dev demo",
    "./dev build",
    "./dev test",
    "./dev test -R unit/test_handle",
    "./dev test -L unit",
    "./dev asan",
    "./dev tsan",
    "./dev lint",
    "./dev coverage",
    "./dev fuzz",
    "./dev fuzz recovery -- -max_total_time=3600",
    "build/fuzz/tests/fuzz/fuzz_scan build/fuzz/artifacts/scan-crash-...",
    "./dev bar",
    "./dev soak 20",
    "./dev test -R integration/test_daemon_storm",
    "./dev test -R unit/test_recovery_steps",
    "./dev asan -R integration/test_hostile",
    "./dev tsan -R unit/test_lease_threads",
    "FASTALLOC_EFFORT=5 ./dev test -R integration/test_daemon_storm",
    ".ci/run",
    "CK_FORK=no gdb -ex 'break test_handle_text_form_round_trips_fn' -ex run build/tests/unit/test_handle",
    "CK_FORK=no gdb -ex run build/tests/unit/test_recovery",
]

# What differs from run to run, by name.
PLACEHOLDERS = [
    ("PID", re.compile(r"(?<=\bpid[= ])\d+")),
    ("UID", re.compile(r"(?<=\buid[= ])\d+")),
    ("TAG", re.compile(r"(?<=\d:)[0-9a-f]{16}\b")),
    ("CHECKS", re.compile(r"(?<=Checks: )\d+")),
]

SHELL = r"""
exec 3<&0 </dev/null
while IFS= read -r -d '' command <&3; do
    eval "$command"
    printf '%d\n' $? >&4
done
kill $(jobs -p) # whoever ran this has died
"""


class Fault(Exception):
    pass


def blocks(text):
    """Each fenced block: its language, the number of its first line, its lines."""
    language, start, lines = None, 0, []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.startswith("```"):
            lines.append(line)
        elif language is None:
            language, start, lines = line[3:].strip(), number + 1, []
        else:
            yield language, start, lines
            language = None


def commands(language, start, lines):
    """Each command of a block: its line's number, itself, the output shown; None: any."""
    if language == "sh":
        for number, line in enumerate(lines, start):
            command = line.split("#")[0].strip()
            if command:
                yield number, command, None
        return
    found = []
    for number, line in enumerate(lines, start):
        if line.startswith("$ "):
            found.append((number, line[2:], []))
        elif found:
            found[-1][2].append(line)
        else:
            raise Fault(f"{number}: output without a command before it")
    yield from found


def normalised(lines):
    result = []
    for line in lines:
        for name, pattern in PLACEHOLDERS:
            line = pattern.sub(name, line)
        result.append(line.rstrip())
    return result


class Session:
    """A bash in a directory that looks like the top of the tree."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="fa-docs."))
        for entry in SOURCE.iterdir():
            if entry.name not in ("build", ".git"):
                (self.directory / entry.name).symlink_to(entry)
        (self.directory / "build").symlink_to(BUILD)
        self.add_compiler()
        self.output = b""
        self.status_read, status_write = os.pipe()
        environment = {key: value for key, value in os.environ.items()
                       if not key.startswith(("FASTALLOC", "XDG_", "LISTEN_", "NOTIFY_", "JOURNAL_"))}
        environment["PATH"] = f"{self.directory}/.bin:{environment['PATH']}"
        self.shell = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", f"exec 4>&{status_write}\n{SHELL}"],
            cwd=self.directory, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, pass_fds=[status_write], start_new_session=True)
        os.close(status_write)

    def add_compiler(self):
        """`cc` is the compiler of this build, with its sanitizers, and warnings are errors."""
        flags = ["-Wall", "-Wextra", "-Werror"]
        if os.environ.get("FASTALLOC_SANITIZE"):
            flags.append(f"-fsanitize={os.environ['FASTALLOC_SANITIZE']}")
        compiler = shutil.which(os.environ.get("CC", "cc"))
        wrapper = self.directory / ".bin" / "cc"
        wrapper.parent.mkdir()
        wrapper.write_text(f'#!/bin/sh\nexec {compiler} {" ".join(flags)} "$@"\n')
        wrapper.chmod(0o755)

    def close(self):
        try:
            os.killpg(self.shell.pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        self.shell.communicate(timeout=SECONDS)
        os.close(self.status_read)
        self.purge()
        shutil.rmtree(self.directory)

    def purge(self):
        """A daemon that was stopped in the middle keeps what is in use."""
        for folder in self.directory.glob("*.d"):
            subprocess.run([BUILD / "bin/fastallocd", "--socket", folder.with_suffix(".sock"),
                            "--purge", "--log-level", "error"], check=True, timeout=SECONDS)

    def take(self, seconds):
        """Reads what there is of the output, and, if it is there, the exit status."""
        ready = select.select([self.shell.stdout, self.status_read], [], [], seconds)[0]
        if self.shell.stdout in ready:
            self.output += os.read(self.shell.stdout.fileno(), 65536)
        elif self.status_read in ready:
            data = os.read(self.status_read, 64)
            if not data:
                raise Fault("the shell ended")
            return int(data)
        return None

    def lines(self):
        text = self.output.decode(errors="replace").replace(f"{self.directory}/", "/tmp/")
        return text.splitlines()

    def run(self, command, shown):
        """Waits for the command, and for its output, if some of it comes from the background."""
        self.output = b""
        here = command.replace("/tmp/", f"{self.directory}/")
        self.shell.stdin.write(here.encode() + b"\0")
        self.shell.stdin.flush()
        status, end = None, time.monotonic() + SECONDS
        while status is None and time.monotonic() < end:
            status = self.take(1)
        if status is None:
            raise Fault(f"has not ended after {SECONDS} s")
        end = time.monotonic() + SECONDS_BEHIND
        while len(self.lines()) < len(shown or []) and time.monotonic() < end:
            self.take(0.1)
        return status


def compare(status, got, shown):
    if shown is None:
        if status != 0:
            raise Fault("\n".join([f"exit status {status}"] + got))
        return
    got, shown = normalised(got), normalised(shown)
    if got != shown:
        raise Fault("\n".join(difflib.unified_diff(shown, got, "shown", "printed", lineterm="")))
    if status != 0 and not shown:
        raise Fault(f"exit status {status}")


def check_block(session, language, start, lines, met):
    if language == "c":
        name = re.fullmatch(r"/\* (\w+\.c) \*/", lines[0])
        if not name:
            raise Fault(f"{start}: the first line of a program is to be its file's name")
        (session.directory / name[1]).write_text("\n".join(lines) + "\n")
    if language not in ("console", "sh"):
        return
    for number, command, shown in commands(language, start, lines):
        if command in NOT_RUN:
            met.add(command)
            continue
        try:
            status = session.run(command, shown)
            compare(status, session.lines(), shown)
        except Fault as fault:
            raise Fault(f"{number}: {command}\n{fault}") from None


def check_left(session):
    """The reader's daemon ends, and leaves nothing."""
    end = time.monotonic() + SECONDS
    left = True
    while left and time.monotonic() < end:
        left = [name for name in os.listdir(session.directory) if name.endswith((".sock", ".d"))]
    if left:
        raise Fault(f"0: left behind: {left}")


def check(document, text, met):
    session = Session()
    try:
        for language, start, lines in blocks(text):
            check_block(session, language, start, lines, met)
        check_left(session)
    except Fault as fault:
        raise Fault(f"{document}:{fault}") from None
    finally:
        session.close()


# ---- Seeded faults -------------------------------------------------------------------------------

# What is wrong, the text it replaces, the text put there, and what the complaint must say.
FAULTS = [
    ("another output", "Made pool frames: 100 slots", "Made pool frames: 101 slots",
     "-Made pool frames: 101 slots"),
    ("a line too much", "24 bytes, 4 words\n", "24 bytes, 4 words\nand more\n", "-and more"),
    ("a line too few", "24 bytes, 4 words\n", "", "+24 bytes, 4 words"),
    ("another command", "pool create frames --size 64K", "pool creat frames --size 64K",
     "+fastallocctl: unknown command"),
    ("an option that isn't", "--socket /tmp/fa.sock", "--sockets /tmp/fa.sock",
     "+build/bin/fastallocd: unrecognized option"),
    ("a program that doesn't compile", "fastalloc_free(pool", "fastalloc_release(pool",
     "fastalloc_release"),
    ("a program that does something else", "{1.5, 2.5}", "{1.5, 3.5}", "+a particle at 1.5, 3.5"),
    ("a command that fails", "./dev demo ", "./dev demos ", "exit status 2"),
    ("a daemon that isn't ended", "kill %1", "true %1", "-fastallocd: info: ending"),
]


def check_seeded():
    text = (SOURCE / "README.md").read_text()
    for name, old, new, complaint in FAULTS:
        if old not in text:
            raise Fault(f"README.md:0: there is no {old!r} to seed a fault in")
        try:
            check("README.md", text.replace(old, new, 1), set())
        except Fault as fault:
            if complaint in str(fault):
                continue
            raise Fault(f"{fault}\nwhere {name} was seeded, to be noticed by: {complaint}") from None
        raise Fault(f"README.md:0: not noticed: {name}")


def check_not_run(met):
    """At least they are in some document, and `./dev` knows them."""
    if met != set(NOT_RUN):
        raise Fault(f"NOT_RUN names what no document has: {set(NOT_RUN) - met}")
    known = subprocess.run([SOURCE / "dev", "help"], capture_output=True, text=True, check=True)
    for command in NOT_RUN:
        if command.startswith("./dev ") and f"\n  {command.split()[1]} " not in known.stdout:
            raise Fault(f"`./dev help` doesn't know {command}")


def main():
    if not all((BUILD / program).exists() for program in
               ("bin/fastallocd", "bin/fastallocctl", "examples/exchange_writer")):
        print("daemon, tool or examples aren't built: skipped")
        return 77
    met = set()
    try:
        for document in DOCUMENTS:
            check(document, (SOURCE / document).read_text(), met)
        check_not_run(met)
        check_seeded()
    except Fault as fault:
        print(fault)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
