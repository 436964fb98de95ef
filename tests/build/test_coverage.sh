#!/bin/bash
# coverage.py fails below what must be; a header's branches are those of all that include it.
set -euo pipefail

source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT

# file NAME BRANCHES COUNT COVERED: as llvm-cov has it.
file() {
    echo '{"filename": "'"$box/$1"'", "branches": ['"$2"'],
        "summary": {"branches": {"count": '"$3"', "covered": '"$4"'}}}'
}

# expect STATUS TEXT FILES [LEAST]
expect() {
    local status=0 out
    echo '{"data": [{"files": ['"$3"']}]}' >"$box/export.json"
    out=$(/usr/bin/python3 "$source_dir/tests/build/coverage.py" "$box/export.json" "$box" "${@:4}") || status=$?
    [[ $status == "$1" && $out == *"$2"* ]] || {
        echo "FAILED: exit status $status, '$out', not $1 and '$2'"
        exit 1
    }
}

both='[1, 2, 1, 9, 5, 5, 0, 0, 4]'
yes='[1, 2, 1, 9, 5, 0, 0, 0, 4]'
no='[1, 2, 1, 9, 0, 5, 0, 0, 4]'
never='[3, 2, 3, 9, 0, 0, 0, 0, 4]'

expect 0 '100.0 % of 2 branches' "$(file shm/a.c "$both" 2 2)"
expect 1 'shm/a.c:1: always so' "$(file shm/a.c "$yes" 2 1)"
expect 1 'shm/a.c:1: never so' "$(file shm/a.c "$no" 2 1)"
expect 1 'shm/a.c:3: never' "$(file shm/a.c "$both, $never" 4 2)"
expect 0 '50.0 % of 2 branches' "$(file shm/a.c "$yes" 2 1)" 50
expect 1 '95.0 % of 40 branches' "$(file shm/a.c "$both" 40 38)" 96
expect 0 '95.0 % of 40 branches' "$(file shm/a.c "$both" 40 38)"
expect 0 '100.0 % of 2 branches' "$(file shm/a.h "$yes, $no" 2 1)"
expect 1 'shm/a.h:3: never' "$(file shm/a.h "$yes, $no, $never" 4 1)"
# What isn't asked for, and what is left out, counts for nothing; and nothing at all isn't enough.
expect 0 '100.0 % of 2 branches' \
    "$(file shm/a.c "$both" 2 2), $(file client/b.c "$never" 2 0), $(file daemon/pool_check.c "$never" 2 0)"
expect 1 '0.0 % of 0 branches' "$(file client/b.c "$both" 2 2)"
