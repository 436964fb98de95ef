#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The table of limits in docs/architecture.md says what the code defines, as the compiler sees it, and what
other documents say of the same limits.

Then the table is changed, one fault at a time, and each fault must be noticed.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR") or pathlib.Path(__file__).parents[2]).resolve()
DOCUMENT = "docs/architecture.md"
ROW = re.compile(r"\| (?P<limit>[^|]+) \| (?P<number>[^|]+) \| [^|]+ \| `(?P<macro>\w+)` \| `(?P<file>[^`|]+)` \|")

# Sentences elsewhere that name a limit, and whose number that is.
ELSEWHERE = [
    ("README.md", r"A batch of up to ([\d,]+) is", "FASTALLOC_BATCH_MAX"),
    (DOCUMENT, r"after ([\d,]+) ms, then at doubled", "RECHECK_FIRST_MS"),
]


class Fault(Exception):
    pass


def number(text):
    """As people write it: 1,024, 2^30, 2^48 - 1."""
    match = re.fullmatch(r"(?:(\d{1,3}(?:,\d{3})*)|2\^(\d+)( - 1)?)", text.strip())
    if not match:
        raise Fault(f"this is no number: {text}")
    if match[1]:
        return int(match[1].replace(",", ""))
    return 2 ** int(match[2]) - (1 if match[3] else 0)


def table(text):
    """The rows below "## Limits", all of which must be of the table's form."""
    section = text.split("\n## Limits\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    rows = []
    for line in lines:
        match = ROW.fullmatch(line)
        if not match:
            raise Fault(f"this is no row of the table: {line}")
        rows.append(match)
    return rows


def definition(row):
    """A macro of a header is there by including it; one of a source by its own line."""
    text = (SOURCE / row["file"]).read_text()
    line = re.search(rf"^#define {row['macro']} .*$", text, re.MULTILINE)
    if not line:
        raise Fault(f"{row['file']} doesn't define {row['macro']}")
    return line[0] if row["file"].endswith(".c") else None


def program(rows):
    headers = sorted({row["file"] for row in rows if row["file"].endswith(".h")})
    lines = ["#include <stdio.h>"]
    for header in headers:
        public = header.split("/include/")
        lines.append(f"#include <{public[1]}>" if len(public) == 2 else f'#include "{header}"')
    lines += [line for line in map(definition, rows) if line]
    lines += ["int main(void)", "{"]
    lines += [f'printf("{row["macro"]} %llu\\n", (unsigned long long)({row["macro"]}));' for row in rows]
    return "\n".join(lines + ["return 0;", "}"]) + "\n"


def defined(rows):
    """What the compiler makes of each macro."""
    with tempfile.TemporaryDirectory() as directory:
        source, binary = pathlib.Path(directory, "limits.c"), pathlib.Path(directory, "limits")
        source.write_text(program(rows))
        flags = subprocess.run(["pkg-config", "--cflags", "libuv"], capture_output=True, text=True,
                               check=True).stdout.split()
        command = [os.environ.get("CC", "cc"), "-std=gnu11", "-D_GNU_SOURCE", source, "-o", binary, *flags]
        command += [f"-I{SOURCE / folder}" for folder in ("", "shm/include", "client/include")]
        subprocess.run(command, check=True)
        output = subprocess.run([binary], capture_output=True, text=True, check=True).stdout
    return {macro: int(value) for macro, value in map(str.split, output.splitlines())}


def check(text):
    rows = table(text)
    values = defined(rows)
    for row in rows:
        if number(row["number"]) != values[row["macro"]]:
            raise Fault(f"{row['limit']}: {row['number']}, but {row['macro']} is {values[row['macro']]}")
    for document, sentence, macro in ELSEWHERE:
        said = text if document == DOCUMENT else (SOURCE / document).read_text()
        match = re.search(sentence, said)
        if not match or number(match[1]) != values[macro]:
            raise Fault(f"{document} doesn't say {sentence} of {macro}, which is {values[macro]}")


# ---- Seeded faults -------------------------------------------------------------------------------

FAULTS = [
    ("another number", "| 1,024 | pools |", "| 1,025 | pools |"),
    ("another power", "| 2^40 |", "| 2^41 |"),
    ("one more", "| 2^48 - 1 |", "| 2^48 |"),
    ("no number", "| 8 | levels |", "| eight | levels |"),
    ("a macro that isn't", "`SCAN_DEPTH_MAX`", "`SCAN_DEEP_MAX`"),
    ("a macro of another file", "| `shm/slot.h` |", "| `shm/layout.h` |"),
    ("a row of another form", "| `proto/scan.h` |", "| proto/scan.h |"),
    ("another number in a sentence", "after 1 ms, then", "after 6 ms, then"),
]


def check_seeded(text):
    for name, old, new in FAULTS:
        if old not in text:
            raise Fault(f"there is no {old!r} to seed a fault in")
        try:
            check(text.replace(old, new, 1))
        except Fault:
            continue
        raise Fault(f"not noticed: {name}")


def main():
    text = (SOURCE / DOCUMENT).read_text()
    try:
        check(text)
        check_seeded(text)
    except Fault as fault:
        print(f"{DOCUMENT}: {fault}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
