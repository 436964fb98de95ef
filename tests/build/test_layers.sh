#!/bin/bash
# The folder is the layer: who may include what.
#
#   shm         libc, its own headers
#   proto       shm, msgpack
#   daemon      shm, proto, libconfuse; libuv at the rim only
#   client      shm, proto, msgpack, its own headers
#   client/ctl  what a user of the library sees, jansson, its own headers
#
# With a directory as argument it checks that tree. Without one it checks this tree, and then that it
# notices a violation of each rule, seeded into a copy.
set -euo pipefail
export LC_ALL=C

source_dir=${SOURCE_DIR:-$(cd "$(dirname "$0")/../.." && pwd)}

# Headers of the C library, the kernel and the compiler, by name: whoever needs one more adds it.
libc='^<(alloca|assert|byteswap|complex|ctype|dirent|dlfcn|endian|err|errno|error|execinfo|fcntl|features'
libc+='|fenv|float|fnmatch|ftw|getopt|glob|grp|inttypes|iso646|langinfo|libgen|limits|link|locale|malloc|math'
libc+='|mntent|mqueue|netdb|poll|pthread|pwd|regex|sched|search|semaphore|setjmp|signal|spawn|stdalign'
libc+='|stdarg|stdatomic|stdbool|stddef|stdint|stdio|stdio_ext|stdlib|stdnoreturn|string|strings|syslog'
libc+='|termios|tgmath|threads|time|uchar|ucontext|unistd|utime|wchar|wctype'
libc+='|sys/[a-z_]+|linux/[a-z_]+|arpa/inet|netinet/(in|tcp)|asm/[a-z_]+)\.h>$'

