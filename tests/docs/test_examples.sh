#!/bin/bash
# The programs of docs/examples against a real daemon, as their head comments say.
set -euo pipefail

build_dir=${BUILD_DIR:?}
examples=$build_dir/examples
daemon=${FASTALLOCD:-}
tool=${FASTALLOCCTL:-}

if [[ ! -x $daemon || ! -x $tool || ! -x $examples/wait ]]; then
    echo "daemon, tool or examples aren't built: skipped"
    exit 77
fi

dir=$(mktemp -d)
daemon_pid=
writer_pid=
finish() {
    local pid
    for pid in $writer_pid $daemon_pid; do
        kill "$pid" 2>/dev/null || true
    done
    wait
    rm -rf "$dir"
}
trap finish EXIT

die() {
    echo "FAILED: $*"
    exit 1
}

# expect STATUS OUTPUT COMMAND...: what it prints, on both channels, is a pattern.
expect() {
    local status=0 output wanted_status=$1 wanted=$2
    shift 2
    output=$("$@" 2>&1) || status=$?
    # shellcheck disable=SC2053 # a pattern on purpose
    [[ $status == "$wanted_status" && $output == $wanted ]] ||
        die "$(printf '%s\n' "$*: exit status $status, not $wanted_status, or other output:" \
            "$output" "wanted:" "$wanted")"
}

# The statistics' number of that name.
statistic() {
    "$tool" --json stats "$1" | sed -n "s/^ *\"$2\": \([0-9]*\),*$/\1/p"
}

# begin_writer TEXT: sets `writer_pid` and `handle`, which the writer prints when the object is complete.
begin_writer() {
    local pipe=$dir/handle
    mkfifo "$pipe"
    "$examples/exchange_writer" "$1" >"$pipe" &
    writer_pid=$!
    read -r handle <"$pipe"
    rm "$pipe"
}

export FASTALLOC_SOCKET=$dir/fa.sock
"$daemon" --socket "$FASTALLOC_SOCKET" --log-level warning &
daemon_pid=$!
"$tool" ping >/dev/null

# ---- wait ---------------------------------------------------------------------------------------

expect 0 "fail fast: pool 'jobs' is exhausted: 1 of 1 slots allocated, *
degrade: on the heap
wait: pool 'jobs' had no room for 1 slot in time: *
stop: the request was cancelled while it waited in pool 'jobs'" "$examples/wait"
[[ $(statistic jobs timeouts) == 1 && $(statistic jobs total_waits) == 2 && $(statistic jobs current_usage) == 0 ]] || die "wait's statistics"

# ---- the policies of pools ----------------------------------------------------------------------

expect 0 "2 objects in 2 slots
3 objects in 4 slots
4 objects in 4 slots
5 objects in 5 slots
at the limit: 5 slots, 6 needed, 5 at most
the first one is still at 1, 2" "$examples/grow"
[[ $(statistic sprites growth_count) == 2 && $(statistic sprites allocation_failures) == 1 ]] ||
    die "grow's statistics"

expect 0 "normal: refused, 1 slot is reserved
critical: has the reserve
critical: the oldest spark is gone, the next one there" "$examples/priorities"
[[ $(statistic effects evictions) == 1 ]] || die "priorities' statistics"

expect 0 "3 shots of 5 are left, the oldest is number 3" "$examples/lifecycle"

expect 0 "current usage: 9/10, peak 9, 90% full
total allocations: 9, hit rate 1.00
nearly exhausted: 1 of 10 slots left
event: watermark-reached, 9 of 10" "$examples/monitor"

expect 0 "from a process that is gone" "$examples/handover"
[[ $(statistic letters reclaimed) == 0 ]] || die "the letter was taken back"

# ---- leased pools -------------------------------------------------------------------------------

expect 0 "100000 samples, sum 4999950000" "$examples/pipeline" 100000
[[ $(statistic samples total_allocations) == 100000 && $(statistic samples current_usage) == 0 ]] ||
    die "pipeline's statistics"

# ---- exchange -----------------------------------------------------------------------------------

expect 1 "exchange_reader: pool 'exchange' does not exist here; *" "$examples/exchange_reader" 1:0:0123456789abcdef
expect 2 'exchange_reader: usage: *' "$examples/exchange_reader" nonsense
expect 2 'exchange_writer: usage: *' "$examples/exchange_writer" "$(printf '%256s' x)"

begin_writer 'written in one process, read in another'
expect 0 '39 bytes, 7 words' "$examples/exchange_reader" "$handle"
expect 1 'exchange_reader: stale: *' "$examples/exchange_reader" "${handle%%:*}:7:${handle##*:}"

# Told to end, it frees the object itself.
kill "$writer_pid"
wait "$writer_pid" || die "the writer ended with $?"
expect 1 'exchange_reader: stale: *' "$examples/exchange_reader" "$handle"
[[ $(statistic exchange reclaimed) == 0 ]] || die "the writer left its object behind"

# Killed, it can't; the daemon does.
first=$handle
begin_writer 'once more'
[[ $handle != "$first" ]] || die "the same handle for another object"
expect 0 '9 bytes, 2 words' "$examples/exchange_reader" "$handle"
kill -KILL "$writer_pid"
wait "$writer_pid" 2>/dev/null || true
writer_pid=
deadline=$((SECONDS + 10))
until [[ $(statistic exchange reclaimed) == 1 ]] || ((SECONDS > deadline)); do :; done
[[ $(statistic exchange reclaimed) == 1 && $(statistic exchange current_usage) == 0 ]] ||
    die "the killed writer's object was not reclaimed"
expect 1 'exchange_reader: stale: *' "$examples/exchange_reader" "$handle"
