#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""docs/testing.md names tests that are there, numbers that they have, and commands that `./dev` has; and its tables of
hostile cases have each case of the programs, and no other.

Then the document is changed, one fault at a time, and the programs' cases likewise; each fault must be noticed.
"""
import ast
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR") or pathlib.Path(__file__).parents[2]).resolve()
DOCUMENT = "docs/testing.md"
FOLDERS = "unit|integration|build|docs|model|fuzz"
TEST = re.compile(rf"`((?:{FOLDERS})/\w+)`")
FILTER = re.compile(rf"-R '?((?:{FOLDERS})/\w+)")
COMMAND = re.compile(r"\./dev (\w+)")
SHOWN_BY = re.compile(rf"{TEST.pattern}(, {TEST.pattern})*|`{COMMAND.pattern}`")
EFFORT = 5  # of `./dev bar`
LEAST_CASES = 60

# The programs whose cases are listed, and the heading below which they are.
PROGRAMS = {
    "tests/integration/test_hostile.py": "### `tests/integration/test_hostile.py`",
    "tests/integration/test_hostile_methods.py": "### `tests/integration/test_hostile_methods.py`",
    "tests/integration/test_hold.c": "### `tests/integration/test_hold.c`",
    "tests/integration/test_neighbours.c": "### `tests/integration/test_neighbours.c`",
    "tests/unit/test_leasing_hostile.c": "### `tests/unit/test_leasing_hostile.c`",
    "tests/unit/test_client_hostile.c": "## Hostile daemons",
}
DAEMONS = "tests/unit/test_client_hostile.c"
MALFORMED = ("tests/integration/test_hostile.py", "### Bytes that are no messages")

# What the document says, where a number of the code stands for (...), and how many times as much it is.
NUMBERS = [
    (r"\| (\S+); \S+ kills \| `integration/test_daemon_storm`", "integration/test_daemon_storm.c", "KILLS", 1),
    (r"\| \S+; (\S+) kills \| `integration/test_daemon_storm`", "integration/test_daemon_storm.c", "KILLS", EFFORT),
    (r"\| (\S+); \S+ operations", "integration/test_daemon_storm.c", "OPERATIONS", 1),
    (r"\| \S+; (\S+) operations", "integration/test_daemon_storm.c", "OPERATIONS", EFFORT),
    (r"\| (\S+); \S+ kills \| `integration/test_session_storm`", "integration/test_session_storm.c", "KILLS", 1),
    (r"\| \S+; (\S+) kills \| `integration/test_session_storm`", "integration/test_session_storm.c", "KILLS", EFFORT),
    (r"\| (\S+); \S+ rounds of", "integration/test_chaos.c", "ROUNDS", 1),
    (r"\| \S+; (\S+) rounds of", "integration/test_chaos.c", "ROUNDS", EFFORT),
    (r"\| (\S+); \S+ pairs", "integration/test_neighbours.c", "PAIRS", 1),
    (r"\| \S+; (\S+) pairs", "integration/test_neighbours.c", "PAIRS", EFFORT),
    (r"\| (\S+); \S+ rounds \| `integration/test_neighbours`", "integration/test_neighbours.c", "CROWD_ROUNDS", 1),
    (r"\| \S+; (\S+) rounds \| `integration/test_neighbours`", "integration/test_neighbours.c", "CROWD_ROUNDS", EFFORT),
    (r"\| and beside many \| (\S+) clients", "integration/test_neighbours.c", "CROWD", 1),
    (r"\| (\S+) rounds each \| `integration/test_client_resume`", "integration/test_client_resume.c", "ROUNDS", 1),
    (r"\| (\S+) each \| `integration/test_session_death`", "integration/test_session_death.c", "DEATHS", 1),
    (r"\| (\S+) each \| `integration/test_session_process`", "integration/test_session_process.c", "TIMES", 1),
    (r"\| (\S+) kills \| `integration/test_lease_stress`", "integration/test_lease_stress.c", "KILLS", 1),
    (r"\| (\S+) steps a thread", "unit/test_lease_threads.c", "STEPS", 1),
    (r"\| (\S+) steps \| `unit/test_broker_random`", "unit/test_broker_random.c", "STEPS", 1),
]

# The same, where something else than a macro of a test says it.
ELSEWHERE = [
    (r"`\./dev fuzz`: (\S+) for scan", "dev", r"\[scan\]=(\d+)"),
    (r"for scan, (\S+) for each other", "dev", r"\[session\]=(\d+)"),
    (r"for scan, (\S+) for each other", "dev", r"\[client\]=(\d+)"),
    (r"for scan, (\S+) for each other", "dev", r"\[recovery\]=(\d+)"),
    (r"for scan, (\S+) for each other", "dev", r"\[config\]=(\d+)"),
    (r"at least (\S+) % \| `\./dev coverage`", "tests/build/coverage.py", r"^LEAST = (\d+)"),
]


class Fault(Exception):
    pass


# ---- What there is -------------------------------------------------------------------------------

def cases_of_python(tree):
    return [f"{part.name}.{method.name}" for part in tree.body if isinstance(part, ast.ClassDef)
            for method in part.body if isinstance(method, ast.FunctionDef) and method.name.startswith("test_")]


def cases_of(path):
    """Of a program in C those that its last lines give to the suite."""
    text = (SOURCE / path).read_text()
    if path.endswith(".py"):
        return cases_of_python(ast.parse(text))
    return re.findall(r"\btest_\w+", re.split(r"^(?:SUITE_MAIN|STAGE_MAIN)", text, flags=re.MULTILINE)[-1])


def malformed_cases():
    for part in ast.parse((SOURCE / MALFORMED[0]).read_text()).body:
        if isinstance(part, ast.Assign) and ast.unparse(part.targets[0]) == "MALFORMED":
            return [key.value for key in part.value.keys]
    raise Fault(f"{MALFORMED[0]} has no MALFORMED")


def programs():
    return {**{path: cases_of(path) for path in PROGRAMS}, MALFORMED[1]: malformed_cases()}


def number_of(file, macro):
    """The last definition: those before it are a sanitizer's."""
    found = re.findall(rf"^#define {macro} (?:UINT64_C\()?(\d+)", (SOURCE / "tests" / file).read_text(), re.MULTILINE)
    if not found:
        raise Fault(f"tests/{file} doesn't define {macro}")
    return int(found[-1])


