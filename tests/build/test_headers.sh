#!/bin/bash
# Each public header compiles alone, twice included, as strict C11 and as C++17, without a warning.
set -euo pipefail

source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
cc=${CC:-cc}
cxx=${CXX:-c++}
warnings=(-pedantic -Wall -Wextra -Wshadow -Wundef -Wcast-qual -Wwrite-strings -Werror)

# Uses each initialiser that the header defines, as a user would.
initialisers() {
    echo 'void fastalloc_test_initialisers(void);'
    echo 'void fastalloc_test_initialisers(void) {'
    sed -nE 's/^#define FASTALLOC_(\w+)_INIT .*/\1/p' "$1" | while read -r name; do
        echo "fastalloc_${name,,}_t ${name,,} = FASTALLOC_${name}_INIT; (void)${name,,};"
    done
    echo '}'
}

# compiles_alone ROOT HEADER
compiles_alone() {
    local includes=(-I"$1/shm/include" -I"$1/client/include") code
    code=$(
        printf '#include <%s>\n#include <%s>\n' "$2" "$2"
        initialisers "$(find "$1"/*/include -path "*/$2")"
    )
    "$cc" -std=c11 "${warnings[@]}" -Wstrict-prototypes "${includes[@]}" -fsyntax-only -x c - \
        <<<"$code" &&
        "$cxx" -std=c++17 "${warnings[@]}" "${includes[@]}" -fsyntax-only -x c++ - <<<"$code"
}

check_headers() {
    local wrong=0 path
    for path in "$1"/{shm,client}/include/fastalloc/*.h; do
        [[ -e $path ]] || continue
        if ! compiles_alone "$1" "fastalloc/${path##*/}"; then
            echo "$path does not compile alone"
            wrong=1
        fi
    done
    return $wrong
}

check_headers "$source_dir"

seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT
mkdir -p "$seeds"/{shm,client}/include/fastalloc

# must_fail CODE
must_fail() {
    echo "$1" >"$seeds/client/include/fastalloc/seed.h"
    if check_headers "$seeds" >/dev/null 2>&1; then
        echo "FAILED: not noticed: $1"
        exit 1
    fi
}

must_fail 'size_t fastalloc_seed(void);'
must_fail 'struct fastalloc_seed { int a; };'
must_fail $'#pragma once\nint *fastalloc_seed(int class);'
must_fail $'#pragma once\nint fastalloc_seed(void) __attribute__((no_such_thing));'
must_fail $'#pragma once\nstruct fastalloc_seed { int length; int bytes[0]; };'
must_fail $'#pragma once\ntypedef struct { int a, b; } fastalloc_seed_t;
#define FASTALLOC_SEED_INIT {.c = 1}'
