# Read by log-in shells (/etc/profile): bash completes hale.
case "$-${BASH_VERSION-}" in
*i*?.*) eval "$(/usr/bin/hale completions)" ;;
esac
