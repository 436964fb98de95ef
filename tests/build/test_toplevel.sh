#!/bin/bash
# The top level of the repository is a fixed list of names.
set -euo pipefail
export LC_ALL=C

source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}

allowed='bench
client
daemon
docs
proto
shm
systemd
tests
CMakeLists.txt
CMakePresets.json
LICENSE
README.md
dev
.ci
.clang-format
.clang-tidy
.editorconfig
.gitignore'

# Reads tracked paths; prints the top-level names that are not in the list, and fails if there is one.
check_names() {
    ! cut -d/ -f1 | sort -u | grep -vxF "$allowed"
}

tracked() {
    git -c safe.directory='*' -C "$source_dir" ls-files
}

if ! tracked >/dev/null 2>&1; then
    echo "not a git repository: skipped"
    exit 77
fi

echo "Not allowed at the top level (nothing should follow):"
tracked | check_names

for seed in src/main.c Makefile .hidden notes.md; do
    if { tracked; echo "$seed"; } | check_names >/dev/null; then
        echo "FAILED: not noticed: $seed"
        exit 1
    fi
done
