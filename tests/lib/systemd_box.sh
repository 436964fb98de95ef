# shellcheck shell=bash
# A machine in a box: a real systemd as process 1 of its own namespaces, on a copy-on-write view of
# this machine's root. To be sourced by a test:
#
#   box_enter "$0" "$@"      first of all; runs the test anew in a mount namespace of its own
#   box_make                 makes the root; what the test then puts below $box_root, it finds there
#   box_boot                 boots, as far as services can be started
#   box COMMAND...           runs a command in the booted machine, as root
#
# All of it is gone when the test ends, however that is: the file system is memory in the test's own
# namespace, and the processes die with the machine's process 1, which dies with the test.
#
# What the kernel refuses is a skip (77); what goes wrong later is a failure.

box_path=/usr/sbin:/usr/bin:/sbin:/bin
box_root=
box_base=   # $box_base/root is $box_root
box_cgroup= # the machine's control group
box_holder= # the process that waits for process 1
box_init=   # process 1, as it is called out here

box_skip() {
    echo "skipped: $*"
    exit 77
}

box_enter() {
    [[ ! ${BOX_ENTERED:-} ]] || return 0
    ((EUID == 0)) || box_skip "only root can make the namespaces"
    [[ -x /lib/systemd/systemd ]] || box_skip "there is no systemd here"
    unshare --mount --propagation private true 2>/dev/null || box_skip "mount namespaces are refused"
    BOX_ENTERED=1 exec unshare --mount --propagation private bash "$@"
}

box_make() {
    box_base=$(mktemp -d "/tmp/systemd_box.$$.XXXXXX")
    trap box_remove EXIT
    trap 'exit 130' INT TERM HUP
    mount -t tmpfs -o mode=755 tmpfs "$box_base" || box_skip "tmpfs is refused"
    mkdir "$box_base"/{root,upper,work,cgroup}
    box_root=$box_base/root
    mount -t overlay -o "lowerdir=/,upperdir=$box_base/upper,workdir=$box_base/work" overlay \
        "$box_root" || box_skip "overlays are refused"
    mount -t cgroup2 cgroup2 "$box_base/cgroup" || box_skip "control groups are refused"
    box_sweep
    mkdir "$box_base/cgroup/systemd_box.$$" || box_skip "control groups are refused"
    box_cgroup=$box_base/cgroup/systemd_box.$$

    # Nothing that this machine has set up may start in there: no enabled units, no generators.
    local dir
    for dir in run tmp dev etc/systemd/system usr/lib/systemd/system-generators; do
        mkdir -p "$box_root/$dir"
        mount -t tmpfs -o mode=755 tmpfs "$box_root/$dir"
    done
    chmod 1777 "$box_root/tmp"
    box_make_devices
    # With an id it is not the machine's first boot, which would enable units.
    tr -d - </proc/sys/kernel/random/uuid >"$box_root/etc/machine-id"
}

box_make_devices() {
    local node name major minor
    mkdir "$box_root"/dev/{pts,shm}
    mount -t tmpfs -o mode=1777 tmpfs "$box_root/dev/shm"
    for node in null:1:3 zero:1:5 full:1:7 random:1:8 urandom:1:9 tty:5:0; do
        IFS=: read -r name major minor <<<"$node"
        mknod -m 666 "$box_root/dev/$name" c "$major" "$minor" || box_skip "devices are refused"
    done
    ln -s pts/ptmx "$box_root/dev/ptmx"
    ln -s /proc/self/fd "$box_root/dev/fd"
}

# A test that was killed with SIGKILL leaves an empty control group and an empty directory.
box_sweep() {
    local left owner
    for left in "$box_base"/cgroup/systemd_box.* /tmp/systemd_box.*; do
        owner=${left##*/systemd_box.}
        [[ -d $left && ! -d /proc/${owner%%.*} ]] || continue
        find "$left" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done
}

box_remove() {
    trap - EXIT
    set +e
    if [[ $box_holder ]]; then
        kill -KILL "${box_init:-$box_holder}" 2>/dev/null
        wait "$box_holder" 2>/dev/null
    fi
    # The last processes may still be on their way out.
    local try
    for ((try = 0; try < 50; try++)); do
        [[ $box_cgroup && -d $box_cgroup ]] || break
        find "$box_cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.1
    done
    umount --recursive --lazy "$box_base" 2>/dev/null
    rmdir "$box_base"
}

# box_become_init ROOT PATH: runs as process 1 of the new namespaces, and becomes systemd.
box_become_init() {
    set -e
    cd "$1"
    mount -t proc proc proc
    # The kernel's settings aren't in any namespace: they stay as they are.
    local file
    for file in proc/sys proc/sysrq-trigger; do
        [[ -e $file ]] || continue
        mount --bind "$file" "$file"
        mount -o remount,bind,ro "$file"
    done
    mount -t sysfs -o ro sysfs sys
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t devpts -o newinstance,ptmxmode=0666,mode=620,gid=5 devpts dev/pts
    mkdir -p .outside
    pivot_root . .outside
    umount --lazy /.outside
    rmdir /.outside
    exec env -i container=systemd_box PATH="$2" \
        setpriv --bounding-set=-sys_module,-sys_time,-sys_rawio \
        /lib/systemd/systemd --unit=box.target </dev/null
}

box_boot() {
    cat >"$box_root/etc/systemd/system/box.target" <<'END'
[Unit]
Description=All that a test needs
Requires=basic.target
After=basic.target
END
    # The control group comes first, and without it nothing: a systemd in a group that it shares with
    # others would move them all into groups of its own.
    (
        echo "$BASHPID" >"$box_cgroup/cgroup.procs" &&
            exec setpriv --pdeathsig KILL \
                unshare --mount --pid --fork --kill-child=KILL --uts --ipc --net --cgroup \
                bash -c "$(declare -f box_become_init); box_become_init '$box_root' '$box_path'"
    ) >"$box_base/log" 2>&1 &
    box_holder=$!

    local deadline=$((SECONDS + 30))
    while [[ -d /proc/$box_holder ]] && ((SECONDS < deadline)); do
        box_find_init && box systemctl is-active box.target >/dev/null 2>&1 && return 0
        sleep 0.05
    done
    if grep -q 'unshare failed' "$box_base/log"; then
        box_skip "$(cat "$box_base/log")"
    fi
    cat "$box_base/log"
    echo "systemd did not come up"
    exit 1
}

# Fails while process 1 isn't systemd yet.
box_find_init() {
    read -r box_init <"/proc/$box_holder/task/$box_holder/children" 2>/dev/null || true
    box_init=${box_init%% *}
    [[ $box_init && $(cat "/proc/$box_init/comm" 2>/dev/null) == systemd ]]
}

box() {
    nsenter --all --target "$box_init" -- env -i PATH="$box_path" LC_ALL=C.UTF-8 "$@"
}
