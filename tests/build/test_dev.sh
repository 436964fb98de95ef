#!/bin/bash
# dev works from wherever and however it is called. What it runs are stand-ins that tell of the call.
set -euo pipefail

source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}
box=$(mktemp -d)
trap 'rm -rf "$box"' EXIT
cd "$box"

# stand_in FILE: a program of the script on standard input.
stand_in() {
    mkdir -p "$(dirname "$1")"
    { echo '#!/bin/bash'; cat; } >"$1"
    chmod +x "$1"
}

fail() {
    echo "FAILED: $*"
    exit 1
}

# expect WHAT TEXT PATTERN
expect() {
    [[ $2 == *"$3"* ]] || fail "$1: no '$3' in: $2"
}

mkdir tree elsewhere
cp "$source_dir/dev" tree/dev
stand_in bin/dpkg-query <<<'echo installed'
stand_in bin/cmake <<<'echo "cmake $*"'
stand_in tree/build/bin/fastallocctl <<<'echo "$PWD: $*"'
stand_in tree/build/release/bench/bench_x <<<'echo "{}" >"$2"'
export PATH=$box/bin:$PATH
unset CI

# Files are the caller's.
out=$(cd elsewhere && ../tree/dev demo some/file 2>/dev/null)
expect demo "$out" "$box/elsewhere: demo some/file"
(cd elsewhere && ../tree/dev bench --json x.json x) 2>/dev/null
[[ -s elsewhere/x.json ]] || fail "bench --json: not where it was asked for"

# The tree is found whatever the way to it.
ln -s ../tree/dev elsewhere/link
out=$(elsewhere/link demo 2>/dev/null) || fail "by a symbolic link"
expect "by a symbolic link" "$out" "$box: demo"
out=$(CDPATH=$box bash tree/dev demo 2>/dev/null) || fail "with CDPATH"
expect "with CDPATH" "$out" "$box: demo"

# Warnings are errors in CI alone, whatever the build directory remembers.
expect "outside CI" "$(tree/dev build 2>&1)" -DFASTALLOC_WERROR=OFF
expect "in CI" "$(CI=true tree/dev build 2>&1)" -DFASTALLOC_WERROR=ON

# A build directory that came along from elsewhere is named.
echo "CMAKE_HOME_DIRECTORY:INTERNAL=$box/tree" >tree/build/CMakeCache.txt
tree/dev build 2>/dev/null || fail "a build directory that is right"
echo "CMAKE_HOME_DIRECTORY:INTERNAL=/nowhere" >tree/build/CMakeCache.txt
out=$(tree/dev build 2>&1) && fail "a build directory of another place was taken"
expect "of another place" "$out" "remove build/"

# Its functions hide no builtin of the shell.
while read -r name; do
    [[ $(type -t "$name") != builtin ]] || fail "the function $name hides the builtin"
done < <(sed -n 's/^\([a-z_]*\)() {$/\1/p' "$source_dir/dev")
