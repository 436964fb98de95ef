#!/bin/bash
# The check on skipped tests notices one: a real ctest run with a test that exits 77.
set -euo pipefail

source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cat >"$dir/CTestTestfile.cmake" <<'END'
add_test(unit/test_passes true)
add_test(unit/test_skipped sh -c "exit 77")
set_tests_properties(unit/test_skipped PROPERTIES SKIP_RETURN_CODE 77)
END

# check NAMES ARGS...: a run with ctest's ARGS, and NAMES allowed to be skipped.
check() {
    local names=$1
    shift
    ctest --test-dir "$dir" --output-junit "$dir/junit.xml" "$@" >/dev/null || return 2
    printf '# comment\n%s\n' "$names" >"$dir/allowed"
    /usr/bin/python3 "$source_dir/tests/build/check_skips.py" "$dir/junit.xml" "$dir/allowed"
}

expect() {
    local want=$1 got=0
    shift
    check "$@" >"$dir/output" || got=$?
    if [[ $got != "$want" ]]; then
        cat "$dir/output"
        echo "FAILED: $got instead of $want: $*"
        exit 1
    fi
}

expect 0 'unit/test_skipped'
expect 0 'unit/test_skipped' -R skipped
expect 0 '' -R passes
expect 1 ''
grep -q 'unit/test_skipped' "$dir/output"
expect 1 'unit/test_skip'
expect 1 '' -R nothing_of_this_name

# A program that was never built is no pass either.
cat >>"$dir/CTestTestfile.cmake" <<'END'
add_test(unit/test_disabled true)
set_tests_properties(unit/test_disabled PROPERTIES DISABLED TRUE)
END
expect 1 'unit/test_skipped'
