# What a pod must not do to its machine: probe NAME POD ACT [TRACE [UNDO]].
#
# ACT is done in a pod, and by root of the host as the control: there it must go well. $H is the host's root as
# either sees it. TRACE finds the effect on the host; where there is none, the act itself must fail in the pod.
# UNDO takes the control's effect away. A probe may be judged only by what would harm nobody if it went well.

# Reads a file of the host's: reads NAME POD PATH.
reads() {
    probe "read-$1" "$2" "grep -q . \$H$3"
}
# Makes a file in a folder of the host's: writes NAME POD FOLDER.
writes() {
    probe "write-into-$1" "$2" "echo x > \$H$3/hale-probe" "[ -e $3/hale-probe ]" "rm $3/hale-probe"
}
# Opens a socket of a family: FAMILY TYPE PROTOCOL, by number.
opens() {
    probe "open-$1" plain "perl -e 'socket(S, $2, $3, $4) or exit 1'"
}

# An ordinary pod: what each of the capabilities would allow that it has not.
probe raise-capabilities plain 'call 126 hex:2205082000000000 hex:000020000000200000000000000000000000000000000000'
probe mount-a-file-system plain 'mkdir -p /tmp/hale-probe && mount -t tmpfs none /tmp/hale-probe' '' \
    'umount /tmp/hale-probe; rmdir /tmp/hale-probe'
probe make-a-user-namespace plain 'unshare --user true'
probe make-a-mount-namespace plain 'unshare --mount true'
probe make-a-network-namespace plain 'unshare --net true'
probe enter-its-own-namespace plain 'perl -e '"'"'
    sysopen(my $own, "/proc/self/ns/uts", 0) or exit 1;
    exit(syscall(308, fileno($own), 0) < 0)'"'"
probe open-a-tree plain 'call 428 -100 / 1'
probe open-a-new-file-system plain 'call 430 tmpfs 0'
probe change-the-root plain 'chroot /usr bin/true || perl -e "chroot(q(/usr)) or exit 1"'
probe make-a-character-device plain 'mknod /tmp/hale-probe c 1 3' '' 'rm /tmp/hale-probe'
probe give-a-file-away plain 'touch /tmp/hale-probe && chown 1:1 /tmp/hale-probe' '' 'rm /tmp/hale-probe'
probe read-what-is-closed-to-all plain '
    echo x > /tmp/hale-probe && chmod 0 /tmp/hale-probe && grep -q x /tmp/hale-probe' '' 'rm /tmp/hale-probe'
probe give-a-file-a-capability plain '
    touch /tmp/hale-probe &&
        perl -e '"'"'
            my ($path, $name) = ("/tmp/hale-probe", "security.capability");
            my $value = pack("H*", "0100000200040000000000000000000000000000");
            exit(syscall(188, $path, $name, $value, 20, 0) < 0)'"'" '' 'rm /tmp/hale-probe'
probe become-another-user plain 'setpriv --reuid 65534 --clear-groups true'
probe become-another-group plain 'setpriv --regid 65534 --clear-groups true'
probe run-sooner-than-others plain 'nice -n -20 perl -e "exit(getpriority(0, 0) != -20)"'
probe run-in-real-time plain 'call 144 0 1 hex:01000000'
probe raise-a-hard-limit plain 'perl -e '"'"'
    my $limit = pack("QQ", 0, 0);
    syscall(97, 7, $limit) == 0 or exit 1;
    my ($soft, $hard) = unpack("QQ", $limit);
    exit(syscall(160, 7, pack("QQ", $soft, $hard + 1)) < 0)'"'"
probe set-its-hosts-name plain 'call 170 "$NAME" ${#NAME}'
probe change-its-addresses plain 'ip link set lo mtu 65000' '' 'ip link set lo mtu 65536'
probe send-raw-packets plain 'perl -e "socket(S, 2, 3, 1) or exit 1"'
opens a-packet-socket 17 3 0x0300
opens the-audit 16 3 9
opens the-kernels-ciphers 38 5 0
opens the-hypervisor 40 1 0
opens the-keys-of-ipsec 15 3 2
probe leave-the-apparmor-profile plain '
    echo "changeprofile $PROFILE" > /proc/$$/attr/current
    grep -q "^$PROFILE" /proc/self/attr/current'