# ---- What the document says ----------------------------------------------------------------------

def section(text, heading):
    """Its lines, up to the next heading."""
    parts = text.split(f"\n{heading}\n")
    if len(parts) != 2:
        raise Fault(f"there is not one heading {heading!r}")
    return re.split(r"^#", parts[1], maxsplit=1, flags=re.MULTILINE)[0]


def rows(text):
    """Of its table, without the head: lists of cells."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def compare(where, named, there):
    twice = {name for name in named if named.count(name) > 1}
    if twice:
        raise Fault(f"{where}: more than once: {sorted(twice)}")
    if set(named) != set(there):
        raise Fault(f"{where}: not in the table: {sorted(set(there) - set(named))}, "
                    f"nowhere else: {sorted(set(named) - set(there))}")


def check_cases(text, there):
    for path, heading in PROGRAMS.items():
        table = rows(section(text, heading))
        for row in table:
            if len(row) != (3 if path == DAEMONS else 4) or not all(row):
                raise Fault(f"{path}: a cell is missing: {row}")
        compare(path, [row[0].strip("`") for row in table], there[path])
    named = [name for row in rows(section(text, MALFORMED[1])) for name in re.findall(r"`(\w+)`", row[1])]
    compare(MALFORMED[1], named, there[MALFORMED[1]])


def said(text, pattern):
    match = re.search(pattern, text)
    if not match:
        raise Fault(f"it doesn't say {pattern}")
    return int(match[1].replace(",", ""))


def check_counts(text, there):
    clients = sum(len(cases) for name, cases in there.items() if name != DAEMONS)
    for pattern, count in ((r"`TestMalformed`: (\d+) cases", len(there[MALFORMED[1]])),
                           (r"\| (\d+) cases \| `integration/test_hostile`", clients),
                           (r"\| (\d+) cases \| `unit/test_client_hostile`", len(there[DAEMONS]))):
        if said(text, pattern) != count:
            raise Fault(f"there are {count}, where it says {pattern}")
    if clients < LEAST_CASES:
        raise Fault(f"no more than {clients} hostile cases")


def check_numbers(text):
    for pattern, file, macro, times in NUMBERS:
        if said(text, pattern) != times * number_of(file, macro):
            raise Fault(f"{times} times {macro} of {file} is {times * number_of(file, macro)}, where it says {pattern}")
    for pattern, file, there in ELSEWHERE:
        match = re.search(there, (SOURCE / file).read_text(), re.MULTILINE)
        if not match or said(text, pattern) != int(match[1]):
            raise Fault(f"{file} has {match and match[1]} for {there}, where it says {pattern}")


def check_promises(text):
    """Each row has an answer, numbers, and a test."""
    whole = text.split("\n## How each is tested\n")[1].split("\n## ")[0]
    for part in re.split(r"^### .*$", whole, flags=re.MULTILINE)[1:]:
        for row in rows(part):
            if len(row) != 4 or not all(row[1:]) or not SHOWN_BY.fullmatch(row[3]):
                raise Fault(f"a cell is missing, or names no test: {row}")


def check_tests(text):
    for name in TEST.findall(text) + FILTER.findall(text):
        folder, base = name.split("/")
        file = SOURCE / "tests" / folder / (f"fuzz_{base}" if folder == "fuzz" else base)
        if not any(file.with_suffix(suffix).exists() for suffix in (".c", ".py", ".sh")):
            raise Fault(f"no such test: {name}")


def check_commands(text, known):
    for command in COMMAND.findall(text):
        if f"\n  {command} " not in known:
            raise Fault(f"`./dev help` doesn't know {command}")


def check(text, there, known):
    check_cases(text, there)
    check_counts(text, there)
    check_numbers(text)
    check_promises(text)
    check_tests(text)
    check_commands(text, known)


# ---- Seeded faults -------------------------------------------------------------------------------

# What is wrong, the text it replaces, the text put there, and what the complaint must say.
FAULTS = [
    ("a case less", r"\| `TestGreed\.test_all_slots`.*\n", "", "not in the table: ['TestGreed.test_all_slots']"),
    ("a case that isn't", r"`TestGreed\.test_all_slots` \|", "`TestGreed.test_no_slots` |", "TestGreed.test_no_slots"),
    ("a case twice", r"(\| `TestGreed\.test_all_slots`.*\n)", r"\1\1", "more than once"),
    ("a case in C that isn't", r"`test_a_flood_is", "`test_a_drop_is", "test_a_drop_is"),
    ("nothing that must hold", r"(\| `test_full_backlog_passes`.*\|).*\|\n", r"\1\n", "a cell is missing"),
    ("bytes that aren't", r"`sixty_thousand_levels`", "`six_levels`", "six_levels"),
    ("another number of bytes", r"`TestMalformed`: \d+", "`TestMalformed`: 1", "TestMalformed"),
    ("another number of cases", r"\d+ cases \| `integration/test_hostile`", "7 cases | `integration/test_hostile`",
     "test_hostile"),
    ("another heading", r"## Hostile daemons\n", "## Daemons\n", "heading"),
    ("another number of kills", r"; 300 kills", "; 301 kills", "KILLS"),
    ("another number of inputs", r"2,000,000 for scan", "2,000,001 for scan", "scan"),
    ("no number of kills", r"60; 300 kills", "many", "it doesn't say"),
    ("a promise without a test", r"`unit/test_pool` \|", "of course |", "names no test"),
    ("a promise without numbers", r"\| 64 sizes and more \|", "| |", "a cell is missing"),
    ("a test that isn't", r"`unit/test_recovery`", "`unit/test_relapse`", "no such test: unit/test_relapse"),
    ("a fuzz target that isn't", r"`fuzz/scan`", "`fuzz/skim`", "no such test: fuzz/skim"),
    ("a filter that finds nothing", r"-R integration/test_daemon_storm", "-R integration/test_daemon_calm",
     "no such test"),
    ("a command that isn't", r"\./dev soak", "./dev drown", "doesn't know drown"),
]


def expect_fault(name, complaint, *arguments):
    try:
        check(*arguments)
    except Fault as fault:
        if complaint in str(fault):
            return
        raise Fault(f"{fault}\nwhere {name} was seeded, to be noticed by: {complaint}") from None
    raise Fault(f"not noticed: {name}")


def check_seeded(text, there, known):
    for name, old, new, complaint in FAULTS:
        changed = re.sub(old, new, text, count=1)
        if changed == text:
            raise Fault(f"there is nothing to seed a fault in: {name}")
        expect_fault(name, complaint, changed, there, known)
    for program in there:
        more = {**there, program: [*there[program], "test_of_something_new"]}
        expect_fault(f"a new case of {program}", "test_of_something_new", text, more, known)


def main():
    text = (SOURCE / DOCUMENT).read_text()
    known = subprocess.run([SOURCE / "dev", "help"], capture_output=True, text=True, check=True).stdout
    try:
        there = programs()
        check(text, there, known)
        check_seeded(text, there, known)
    except Fault as fault:
        print(f"{DOCUMENT}: {fault}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
