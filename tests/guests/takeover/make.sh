# Makes containers as CRI-O 1.17.4 does, as far as their bundles go, beside somebody who attacks them.
#   make.sh CONMON CRUN ATTACK once|race|never COUNT FOLDER
# once: the attack is done when CRI-O has given the bundle away, before anything else happens, and again when the container
# runs.
# race: it is tried again and again beside.
# Prints how many containers ran, and in how many cases the attack had an effect.
set -eu
conmon=$1 crun=$2 attack=$3 how=$4 count=$5
here=$6
root=/run/containers/storage/overlay-containers
copy=/var/lib/containers/storage/overlay-containers
nobody() { setpriv --reuid 10000000 --regid 10000000 --clear-groups --no-new-privs "$@"; }
strike() { [ "$how" != once ] || nobody perl "$here/attack.pl" "$attack" "$victim" 1 "$id"; }

mount --make-rprivate /
# crun refuses both kinds of control groups at once, though it is told to use none.
! mountpoint -q /sys/fs/cgroup/unified || umount /sys/fs/cgroup/unified
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p "$root" /run/crio/exits /run/trial /run/victims
mount -t tmpfs -o mode=755 tmpfs /var/lib/containers
mkdir -p "$copy"
chmod 0700 /run/containers /run/containers/storage "$root" /var/lib/containers "$copy"
chmod 0755 /run/trial
rootfs=/var/lib/containers/rootfs
mkdir -p "$rootfs/proc" "$rootfs/dev" "$rootfs/usr"
ln -s usr/bin usr/lib usr/lib64 "$rootfs/"
chmod 0711 /var/lib/containers

ids=
i=0
while [ "$i" -lt "$count" ]; do
    ids="$ids $(printf %064x "$i")"
    i=$((i + 1))
done
victim=/run/victims/file
echo untouched >"$victim"
# A hard link needs a file of one's own, or one that may be written to (fs.protected_hardlinks in proc(5)).
[ "$attack" != hard-link ] || chmod 0666 "$victim"
if [ "$how" = race ]; then
    # shellcheck disable=SC2086 # one id a word
    nobody perl "$here/attack.pl" "$attack" "$victim" 100000000 $ids &
    racer=$!
fi

effects=0 ran=0
for id in $ids; do
    bundle=$root/$id/userdata
    mkdir -p "$bundle" "$copy/$id/userdata"
    chmod 0700 "$copy/$id" "$copy/$id/userdata"
    cp "$here/config.json" "$copy/$id/userdata/config.json"
    cp "$here/config.json" "$bundle/config.json"
    # CRI-O: to the mapped root, and every folder above may be walked.
    chown 10000000:10000000 "$bundle"
    chmod 0711 "$root/$id" "$root" /run/containers/storage /run/containers /var/lib/containers
    strike
    cd "$bundle"
    timeout 20 "$conmon" -c "$id" -n "k8s_$id" -u "$id" -r "$crun" -b "$bundle" --persist-dir "$copy/$id/userdata" \
        -p "$bundle/pidfile" -P "$bundle/conmon-pidfile" -l "/run/trial/$id.log" --exit-dir /run/crio/exits \
        --socket-dir-path /run/crio --log-level error --runtime-arg --root=/run/crun \
        --runtime-arg --cgroup-manager=disabled --sync >"/run/trial/$id.out" 2>&1 &
    monitor=$!
    cd /
    # It is made, or refused.
    n=0
    until "$crun" --root=/run/crun state "$id" >/dev/null 2>&1 || ! kill -0 "$monitor" 2>/dev/null || [ "$n" -ge 300 ]; do
        n=$((n + 1))
        sleep 0.02
    done
    if "$crun" --root=/run/crun start "$id" >>"/run/trial/$id.out" 2>&1; then
        ran=$((ran + 1))
        strike
        # CRI-O: the log is opened anew, and the terminal has another size.
        for fifo in ctl winsz; do
            timeout 1 sh -c "echo '2 0 0' >>'$bundle/$fifo'" || true
        done
    fi
    [ "$(cat "$victim")" = untouched ] || effects=$((effects + 1))
    echo untouched >"$victim"
    "$crun" --root=/run/crun delete --force "$id" >/dev/null 2>&1 || true
    wait "$monitor" 2>/dev/null || true
    touch "/run/trial/$id.over"
    rm -rf "${root:?}/$id" "${copy:?}/$id"
done
[ "$how" != race ] || kill "$racer" 2>/dev/null || true
echo "effects $effects of $count, ran $ran, refused $(cat /run/hale/refused 2>/dev/null | wc -l)"
tail -n 3 /run/trial/*.out 2>/dev/null | tail -n 12 >&2
