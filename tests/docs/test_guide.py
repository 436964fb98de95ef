#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/guide.md answers each entry of the guide that it follows, and names for each a program or a test that is
there; each program of docs/examples is run by test_examples.sh.

Then the document is changed, one fault at a time, and each fault must be noticed.
"""
import os
import pathlib
import re
import sys

SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR") or pathlib.Path(__file__).parents[2]).resolve()
DOCUMENT = "docs/guide.md"
RUNNER = "tests/docs/test_examples.sh"
EXAMPLE = re.compile(r"docs/examples/(\w+)\.c")
TEST = re.compile(r"tests/\w+/test_\w+\.(?:c|py|sh)")
RUN = re.compile(r'"\$examples/(\w+)"')

# What the rows of each section begin with, in this order.
ENTRIES = {
    "What happens": ["`FixedPool`", "`GrowingPool`", "growth fails", "`ThreadSafePool`", "a timeout",
                     "`InvalidCapacity`, `InvalidAlignment`", "a pool that is there"],
    "Patterns": ["1 Fail fast", "2 Graceful degradation", "3 Wait and retry", "4 Pre-allocation",
                 "5 Growing with limits"],
    "Monitoring": ["`statistics()`", "`utilization_rate() > 0.9`", "`average_usage()`", "manual tracking",
                   "who has the slots?", "what is held for long?"],
    "Practices": ["size pools appropriately", "monitor in production", "set maximum limits",
                  "handle errors explicitly", "consider fallbacks", "separate pools for each type",
                  "pre-allocate for critical paths"],
    "Anti-patterns": ["ignoring errors", "undersizing a fixed pool", "an unbounded growing pool",
                      "retrying indefinitely"],
    "Recovery": ["1 increase the pool's size", "2 object lifecycle management", "3 prioritise allocations"],
    "Debugging": ["enable logging", "track allocation patterns", "assertions in development"],
    "Beyond the guide: objects between processes": ["hand over", "a stream", "leave behind", "share"],
}


class Fault(Exception):
    pass


def tables(text):
    """The rows of each section that has a table, without its head: lists of cells."""
    found = {}
    for section in text.split("\n## ")[1:]:
        lines = section.splitlines()
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if line.startswith("|")]
        if rows:
            found[lines[0]] = rows[2:]
    return found


def check_entries(found):
    if list(found) != list(ENTRIES):
        raise Fault(f"the sections with tables are {list(found)}")
    for section, rows in found.items():
        if len(rows) != len(ENTRIES[section]):
            raise Fault(f"{section}: {len(rows)} rows, not {len(ENTRIES[section])}")
        for row, entry in zip(rows, ENTRIES[section]):
            if not row[0].startswith(entry):
                raise Fault(f"{section}: {row[0]!r} stands where {entry!r} should")


def check_row(row, run):
    if len(row) != 3 or not row[1]:
        raise Fault(f"this row has no answer: {row[0]}")
    names = row[2].split(", ")
    for name in names:
        path = name.strip("`")
        example = EXAMPLE.fullmatch(path)
        if name != f"`{path}`" or not (example or TEST.fullmatch(path)):
            raise Fault(f"{row[0]}: this is neither a program nor a test: {name}")
        if not (SOURCE / path).exists():
            raise Fault(f"{row[0]}: no such file: {path}")
        if example and example[1] not in run:
            raise Fault(f"{row[0]}: {RUNNER} doesn't run {path}")


def check(text, runner):
    run = set(RUN.findall(runner))
    programs = {file.stem for file in (SOURCE / "docs/examples").glob("*.c")}
    if not programs <= run:
        raise Fault(f"{RUNNER} doesn't run {programs - run}")
    found = tables(text)
    check_entries(found)
    for rows in found.values():
        for row in rows:
            check_row(row, run)


# ---- Seeded faults -------------------------------------------------------------------------------

FAULTS = [
    ("a row less", re.compile(r"\| 2 Graceful.*\n"), ""),
    ("another entry", re.compile(r"\| 2 Graceful"), "| 2 Graceless"),
    ("a section less", re.compile(r"## Debugging\n"), ""),
    ("a test that isn't", re.compile(r"tests/unit/test_notice\.c"), "tests/unit/test_nothing.c"),
    ("a program that isn't", re.compile(r"docs/examples/grow\.c"), "docs/examples/shrink.c"),
    ("what is no test", re.compile(r"`docs/examples/grow\.c`"), "`README.md`"),
    ("nothing named", re.compile(r"`docs/examples/lifecycle\.c`"), "above"),
    ("no answer", re.compile(r"a ring of handles[^|]*\| "), "| "),
]


def check_seeded(text, runner):
    seeded = [(name, pattern.sub(new, text, count=1), runner) for name, pattern, new in FAULTS]
    seeded.append(("a program that isn't run", text, runner.replace('"$examples/grow"', "true")))
    for name, changed, run in seeded:
        if (changed, run) == (text, runner):
            raise Fault(f"there is nothing to seed a fault in: {name}")
        try:
            check(changed, run)
        except Fault:
            continue
        raise Fault(f"not noticed: {name}")


def main():
    text, runner = (SOURCE / DOCUMENT).read_text(), (SOURCE / RUNNER).read_text()
    try:
        check(text, runner)
        check_seeded(text, runner)
    except Fault as fault:
        print(f"{DOCUMENT}: {fault}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