# allowed FILE INCLUDE: INCLUDE as written, with its quotes or angle brackets.
allowed() {
    local file=$1 include=$2

    [[ $include == *..* || $include == *'"'*/include/* ]] && return 1
    [[ $include =~ $libc ]] && return 0

    case $file in
    shm/include/*) public_header_of shm "$include" ;;
    client/include/*) public_header_of client "$include" || public_header_of shm "$include" ;;
    docs/examples/*)
        [[ $include == '"'*'"' && $include != */* && -f $root/docs/examples/${include//\"/} ]] ||
            public_header_of client "$include" || public_header_of shm "$include"
        ;;
    shm/*) [[ $include == '"shm/'* ]] || public_header_of shm "$include" ;;
    proto/*)
        [[ $include == '"shm/'* || $include == '"proto/'* ]] ||
            [[ $include == '<msgpack.h>' || $include == '<msgpack/'* ]] ||
            public_header_of shm "$include"
        ;;
    daemon/*)
        [[ $include == '"shm/'* || $include == '"proto/'* || $include == '"daemon/'* ]] ||
            [[ $include == '<confuse.h>' ]] ||
            { [[ $include == '<uv.h>' ]] && rim "$file"; } ||
            public_header_of shm "$include"
        ;;
    client/ctl/*)
        [[ $include == '<jansson.h>' ]] ||
            [[ $include == '"'*'"' && $include != */* && -f $root/client/ctl/${include//\"/} ]] ||
            public_header_of client "$include" || public_header_of shm "$include"
        ;;
    client/*)
        [[ $include == '"client/ctl/'* ]] && return 1
        [[ $include == '"shm/'* || $include == '"proto/'* || $include == '"client/'* ]] ||
            [[ $include == '<msgpack.h>' || $include == '<msgpack/'* ]] ||
            public_header_of client "$include" || public_header_of shm "$include"
        ;;
    *) return 0 ;; # tests and benchmarks may look anywhere
    esac
}

public_header_of() {
    local name=${2#<}
    [[ $2 == '<fastalloc/'*'>' && -f $root/$1/include/${name%>} ]]
}

# Where the daemon meets its event loop.
rim() {
    [[ $1 =~ ^daemon/(main\.c|server\.[ch]|connection\.[ch])$ ]]
}

# Prints a line for each wrong include of the tree `root`, and fails if there is one.
check_tree() {
    local root=$1 wrong=0 file line text include
    while IFS=: read -r file line text; do
        text=${text#*include}
        text=${text%%//*}
        text=${text%%/\**}
        include=${text//[[:space:]]/}
        if ! allowed "$file" "$include"; then
            echo "$file:$line: must not include $include"
            wrong=1
        fi
    done < <(cd "$root" && find client daemon proto shm tests bench docs -name '*.[ch]' -print0 |
        xargs -0 -r grep -nHE '^[[:space:]]*#[[:space:]]*include' | sort)
    return $wrong
}

# ---- Seeded violations --------------------------------------------------------------------------

copy=

# must_pass FILE INCLUDE, must_fail FILE INCLUDE: the copy with this line in a new file of that name.
must_pass() {
    printf '#include %s\n' "$2" >"$copy/$1"
    check_tree "$copy" || { echo "FAILED: $1 may include $2"; exit 1; }
    rm "${copy:?}/$1"
}

must_fail() {
    local output saved=
    [[ -f $copy/$1 ]] && saved=$(mktemp) && cp "$copy/$1" "$saved"
    printf '  #  include %s // seeded\n' "$2" >>"$copy/$1"
    if output=$(check_tree "$copy") || [[ $(wc -l <<<"$output") != 1 || $output != "$1:"* ]]; then
        echo "FAILED: not noticed, or not alone: $1 includes $2"
        exit 1
    fi
    rm "${copy:?}/$1"
    if [[ $saved ]]; then
        mv "$saved" "$copy/$1"
    fi
}

check_seeded() {
    copy=$(mktemp -d)
    trap 'rm -rf "$copy"' EXIT
    local folder
    for folder in client daemon proto shm tests bench docs; do
        mkdir -p "$copy/$folder"
        [[ ! -d $source_dir/$folder ]] || cp -R "$source_dir/$folder/." "$copy/$folder"
    done
    mkdir -p "$copy"/{shm,client}/include/fastalloc "$copy/client/ctl" "$copy/docs/examples"
    touch "$copy/shm/include/fastalloc/seed_shm.h" "$copy/client/include/fastalloc/seed_client.h"
    touch "$copy/client/ctl/seed_ctl.h" "$copy/docs/examples/seed_example.h"
    check_tree "$copy"

    must_pass shm/seed.c '"shm/seed.h"'
    must_pass shm/seed.c '<fastalloc/seed_shm.h>'
    must_pass shm/seed.c '<sys/mman.h>'
    must_fail shm/seed.c '"proto/seed.h"'
    must_fail shm/seed.c '"daemon/seed.h"'
    must_fail shm/seed.c '"client/seed.h"'
    must_fail shm/seed.c '<fastalloc/seed_client.h>'
    must_fail shm/seed.c '<msgpack.h>'
    must_fail shm/seed.c '"seed.h"'
    must_fail shm/seed.h '"../proto/seed.h"'
    must_fail shm/seed.h '"shm/include/fastalloc/seed_shm.h"'

    must_pass proto/seed.c '<msgpack.h>'
    must_pass proto/seed.c '"shm/seed.h"'
    must_fail proto/seed.c '"daemon/seed.h"'
    must_fail proto/seed.c '"client/seed.h"'
    must_fail proto/seed.c '<fastalloc/seed_client.h>'
    must_fail proto/seed.c '<uv.h>'

    must_pass daemon/seed.c '"proto/seed.h"'
    must_pass daemon/server.h '<uv.h>'
    must_pass daemon/connection.c '<uv.h>'
    must_fail daemon/seed.c '<uv.h>'
    must_fail daemon/pool.h '<uv.h>'
    must_fail daemon/main.h '<uv.h>'
    must_fail daemon/server.c '"client/seed.h"'
    must_fail daemon/server.c '<fastalloc/seed_client.h>'
    must_fail daemon/seed.c '<msgpack.h>'
    must_fail daemon/seed.c '<jansson.h>'

    must_pass client/seed.c '"client/seed.h"'
    must_pass client/seed.c '<msgpack.h>'
    must_fail client/seed.c '"daemon/seed.h"'
    must_fail client/seed.c '"client/ctl/seed_ctl.h"'
    must_fail client/seed.c '<uv.h>'
    must_fail client/seed.c '<jansson.h>'

    must_pass client/ctl/seed.c '"seed_ctl.h"'
    must_pass client/ctl/seed.c '<fastalloc/seed_client.h>'
    must_pass client/ctl/seed.c '<jansson.h>'
    must_fail client/ctl/seed.c '"client/seed.h"'
    must_fail client/ctl/seed.c '"shm/seed.h"'
    must_fail client/ctl/seed.c '"proto/seed.h"'
    must_fail client/ctl/seed.c '"daemon/seed.h"'
    must_fail client/ctl/seed.c '<msgpack.h>'
    must_fail client/ctl/seed.c '<uv.h>'

    must_fail client/include/fastalloc/seed.h '<msgpack.h>'
    must_fail client/include/fastalloc/seed.h '"shm/seed.h"'
    must_fail client/include/fastalloc/seed.h '"client/seed.h"'
    must_fail shm/include/fastalloc/seed.h '<msgpack.h>'
    must_fail shm/include/fastalloc/seed.h '"shm/seed.h"'
    must_fail shm/include/fastalloc/seed.h '<fastalloc/seed_client.h>'

    must_pass docs/examples/seed.c '"seed_example.h"'
    must_fail docs/examples/seed.c '"seed_missing.h"'
    must_fail docs/examples/seed.c '"shm/seed.h"'
    must_fail tests/seed.c '"../shm/seed.h"'
    must_fail bench/seed.c '"../shm/seed.h"'
}

if (($# > 0)); then
    check_tree "$1"
else
    check_tree "$source_dir"
    check_seeded
fi
