#!/bin/bash
# libfastalloc.so exports exactly what client/fastalloc.symbols lists, all of it called fastalloc_*.
set -euo pipefail
export LC_ALL=C

build_dir=${BUILD_DIR:?}
source_dir=${SOURCE_DIR:?}
library=$build_dir/lib/libfastalloc.so

if [[ ! -e $library ]]; then
    echo "there is no library yet: skipped"
    exit 77
fi

# Versioned names carry `@@FASTALLOC_0`; the version itself is an absolute symbol.
exported() {
    nm -D --defined-only "$1" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort
}

# check_library LIBRARY LIST
check_library() {
    local wrong=0
    if exported "$1" | grep -v '^fastalloc_'; then
        echo "exported, but not called fastalloc_*"
        wrong=1
    fi
    if ! diff -u --label "$2" --label "exported" "$2" <(exported "$1"); then
        wrong=1
    fi
    return $wrong
}

check_library "$library" "$source_dir/client/fastalloc.symbols"

# The same check must notice a symbol too many, one too few, and one with a wrong name.
seeds=$(mktemp -d)
trap 'rm -rf "$seeds"' EXIT

# seeded_check CODE NAMES
seeded_check() {
    echo "$1" | ${CC:-cc} -x c -shared -fPIC -o "$seeds/seed.so" -
    # shellcheck disable=SC2086 # one name a word
    printf '%s\n' $2 >"$seeds/list"
    check_library "$seeds/seed.so" "$seeds/list" >/dev/null
}

good='void fastalloc_a(void) {} void fastalloc_b(void) {}'
seeded_check "$good" 'fastalloc_a fastalloc_b'
if seeded_check "$good" 'fastalloc_a'; then
    echo "FAILED: a symbol too many is not noticed"
    exit 1
fi
if seeded_check "$good" 'fastalloc_a fastalloc_b fastalloc_c'; then
    echo "FAILED: a missing symbol is not noticed"
    exit 1
fi
if seeded_check "$good void slot_free(void) {}" 'fastalloc_a fastalloc_b slot_free'; then
    echo "FAILED: a foreign name is not noticed"
    exit 1
fi
