#!/bin/bash
# The virtual machine's first process after the root is mounted: brings up what
# programs expect of a system, runs the command, reports its exit status.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LBD_VM=1
# An emulated processor is an order of magnitude slower.
export LBD_PATIENCE=10
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir -p /dev/pts /dev/shm /run/lock
mount -t devpts devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf
mount -t tracefs tracefs /sys/kernel/tracing
ln -s /proc/self/fd /dev/fd
hostname vm
ip link set lo up

# The ports' numbers are the kernel's choice, their names are ours.
for port in /sys/class/virtio-ports/*; do
    case $(<"$port/name") in
        output) output=/dev/${port##*/} ;;
        status) report=/dev/${port##*/} ;;
    esac
done
bash /job/command </dev/null >"$output" 2>&1
status=$?

# What a WARN, a BUG or an oops begins with (lib/bug.c, arch/x86/kernel/dumpstack.c).
alarm=$(dmesg | grep --extended-regexp --after-context 20 'WARNING: |BUG: |kernel BUG at|Oops: ')
if [[ -n $alarm ]]; then
    printf 'vm: the kernel has logged:\n%s\n' "$alarm" >"$output"
    [[ $status != 0 ]] || status=126
fi
echo "$status" >"$report"
/job/busybox poweroff -f
