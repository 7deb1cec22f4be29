#!/bin/busybox sh
# The virtual machine's first process: mounts the root, which is the outer
# machine's root read-only with a layer in memory above it, and goes on there.
/bin/busybox --install -s /bin
mkdir /proc /dev /lower /upper /root
mount -t proc proc /proc
mount -t devtmpfs devtmpfs /dev
for module in /modules/*; do
    insmod "$module"
done

fail() {
    echo "initramfs: $1" >/dev/console
    poweroff -f
}
# Nobody else writes to what we read, to speak of: pages may be kept (cache=loose).
mount -t 9p -o ro,trans=virtio,version=9p2000.L,msize=1048576,cache=loose root /lower ||
    fail "cannot mount the outer machine's root"
mount -t tmpfs -o size=75% upper /upper || fail "cannot mount a tmpfs"
mkdir /upper/layer /upper/work
mount -t overlay -o lowerdir=/lower,upperdir=/upper/layer,workdir=/upper/work root /root ||
    fail "cannot lay the writable layer over the root"

. /job/kernel
mkdir -p /root/proc /root/sys /root/dev /root/run /root/tmp /root/job "/root/lib/modules/$version"
cp -r /job/. /bin/busybox /root/job
mount --bind "/root$modules" "/root/lib/modules/$version" || fail "no modules in $modules"
umount /proc
mount --move /dev /root/dev
exec switch_root /root /job/init
