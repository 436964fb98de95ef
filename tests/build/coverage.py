#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Says how many branches of the files that must not go wrong were taken both ways.

    coverage.py EXPORT.json SOURCE-DIRECTORY

The JSON is `llvm-cov export`'s. Fails below 95 %. Not counted: pool_check.c, whose laws hold in every
test, so that what happens when one doesn't can't be counted (each is shown failing in a test that ends
by it).
"""
import json
import pathlib
import re
import sys

SCOPE = re.compile(r"(shm|proto)/.*\.[ch]|daemon/(pool\w*|ledger|holders|store|ages|chain|tally|quota|"
                   r"journal|recovery|registry|attempt)\.[ch]")
EXCLUDED = {"daemon/pool_check.c"}
LEAST = 95.0


def missed(file):
    """(line, how) of each branch that was taken one way only, or none."""
    for line, _, _, _, taken, not_taken, *_ in file["branches"]:
        if taken == 0 or not_taken == 0:
            yield line, "never" if taken + not_taken == 0 else "never so" if taken == 0 else "always so"


def main():
    export, source = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2]).resolve()
    covered = count = 0
    for file in sorted(export["data"][0]["files"], key=lambda file: file["filename"]):
        path = pathlib.Path(file["filename"])
        name = str(path.relative_to(source)) if path.is_relative_to(source) else ""
        branches = file["summary"]["branches"]
        if not SCOPE.fullmatch(name) or name in EXCLUDED or branches["count"] == 0:
            continue
        covered += branches["covered"]
        count += branches["count"]
        print(f"{branches['percent']:6.1f} %  {branches['covered']:4} of {branches['count']:4}  {name}")
        lines = {}
        for line, how in missed(file):
            lines.setdefault(line, how)
        for line, how in sorted(lines.items()):
            print(f"            {name}:{line}: {how}")
    percent = 100 * covered / count if count else 0
    print(f"{percent:.1f} % of {count} branches; {LEAST:.0f} % is what must be")
    sys.exit(percent < LEAST)


if __name__ == "__main__":
    main()
