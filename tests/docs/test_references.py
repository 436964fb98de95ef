#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What the documents refer to exists: the targets of their links, headings included, and each file, folder,
macro and function that they name in backquotes.

Then a document is changed, one fault at a time, and each fault must be noticed.
"""
import os
import pathlib
import re
import subprocess
import sys

SOURCE = pathlib.Path(os.environ.get("SOURCE_DIR") or pathlib.Path(__file__).parents[2]).resolve()
FOLDERS = ["bench", "client", "daemon", "docs", "proto", "shm", "systemd", "tests"]

LINK = re.compile(r"\[[^\]]+\]\(([^)\s]+)\)")
QUOTED = re.compile(r"`([^`\n]+)`")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PATH = re.compile(rf"(?:{'|'.join(FOLDERS)})/[\w./-]*")
WORD = re.compile(r"(?:FASTALLOC|LAYOUT|SLOT|REGISTRY|PROTOCOL|POOL|ERROR)_[A-Z_]+[A-Z]|fastalloc_\w+")

# Made up, in docs/hacking.md's example of a new message.
INVENTED = {"POOL_RESET", "POOL_RESET_REQUEST", "POOL_RESET_REPLY"}


def documents():
    folders = ["docs", "systemd", "bench"]
    return [SOURCE / "README.md", *(file for folder in folders for file in sorted((SOURCE / folder).rglob("*.md")))]


def anchors(text):
    """GitHub's: lower case, letters, digits, '_' and '-' alone, blanks as '-'."""
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def check_link(document, text, target):
    if re.match(r"https?://", target):
        return None
    path, _, anchor = target.partition("#")
    file = (document.parent / path) if path else document
    if not file.exists():
        return f"no such file: {target}"
    if anchor and anchor not in anchors(file.read_text() if path else text):
        return f"no such heading: {target}"
    return None


def check_quoted(quoted, code):
    if PATH.fullmatch(quoted) and not (SOURCE / quoted).exists():
        return f"no such file: {quoted}"
    for word in WORD.findall(quoted):
        if word not in code | INVENTED:
            return f"nowhere in the code: {word}"
    return None


def problems(document, text, code):
    found = [check_link(document, text, target) for target in LINK.findall(FENCED.sub("", text))]
    found += [check_quoted(quoted, code) for quoted in QUOTED.findall(FENCED.sub("", text))]
    return [f"{document.relative_to(SOURCE)}: {problem}" for problem in found if problem]


def words_of_the_code():
    files = subprocess.run(
        ["grep", "-rhoEw", "--include=*.[ch]", "[A-Za-z_][A-Za-z0-9_]+", *FOLDERS],
        cwd=SOURCE, capture_output=True, text=True, check=True).stdout
    # The errors' names are put together from the list.
    words = set(files.split())
    return words | {f"FASTALLOC_ERR_{word}" for word in words}


# ---- Seeded faults -------------------------------------------------------------------------------

FAULTS = [
    "[a file](docs/nowhere.md)",
    "[a heading](docs/architecture.md#nowhere)",
    "[a heading of its own](#nowhere)",
    "`daemon/nowhere.c`",
    "`FASTALLOC_NOWHERE`",
    "`fastalloc_nowhere`",
]


def check_seeded(code):
    document = SOURCE / "README.md"
    for fault in FAULTS:
        if len(problems(document, document.read_text() + f"\n{fault}\n", code)) != 1:
            print(f"not noticed, or not alone: {fault}")
            return 1
    return 0


def main():
    code = words_of_the_code()
    found = [problem for document in documents()
             for problem in problems(document, document.read_text(), code)]
    print("\n".join(found))
    return 1 if found else check_seeded(code)


if __name__ == "__main__":
    sys.exit(main())
