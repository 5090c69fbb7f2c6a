# Does one act of a probe; `call` makes a system call: numbers, bytes as hex:…, or texts.
call() {
    perl -e '
        my @words = map {
            /^-?\d+$/ ? $_ + 0 : /^0x[0-9a-f]+$/ ? hex : /^hex:(.*)/ ? pack("H*", $1) : $_
        } @ARGV;
        my $number = shift @words;
        exit(syscall($number, @words) < 0)' "$@"
}
export H PROFILE
. "$1"
