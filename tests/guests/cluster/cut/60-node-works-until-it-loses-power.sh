# Its writers write, as they did; what is written here meanwhile may be lost.
dd if=/dev/urandom of=/var/lib/unsynced bs=64k count=500
pgrep -f 'openssl s_client'
