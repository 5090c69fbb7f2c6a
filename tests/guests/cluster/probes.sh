# What a pod must not do to its machine: probe NAME POD ACT [TRACE [UNDO]].
#
# ACT is done in a pod, and by root of the host as the control: there it must go well. $H is the host's root as
# either sees it. TRACE finds the effect on the host; where there is none, the act itself must fail in the pod.
# UNDO takes the control's effect away. A probe may be judged only by what would harm nobody if it went well.

# CAP_SYS_ADMIN, which the pod has not.
probe raise-capabilities plain 'call 126 hex:2205082000000000 hex:000020000000200000000000000000000000000000000000'
probe mount-a-file-system plain 'mkdir -p /hale-probe && mount -t tmpfs none /hale-probe' '' \
    'umount /hale-probe; rmdir /hale-probe'
probe make-a-user-namespace plain 'unshare --user true'
probe send-raw-packets plain 'perl -e "socket(S, 2, 3, 1) or exit 1"'
probe leave-the-apparmor-profile plain '
    echo "changeprofile $PROFILE" > /proc/$$/attr/current
    grep -q "^$PROFILE" /proc/self/attr/current'
probe put-a-key-into-a-keyring plain 'call 248 user hale-probe x 1 -4'
probe start-300-processes plain 'perl -e '"'"'
    my @started;
    for (1 .. 300) {
        my $child = fork;
        last unless defined $child;
        if (!$child) { sleep 60; exit }
        push @started, $child;
    }
    kill 9, @started;
    exit(@started < 300)'"'"

# A privileged pod that is shown the whole of the host.
probe read-passwords privileged 'grep -q . $H/etc/shadow'
probe read-the-kubelets-key privileged 'grep -q . $H/var/lib/kubelet/pki/kubelet-client-current.pem'
probe read-the-administrators-key privileged 'grep -q . $H/etc/kubernetes/admin.conf'
probe write-a-file privileged 'echo x > $H/etc/hale-probe' '[ -e /etc/hale-probe ]' 'rm /etc/hale-probe'
probe write-by-chroot privileged 'chroot $H/ /usr/bin/touch /etc/hale-probe' '[ -e /etc/hale-probe ]' \
    'rm /etc/hale-probe'
probe write-behind-a-mount-of-its-own privileged '
    mkdir -p /hale-probe && mount --bind $H/usr /hale-probe && mount -o remount,bind,rw /hale-probe &&
        touch /hale-probe/hale-probe' '[ -e /usr/hale-probe ]' \
    'rm /usr/hale-probe; umount /hale-probe; rmdir /hale-probe'
probe open-by-handle privileged 'perl -e '"'"'
    my ($path, $handle, $mount) = ("$ENV{H}/etc/shadow", pack("Ll", 128, 0) . "\0" x 128, pack("l", 0));
    syscall(303, -100, $path, $handle, $mount, 0) == 0 or exit 1;
    sysopen(my $top, "$ENV{H}/", 0) or exit 1;
    exit(syscall(304, fileno($top), $handle, 0) < 0)'"'"
probe run-as-a-files-owner privileged '
    setpriv --reuid 65534 --regid 65534 --clear-groups $H/var/lib/probes/touch $H/var/lib/probes/closed/hale-probe' \
    '[ -e /var/lib/probes/closed/hale-probe ]' 'rm /var/lib/probes/closed/hale-probe'
probe make-a-device privileged '
    mknod /hale-probe b $(tr : " " < /sys/block/vda/dev) && dd if=/hale-probe of=/dev/null bs=512 count=1' '' \
    'rm /hale-probe'
probe read-a-disk privileged 'dd if=$H/dev/vda of=/dev/null bs=512 count=1'
probe read-memory privileged 'dd if=$H/dev/mem of=/dev/null bs=512 count=1'
probe write-into-the-kernels-log privileged 'echo hale-probe > $H/dev/kmsg' 'dmesg | grep hale-probe' \
    'dmesg --clear'
probe press-sysrq privileged 'echo h > /proc/sysrq-trigger || echo h > $H/proc/sysrq-trigger' \
    'dmesg | grep -i "sysrq: help"' 'dmesg --clear'