probe put-a-key-into-a-keyring plain 'call 248 user hale-probe x 1 -4'
probe measure-the-kernel plain 'perl -e '"'"'
    my $what = pack("LLQQQQQ", 1, 112, 0, 0, 0, 0, 1) . "\0" x 64;
    exit(syscall(298, $what, 0, -1, -1, 0) < 0)'"'"
probe load-a-bpf-map-without-privilege plain \
    "call 321 0 hex:0200000004000000040000000100000000000000$(printf %0104d 0) 72"
probe turn-accounting-off plain 'call 163 0'
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

# An ordinary pod that is shown the whole of the host: secrets.
reads passwords host /etc/shadow
reads the-administrators-key host /etc/kubernetes/admin.conf
reads the-clusters-key host /etc/kubernetes/pki/ca.key
reads the-key-of-tokens host /etc/kubernetes/pki/sa.key
reads the-key-of-the-front-proxy host /etc/kubernetes/pki/front-proxy-ca.key
reads the-key-of-etcds-authority host /etc/kubernetes/pki/etcd/ca.key
reads the-key-of-the-api-server host /etc/kubernetes/pki/apiserver-etcd-client.key
reads the-managers-key host /etc/kubernetes/controller-manager.conf
reads the-schedulers-key host /etc/kubernetes/scheduler.conf
reads the-key-of-encryption host /etc/kubernetes/apiserver/encryption.json
reads the-database host /var/lib/etcd/member/snap/db
reads the-databases-log host '/var/lib/etcd/member/wal/*.wal'
reads the-audit-log host '/var/log/kubernetes/*.log'
reads the-kubelets-key host /var/lib/kubelet/pki/kubelet-client-current.pem
reads another-pods-token host "$TOKEN"
reads a-configuration-of-the-runtime host '/var/lib/containers/storage/overlay-containers/*/userdata/config.json'
reads anothers-layer host '/var/lib/containers/storage/overlay/*/link'
reads a-bundle host '/run/containers/storage/overlay-containers/*/userdata/config.json'
reads the-journal host '/var/log/journal/*/system.journal'
probe open-by-handle host 'perl -e '"'"'
    my ($path, $handle, $mount) = ("$ENV{H}/etc/shadow", pack("Ll", 128, 0) . "\0" x 128, pack("l", 0));
    syscall(303, -100, $path, $handle, $mount, 0) == 0 or exit 1;
    sysopen(my $top, "$ENV{H}/", 0) or exit 1;
    exit(syscall(304, fileno($top), $handle, 0) < 0)'"'"

