#!/bin/bash
# What is installed is complete: a program outside of the tree finds it with pkg-config and runs.
set -euo pipefail

build_dir=${BUILD_DIR:?}
cc=${CC:-cc}

if [[ ! -e $build_dir/lib/libfastalloc.so ]]; then
    echo "there is no library yet: skipped"
    exit 77
fi

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

cmake --install "$build_dir" --prefix "$dir/prefix" >/dev/null
pc=$(find "$dir/prefix" -name fastalloc.pc)
pkg() {
    PKG_CONFIG_PATH=${pc%/*} pkg-config "$@" fastalloc
}

{
    find "$dir/prefix/include/fastalloc" -name '*.h' -printf '#include <fastalloc/%P>\n'
    echo 'int main(void) { return 0; }'
} >"$dir/program.c"

sanitize=()
if [[ ${FASTALLOC_SANITIZE:-} ]]; then
    sanitize=(-fsanitize="$FASTALLOC_SANITIZE")
fi
# shellcheck disable=SC2046 # flags are several words
"$cc" -std=c11 "${sanitize[@]}" $(pkg --cflags) "$dir/program.c" -o "$dir/program" \
    -Wl,--no-as-needed $(pkg --libs) -Wl,-rpath,"$(pkg --variable=libdir)"
"$dir/program"

# The library as the dynamic linker finds it is the installed one, by its soname.
uses_installed_library() {
    local libraries
    libraries=$(ldd "$1") # whole, or grep -q would end ldd by SIGPIPE
    grep -q "libfastalloc.so.0 => $dir/prefix/" <<<"$libraries"
}
uses_installed_library "$dir/program"
tool=$dir/prefix/bin/fastallocctl
if [[ -e $tool ]]; then
    uses_installed_library "$tool"
fi
