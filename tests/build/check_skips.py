#!/usr/bin/python3
"""Fails if a test of a ctest run was skipped, or did not run, without being allowed to.

Usage: check_skips.py JUNIT-FILE ALLOWED-FILE
"""

import sys
import xml.etree.ElementTree as ElementTree


def read_allowed(path):
    with open(path, encoding="utf-8") as lines:
        return {line.strip() for line in lines if line.strip() and not line.startswith("#")}


def main():
    junit, allowed_path = sys.argv[1:]
    allowed = read_allowed(allowed_path)
    cases = ElementTree.parse(junit).getroot().findall("testcase")
    if not cases:
        print("no test was run")
        return 1
    # ctest says "run" and "fail" of tests that ran; "notrun" and "disabled" of those that did not.
    not_run = {case.get("name") for case in cases if case.get("status") not in ("run", "fail")}
    wrong = sorted(not_run - allowed)
    for name in wrong:
        print(f"skipped, and not in {allowed_path}: {name}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