# What the host's root runs, reads or follows.
for folder in /etc /etc/cron.d /etc/systemd/system /etc/kubernetes/manifests /etc/cni/net.d /etc/crio/crio.conf.d \
    /etc/apt/apt.conf.d /usr/bin /usr/lib/hale /usr/lib/systemd/system /usr/lib/cni /root /boot /var/lib/dpkg \
    /var/lib/kubelet /var/lib/kubelet/pods /var/lib/containers /var/lib/hale /var/lib/etcd /var/log/pods \
    /run /run/crio /run/containers /run/hale /run/systemd/system; do
    writes "$(echo "${folder#/}" | tr / -)" host "$folder"
done
probe write-by-chroot host 'chroot $H/ /usr/bin/touch /etc/hale-probe' '[ -e /etc/hale-probe ]' \
    'rm /etc/hale-probe'
probe run-as-a-files-owner host '$H/var/lib/probes/touch $H/var/lib/probes/closed/hale-probe' \
    '[ -e /var/lib/probes/closed/hale-probe ]' 'rm /var/lib/probes/closed/hale-probe'
probe take-a-bundle-over host '
    for bundle in $H/run/containers/storage/overlay-containers/*/userdata; do
        mv $bundle/config.json $bundle/hale-probe && mv $bundle/hale-probe $bundle/config.json && exit 0
    done
    exit 1'
probe lead-a-control-pipe-elsewhere host '
    for bundle in $H/run/containers/storage/overlay-containers/*/userdata; do
        mv $bundle/ctl $bundle/hale-probe && mv $bundle/hale-probe $bundle/ctl && exit 0
    done
    exit 1'
probe change-an-image host 'chmod u+rwx $H/usr/lib/hale/images/images.lock || ls $H/usr/lib/hale/images/overlay >/tmp/said &&
    grep -q . /tmp/said'

# Sockets.
probe ask-the-runtime host 'crictl -r unix://$H/run/crio/crio.sock version'
probe start-a-unit host '
    DBUS_SYSTEM_BUS_ADDRESS=unix:path=$H/run/dbus/system_bus_socket busctl call org.freedesktop.systemd1 \
        /org/freedesktop/systemd1 org.freedesktop.systemd1.Manager StartUnit ss hale-probe.service replace &&
        sleep 5' '[ -e /run/hale-probe ]' 'rm /run/hale-probe'
probe ask-the-first-process host 'perl -e '"'"'
    socket(S, 1, 1, 0) && connect(S, pack("Sa*", 1, "$ENV{H}/run/systemd/private\0")) or exit 1'"'"
probe ask-the-device-manager host 'perl -e '"'"'
    socket(S, 1, 5, 0) && connect(S, pack("Sa*", 1, "$ENV{H}/run/udev/control\0")) or exit 1'"'"
probe offer-the-kubelet-a-device host 'perl -e '"'"'
    socket(S, 1, 1, 0) &&
        connect(S, pack("Sa*", 1, "$ENV{H}/var/lib/kubelet/device-plugins/kubelet.sock\0")) or exit 1'"'"

# The kernel's own folders, and devices.
probe read-a-disk host 'dd if=$H/dev/vda of=/dev/null bs=512 count=1'
probe open-a-disk-for-writing host 'perl -e '"'"'sysopen(D, "$ENV{H}/dev/vda", 2) or exit 1'"'"
probe read-memory host 'dd if=$H/dev/mem of=/dev/null bs=512 count=1'
probe read-the-kernels-log host 'dd if=$H/dev/kmsg of=/dev/null bs=8192 count=1'
probe write-into-the-kernels-log host 'echo hale-probe > $H/dev/kmsg' 'dmesg | grep hale-probe' 'dmesg --clear'
probe write-onto-the-console host 'echo hale-probe > $H/dev/console'
probe make-a-loop-device host 'perl -e '"'"'sysopen(L, "$ENV{H}/dev/loop-control", 2) or exit 1'"'"
probe make-a-tunnel host 'perl -e '"'"'
    sysopen(T, "$ENV{H}/dev/net/tun", 2) or exit 1;
    my $asked = pack("a16Sx22", "hale-probe", 0x1002);
    ioctl(T, 0x400454ca, $asked) or exit 1'"'"
probe set-a-sysctl host 'echo /hale-probe > $H/proc/sys/kernel/core_pattern' \
    'grep hale-probe /proc/sys/kernel/core_pattern' 'echo core > /proc/sys/kernel/core_pattern'
probe press-sysrq host 'echo h > $H/proc/sysrq-trigger' 'dmesg | grep -i "sysrq: help"' 'dmesg --clear'
probe read-the-first-process host 'grep -q . $H/proc/1/environ'
probe go-through-the-first-process host 'grep -q . $H/proc/1/root/etc/shadow'
probe choose-who-is-ended host 'echo -999 > $H/proc/self/oom_score_adj' '' 'echo 0 > /proc/self/oom_score_adj'
probe read-the-kernels-memory host 'dd if=$H/proc/kcore of=/dev/null bs=512 count=1'
probe load-an-apparmor-profile host 'echo "profile hale-probe {}" | cat > $H/sys/kernel/security/apparmor/.remove ||
    perl -e '"'"'sysopen(A, "$ENV{H}/sys/kernel/security/apparmor/.replace", 1) or exit 1'"'"
probe change-the-kernels-memory host 'echo 100 > $H/sys/kernel/mm/ksm/pages_to_scan'
probe change-a-link host 'echo 1400 > $H/sys/class/net/lxcbr0/mtu' 'grep 1400 /sys/class/net/lxcbr0/mtu' \
    'echo 1500 > /sys/class/net/lxcbr0/mtu'
probe leave-its-control-group host 'echo $$ > $H/sys/fs/cgroup/pids/cgroup.procs || echo $$ > $H/sys/fs/cgroup/cgroup.procs'
probe name-a-release-agent host '
    for agent in $H/sys/fs/cgroup/*/release_agent; do
        echo /hale-probe > $agent && exit 0
    done
    exit 1' 'grep hale-probe /sys/fs/cgroup/*/release_agent' '
    for agent in $(grep -l hale-probe /sys/fs/cgroup/*/release_agent); do echo > $agent; done'

# A privileged pod that is shown what it may be shown.
reads passwords-with-privilege privileged /etc/shadow
writes etc-with-privilege privileged /etc
probe write-behind-a-mount-of-its-own privileged '
    mkdir -p /tmp/hale-probe && mount --bind $H/boot /tmp/hale-probe && mount -o remount,bind,rw /tmp/hale-probe &&
        touch /tmp/hale-probe/hale-probe' '[ -e /boot/hale-probe ]' \
    'rm /boot/hale-probe; umount /tmp/hale-probe; rmdir /tmp/hale-probe'
probe make-a-block-device privileged '
    mknod /tmp/hale-probe b $(tr : " " < /sys/block/vda/dev) && dd if=/tmp/hale-probe of=/dev/null bs=512 count=1' '' \
    'rm /tmp/hale-probe'
probe read-a-disk-with-privilege privileged 'dd if=$H/dev/vda of=/dev/null bs=512 count=1'
probe press-sysrq-with-privilege privileged 'echo h > /proc/sysrq-trigger || echo h > $H/proc/sysrq-trigger' \
    'dmesg | grep -i "sysrq: help"' 'dmesg --clear'
probe set-a-sysctl-with-privilege privileged '
    echo /hale-probe > /proc/sys/kernel/core_pattern || echo /hale-probe > $H/proc/sys/kernel/core_pattern' \
    'grep hale-probe /proc/sys/kernel/core_pattern' 'echo core > /proc/sys/kernel/core_pattern'
probe load-a-module privileged 'modprobe dummy' 'grep "^dummy " /proc/modules' 'rmmod dummy'
probe load-a-bpf-map privileged "call 321 0 hex:0200000004000000040000000100000000000000$(printf %0104d 0) 72"
probe mount-control-groups privileged '
    mkdir -p /tmp/hale-probe && mount -t cgroup -o pids none /tmp/hale-probe && mkdir /tmp/hale-probe/hale-probe' \
    '[ -e /sys/fs/cgroup/pids/hale-probe ]' 'rmdir /tmp/hale-probe/hale-probe; umount /tmp/hale-probe; rmdir /tmp/hale-probe'
probe mount-a-disk privileged 'mkdir -p /tmp/hale-probe && mount -o ro /dev/vda1 /tmp/hale-probe || mount -o ro $H/dev/vda2 /tmp/hale-probe' '' \
    'umount /tmp/hale-probe; rmdir /tmp/hale-probe'
probe set-the-clock privileged 'date -s "@$(date +%s)"'
probe turn-off-ctrl-alt-del privileged 'call 169 0xfee1dead 672274793 0 0'
probe spread-a-mount spreading 'mount -t tmpfs none $H/var/lib/probes/spread' \
    'grep /var/lib/probes/spread /proc/mounts' 'umount /var/lib/probes/spread'
# The same where the runtime has mounted something, not the pod.
probe cover-shared-memory spreading 'mount -t tmpfs -o size=4244k none /dev/shm' \
    'grep size=4244k /proc/mounts' 'umount /dev/shm'

# Namespaces of the host's.
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