probe set-a-sysctl privileged '
    echo /hale-probe > /proc/sys/kernel/core_pattern || echo /hale-probe > $H/proc/sys/kernel/core_pattern' \
    'grep hale-probe /proc/sys/kernel/core_pattern' 'echo core > /proc/sys/kernel/core_pattern'
probe load-a-module privileged 'modprobe dummy' 'grep "^dummy " /proc/modules' 'rmmod dummy'
probe load-a-bpf-map privileged "call 321 0 hex:0200000004000000040000000100000000000000$(printf %0104d 0) 72"
probe name-a-release-agent privileged '
    for agent in $H/sys/fs/cgroup/*/release_agent /sys/fs/cgroup/*/release_agent; do
        echo /hale-probe > $agent && exit 0
    done
    exit 1' 'grep hale-probe /sys/fs/cgroup/*/release_agent' '
    for agent in $(grep -l hale-probe /sys/fs/cgroup/*/release_agent); do echo > $agent; done'
probe mount-control-groups privileged '
    mkdir -p /hale-probe && mount -t cgroup -o pids none /hale-probe && mkdir /hale-probe/hale-probe' \
    '[ -e /sys/fs/cgroup/pids/hale-probe ]' 'rmdir /hale-probe/hale-probe; umount /hale-probe; rmdir /hale-probe'
probe set-the-clock privileged 'date -s "@$(date +%s)"'
probe turn-off-ctrl-alt-del privileged 'call 169 0xfee1dead 672274793 0 0'
probe ask-the-runtime privileged 'crictl -r unix://$H/run/crio/crio.sock version'
probe start-a-unit privileged '
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=$H/run/dbus/system_bus_socket busctl call org.freedesktop.systemd1 \
        /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss hale-probe.service replace &&
        sleep 5' '[ -e /run/hale-probe ]' 'rm /run/hale-probe'
probe spread-a-mount spreading 'mount -t tmpfs none $H/var/lib/probes/spread' \
    'grep /var/lib/probes/spread /proc/mounts' 'umount /var/lib/probes/spread'

# The same where the runtime has mounted something, not the pod.
probe cover-shared-memory spreading 'mount -t tmpfs -o size=4244k none /dev/shm' \
    'grep size=4244k /proc/mounts' 'umount /dev/shm'

# Namespaces of the host's. A privileged pod with its network or its processes is none that could be started: the
# kernel lets no user namespace mount their /sys and /proc.
probe trace-a-process host-pid 'call 101 0x4206 $(cat $H/var/lib/probes/pid) 0 0'
probe read-an-environment host-pid 'grep -q . /proc/$(cat $H/var/lib/probes/pid)/environ'
probe enter-namespaces host-pid 'nsenter -t 1 -m touch /etc/hale-probe' '[ -e /etc/hale-probe ]' \
    'rm /etc/hale-probe'
probe end-a-process host-pid 'kill $(cat $H/var/lib/probes/pid) && sleep 1' \
    '! kill -0 $(cat /var/lib/probes/pid)'
probe remove-shared-memory host-ipc 'ipcrm --shmem-id $(cat $H/var/lib/probes/memory)' \
    '! grep "^ *[-0-9]* *$(cat /var/lib/probes/memory) " /proc/sysvipc/shm'
probe make-a-link host-network 'ip link add hale-probe type bridge' 'ip link show hale-probe' \
    'ip link delete hale-probe'
probe change-the-packet-filter host-network 'mkdir -p /run && iptables-nft -N HALE-PROBE' \
    'iptables-nft -S HALE-PROBE' 'iptables-nft -X HALE-PROBE'
probe listen-to-every-packet host-network 'perl -e "socket(S, 17, 3, 0x0300) or exit 1"'
probe open-a-low-port host-network 'perl -e '"'"'
    socket(S, 2, 1, 0) && bind(S, pack("SnA4x8", 2, 99, "\0\0\0\0")) or exit 1'"'"
probe name-the-host host-network 'call 170 hale-probe 10' '[ "$(uname -n)" = hale-probe ]' \
    'call 170 "$NAME" ${#NAME}'
probe make-a-link-with-privilege privileged-host-network 'ip link add hale-probe type bridge' \
    'ip link show hale-probe' 'ip link delete hale-probe'
