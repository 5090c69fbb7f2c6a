# The image's listing has a line a path: path, type, mode, owner, and the digest or the target.
while read -r path _; do
    if [ -L "$path" ]; then echo "$path l 777 0:0 $(readlink "$path")"
    elif [ -d "$path" ]; then echo "$path d $(stat -c '%a %u:%g' "$path") -"
    elif [ -f "$path" ]; then echo "$path f $(stat -c '%a %u:%g' "$path") $(sha256sum < "$path" | cut -d' ' -f1)"
    else echo "$path is missing"
    fi
done < listing > /run/found
diff listing /run/found
