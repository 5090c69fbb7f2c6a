[ "$(df --output=size -B 1M / | tail -1)" -gt 2500 ]
# It is sound as it was grown, and stands where the boot process looks for it.
grep ' / ext4 rw' /proc/mounts
