#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Says how many branches of the files that must not go wrong were taken both ways.

    coverage.py EXPORT.json SOURCE-DIRECTORY [LEAST]

The JSON is `llvm-cov export`'s. Fails below 95 %, or LEAST. What each program has of a function in a
header is added up. Not counted: pool_check.c, whose laws hold in every test, so that what happens when
one doesn't can't be counted (each is shown failing in a test that ends by it).
"""
import json
import pathlib
import re
import sys

SCOPE = re.compile(r"(shm|proto)/.*\.[ch]|daemon/(pool\w*|ledger|holders|store|ages|chain|tally|quota|"
                   r"journal|recovery|registry|attempt)\.[ch]")
EXCLUDED = {"daemon/pool_check.c"}
LEAST = 95.0


def branches_of(file):
    """(line, how often taken, how often not). A header's are those of all that include it, at one place each."""
    sums = {}
    for line, *place, taken, not_taken, _, _, _ in file["branches"]:
        before = sums.get((line, *place), (0, 0))
        sums[(line, *place)] = (before[0] + taken, before[1] + not_taken)
    return [(line, *counts) for (line, *_), counts in sums.items()]


def ways_of(file, branches):
    """How many there are, and were taken. A file's own sums have what comes of macros too."""
    if not file["filename"].endswith(".h"):
        return file["summary"]["branches"]["count"], file["summary"]["branches"]["covered"]
    return 2 * len(branches), sum((taken > 0) + (not_taken > 0) for _, taken, not_taken in branches)


def missed(branches):
    """(line, how) of each branch that was taken one way only, or none."""
    for line, taken, not_taken in branches:
        if taken == 0 or not_taken == 0:
            yield line, "never" if taken + not_taken == 0 else "never so" if taken == 0 else "always so"


def main():
    least = float(sys.argv[3]) if len(sys.argv) > 3 else LEAST
    export, source = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]).resolve()
    covered = count = 0
    for file in sorted(export["data"][0]["files"], key=lambda file: file["filename"]):
        path = pathlib.Path(file["filename"])
        name = str(path.relative_to(source)) if path.is_relative_to(source) else ""
        branches = branches_of(file)
        if not SCOPE.fullmatch(name) or name in EXCLUDED or not file["summary"]["branches"]["count"]:
            continue
        ways, taken = ways_of(file, branches)
        count += ways
        covered += taken
        print(f"{100 * taken / ways:6.1f} %  {taken:4} of {ways:4}  {name}")
        lines = {}
        for line, how in missed(branches):
            lines.setdefault(line, how)
        for line, how in sorted(lines.items()):
            print(f"            {name}:{line}: {how}")
    percent = 100 * covered / count if count else 0
    print(f"{percent:.1f} % of {count} branches; {least:.0f} % is what must be")
    sys.exit(percent < least)


if __name__ == "__main__":
    main()
