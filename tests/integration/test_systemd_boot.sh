#!/bin/bash
# The installed service under a real systemd: activation, permissions, restart, crash and stop.
set -euo pipefail

# shellcheck source=tests/lib/systemd_box.sh
source "${SOURCE_DIR:?}/tests/lib/systemd_box.sh"
box_enter "$0" "$@"

fail() {
    echo "FAILED: $*"
    box systemctl --no-pager --full status fastallocd.socket fastallocd.service || true
    box journalctl --no-pager -n 50 || true
    exit 1
}

install_service() {
    local root=$box_root/usr
    DESTDIR=$box_root cmake --install "${BUILD_DIR:?}" --prefix /usr >/dev/null
    [[ -x $root/bin/fastallocd && -x $root/bin/fastallocctl ]] || fail "the programs aren't installed"
    install -D -m 644 -t "$root/lib/systemd/system" "$SOURCE_DIR"/systemd/fastallocd.{service,socket}
    install -D -m 644 "$SOURCE_DIR/systemd/fastalloc.sysusers.conf" \
        "$root/lib/sysusers.d/fastalloc.conf"
}

# A process that has a pool mapped, until its standard input says that it may look at its object.
install_holder() {
    local sanitize=()
    [[ ! ${FASTALLOC_SANITIZE:-} ]] || sanitize=(-fsanitize="$FASTALLOC_SANITIZE")
    "${CC:-cc}" "${sanitize[@]}" -I"$box_root/usr/include" -x c - -x none \
        -o "$box_root/usr/bin/holder" "$(find "$box_root/usr/lib" -name libfastalloc.so)" <<'END'
#include <fastalloc/fastalloc.h>
#include <stdio.h>
#include <string.h>

int main(void)
{
    fastalloc_open_options_t options = FASTALLOC_OPEN_OPTIONS_INIT;
    fastalloc_error_t error = FASTALLOC_ERROR_INIT;
    fastalloc_connection_t *connection;
    fastalloc_pool_t *pool;
    fastalloc_handle_t handle;
    char *object;

    if (fastalloc_connect(NULL, &connection, &error) < 0 ||
        fastalloc_open(connection, "frames", &options, &pool, &error) < 0 ||
        fastalloc_allocate(pool, FASTALLOC_NOWAIT, &handle, &error) < 0) {
        printf("%s\n", error.message);
        return 1;
    }
    object = fastalloc_get(pool, handle);
    strcpy(object, "still here");
    printf("holding\n");
    fflush(stdout);
    getchar();
    printf("%s\n", object);
    fastalloc_close(pool);
    fastalloc_disconnect(connection);
    return 0;
}
END
}

# Any user of the machine.
as_nobody() {
    box setpriv --reuid nobody --regid nogroup --clear-groups "$@"
}

ping() {
    as_nobody fastallocctl ping >/dev/null || fail "$1: no answer"
}

is_active() {
    [[ $(box systemctl is-active "$1" || true) == active ]]
}

main_pid() {
    box systemctl show --property MainPID --value fastallocd.service
}

# is FILE MODE USER
is() {
    local found
    found=$(box stat --format '%a %U' "$1") || fail "$1 is missing"
    [[ $found == "$2 $3" ]] || fail "$1 is '$found', not '$2 $3'"
}

first_client_activates() {
    box systemctl enable --quiet --now fastallocd.socket
    is /run/fastalloc/default.sock 666 fastalloc
    ! is_active fastallocd.service || fail "nobody asked for the service yet"

    ping "first client"
    is_active fastallocd.service || fail "somebody else answered"
    is /run/fastalloc 755 fastalloc
    is /run/fastalloc/default.d 700 fastalloc
    [[ $(box ps -o user= -p "$(main_pid)") == fastall* ]] || fail "the daemon runs as another user"
}

restart_is_another_process() {
    local before
    before=$(main_pid)
    box systemctl restart fastallocd.service
    ping "after a restart"
    [[ $(main_pid) != "$before" ]] || fail "not restarted"
}

# wait_until SECONDS COMMAND...
wait_until() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
}

has_main_pid_other_than() {
    local pid
    pid=$(main_pid)
    [[ $pid != 0 && $pid != "$1" ]]
}

# By itself: no client asks for it. And not just once.
killed_daemon_comes_back() {
    local before try
    for try in {1..6}; do
        before=$(main_pid)
        box kill -KILL "$before"
        wait_until 10 has_main_pid_other_than "$before" || fail "kill $try was the end"
    done
    ping "after a kill"
}

nothing_is_left() {
    local left
    left=$(box find /dev/shm /run/fastalloc -mindepth 1 ! -name default.sock)
    [[ ! $left ]] || fail "$1: left is" "$left"
}

stopped_service_is_activated_again() {
    box systemctl stop fastallocd.service 2>/dev/null
    is /run/fastalloc 755 fastalloc
    is /run/fastalloc/default.sock 666 fastalloc
    nothing_is_left "after a stop"
    ping "after a stop"
}

# systemd removes neither the shared memory of the daemon's user nor the directory with its state.
memory_in_use_outlives_the_daemon() {
    local said
    as_nobody fastallocctl pool create frames --size 64 --capacity 8 >/dev/null
    coproc holder { as_nobody holder; }
    read -r said <&"${holder[0]}" || true
    [[ $said == holding ]] || fail "no pool to hold: $said"

    box systemctl stop fastallocd.service 2>/dev/null
    is /run/fastalloc/default.d 700 fastalloc
    [[ $(box find /dev/shm -user fastalloc -name 'fastalloc.*') ]] || fail "shared memory was removed"
    echo >&"${holder[1]}"
    read -r said <&"${holder[0]}" || true
    [[ $said == "still here" ]] || fail "the object is lost: $said"

    ping "after a stop while in use"
}

stopped_socket_stops_all() {
    box systemctl stop fastallocd.socket
    ! is_active fastallocd.service || fail "the daemon outlives its socket"
    ! box test -e /run/fastalloc/default.sock || fail "the socket is still there"
    is /run/fastalloc 755 fastalloc
    nothing_is_left "after the end"
}

service_starts_its_socket() {
    box systemctl start fastallocd.service
    is_active fastallocd.socket || fail "the daemon runs without its socket unit"
    ping "started without a client"
}

log_has_priorities() {
    local priorities
    priorities=$(box journalctl _SYSTEMD_UNIT=fastallocd.service --output json \
        --output-fields PRIORITY,MESSAGE --no-pager)
    [[ $priorities == *'"PRIORITY":"6"'* ]] || fail "no line of priority 6"
    [[ $priorities != *'"MESSAGE":"<'* ]] || fail "the journal doesn't understand the prefix"
    [[ $priorities != *'"PRIORITY":"3"'* ]] || fail "there was an error"
}

no_unit_failed() {
    local failed
    failed=$(box systemctl list-units --failed --no-legend --plain 'fastalloc*')
    [[ ! $failed ]] || fail "$failed"
}

box_make
install_service
install_holder
box_boot
box systemd-sysusers
first_client_activates
restart_is_another_process
killed_daemon_comes_back
stopped_service_is_activated_again
memory_in_use_outlives_the_daemon
stopped_socket_stops_all
service_starts_its_socket
log_has_priorities
no_unit_failed
