#!/bin/bash
# The daemon and its units, with systemd's own tools but without a running systemd.
set -euo pipefail

fastallocd=${FASTALLOCD:?}
fastallocctl=${FASTALLOCCTL:?}
source_dir=${SOURCE_DIR:?}

dir=$(mktemp -d)
daemon=
cleanup() {
    [[ ! $daemon ]] || kill -KILL "$daemon" 2>/dev/null || true
    rm -rf "$dir"
}
trap cleanup EXIT

fail() {
    echo "FAILED: $*"
    [[ ! -s $dir/log ]] || sed 's/^/    /' "$dir/log"
    exit 1
}

# Without a service manager, whatever started this test.
unset NOTIFY_SOCKET LISTEN_PID LISTEN_FDS LISTEN_FDNAMES JOURNAL_STREAM

units_are_valid() {
    local units=$dir/units said
    mkdir "$units"
    cp "$source_dir"/systemd/fastallocd.{service,socket} "$units"
    sed -i "s|^ExecStart=/usr/bin/fastallocd\$|ExecStart=$fastallocd|" "$units/fastallocd.service"
    grep -qxF "ExecStart=$fastallocd" "$units/fastallocd.service" || fail "ExecStart isn't as expected"
    # It warns with success, too.
    said=$(SYSTEMD_LOG_LEVEL=warning systemd-analyze verify "$units"/fastallocd.* 2>&1) ||
        fail "systemd-analyze: $said"
    [[ $said != *fastalloc* ]] || fail "systemd-analyze: $said"
}

# A verification that never complains would be none.
wrong_units_are_noticed() {
    local said
    sed 's/^Accept=no/Acept=no/' "$source_dir/systemd/fastallocd.socket" >"$dir/units/fastallocd.socket"
    said=$(systemd-analyze verify "$dir"/units/fastallocd.* 2>&1) || true
    [[ $said == *Acept* ]] || fail "a wrong unit passes: $said"
}

activated_daemon_serves() {
    local socket=$dir/activated/default.sock name
    local environment=()
    for name in ASAN_OPTIONS LSAN_OPTIONS UBSAN_OPTIONS TSAN_OPTIONS; do
        [[ ! ${!name:-} ]] || environment+=(--setenv="$name=${!name}")
    done
    mkdir "$dir/activated"
    systemd-socket-activate --listen="$socket" "${environment[@]}" \
        "$fastallocd" --socket "$socket" 2>"$dir/log" &
    daemon=$!
    "$fastallocctl" --socket "$socket" ping >/dev/null || fail "an activated daemon doesn't answer"
    [[ $(readlink "/proc/$daemon/exe") == "$(readlink -f "$fastallocd")" ]] ||
        fail "somebody else answered"
    [[ -d $dir/activated/default.d ]] || fail "the daemon's state isn't beside its socket"

    # The socket is systemd's.
    kill -TERM "$daemon"
    wait "$daemon" || fail "the daemon ended with $?"
    daemon=
    [[ -S $socket ]] || fail "the daemon removed a socket that isn't its own"
}

# refused WORDS COUNT: a daemon with that LISTEN_FDS, and what is descriptor 3 here, says so and ends.
refused() {
    local words=$1 count=$2 status=0
    # shellcheck disable=SC2016 # the inner shell's pid is the daemon's
    LISTEN_FDS=$count timeout 20 bash -c 'LISTEN_PID=$$ exec "$@"' - \
        "$fastallocd" --socket "$dir/refused.sock" 2>"$dir/log" || status=$?
    ((status > 0 && status < 124)) || fail "LISTEN_FDS=$count: status $status"
    grep -q "^fastallocd: error: .*$words" "$dir/log" || fail "LISTEN_FDS=$count: not said why"
    [[ ! -e $dir/refused.sock ]] || fail "LISTEN_FDS=$count: a socket was made all the same"
}

garbage_is_refused() {
    refused "is not a number" x
    refused "is not a number" -1
    refused "is not a number" ""
    refused "more than one descriptor" 2 3</dev/null
    refused "not a socket" 1 3</dev/null
    refused "not open" 1 3<&-
}

units_are_valid
wrong_units_are_noticed
activated_daemon_serves
garbage_is_refused
