# Nothing was pulled, nothing was copied: each of the four containers has one layer of its own, over ours.
podman="podman --storage-opt=additionalimagestore=/usr/lib/hale/images"
$podman images
[ -z "$($podman images --format '{{.ReadOnly}}' | grep -v true)" ]
[ "$(python3 -c 'import json; print(len(json.load(open("/var/lib/containers/storage/overlay-layers/layers.json"))))')" = 4 ]
