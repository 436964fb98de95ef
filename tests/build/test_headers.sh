#!/bin/bash
# Each public header compiles alone, twice included, as strict C11 and as C++17, without a warning. Results
# that are ignored are warned of, and assertions are nothing with NDEBUG.
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

# Whether the statements compile, in a function, as both languages.
statements_compile() {
    local code includes=(-I"$source_dir/shm/include" -I"$source_dir/client/include")
    code=$(
        printf '#include <fastalloc/admin.h>\nvoid fastalloc_test(fastalloc_connection_t *, fastalloc_pool_t *);\n'
        printf 'void fastalloc_test(fastalloc_connection_t *connection, fastalloc_pool_t *pool) {\n'
        printf 'fastalloc_handle_t handle = FASTALLOC_HANDLE_NONE; (void)connection; (void)pool; (void)handle;\n'
        printf '%s\n}\n' "$1"
    )
    "$cc" -std=c11 "${warnings[@]}" "${@:2}" "${includes[@]}" -c -o /dev/null -x c - <<<"$code" 2>/dev/null &&
        "$cxx" -std=c++17 "${warnings[@]}" "${@:2}" "${includes[@]}" -c -o /dev/null -x c++ - <<<"$code" 2>/dev/null
}

while read -r call; do
    if ! statements_compile "if ($call) return;"; then
        echo "FAILED: does not compile: $call"
        exit 1
    fi
    if statements_compile "$call;"; then
        echo "FAILED: a result may be ignored: $call"
        exit 1
    fi
done <<'END'
fastalloc_connect(NULL, &connection, NULL)
fastalloc_open(connection, "pool", NULL, &pool, NULL)
fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handle, NULL)
fastalloc_allocate_many(pool, 1, FASTALLOC_NOWAIT, &handle, NULL)
fastalloc_allocate_with(pool, NULL, &handle, NULL)
fastalloc_try_allocate(pool, &handle, NULL)
fastalloc_adopt(pool, &handle, 1, NULL)
fastalloc_detach(pool, &handle, 1, NULL)
fastalloc_retain(pool, &handle, 1, NULL)
fastalloc_pool_create(connection, "pool", NULL, NULL)
fastalloc_pool_grow(connection, "pool", 1, 1, NULL)
END

for assertion in 'FASTALLOC_ASSERT_LEFT(missing, 1);' 'FASTALLOC_WARN_UNLESS_LEFT(missing, 1);'; do
    if ! statements_compile "${assertion/missing/pool}" -UNDEBUG || statements_compile "$assertion" -UNDEBUG ||
        ! statements_compile "$assertion" -DNDEBUG; then
        echo "FAILED: something without NDEBUG, nothing with it: $assertion"
        exit 1
    fi
done

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
