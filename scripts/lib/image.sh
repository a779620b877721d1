# The demo image: a real Debian with a compiler, in layers as people build them, made once and kept
# in the cache. Sourced after
# common.sh and registry.sh.
# shellcheck shell=bash

image_key=$(sha256sum "${BASH_SOURCE[0]}" | cut -c1-12)
# OCI layout with tag 1, the registry's storage, the unpacked tree, and figures in facts.
image_dir=$cache/image-$image_key

suite=bookworm
base_packages=ca-certificates,git,iputils-ping,less,perl,procps,python3,vim-tiny
# A package for the demo to install, which needs nothing else.
demo_package=hello

# Debian's package sources as this machine has them.
debian_sources() {
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' \
        'Origin: Debian' | awk -v suite="$suite" '$2 ~ "^" suite { print "deb", $1, $2, "main" }'
}

# Makes the image, unless it is there.
build_image() {
    local lock
    mkdir -p "$cache"
    # One builds, others wait for it.
    exec {lock}>"$cache/lock"
    flock "$lock"
    [ -e "$image_dir/facts" ] || make_image
    exec {lock}>&-
}

make_image() {
    local work
    rm -rf --one-file-system "$cache"/image-* "$cache"/making.*
    work=$(mktemp -d "$cache/making.XXXXXX")
    say "image: building it from Debian packages, which takes two or three minutes, once"
    build_layers "$work" || die "the image could not be built" "see $work/log"
    push_variants "$work" || die "the image could not be pushed" "see $work/log"
    jq -n --argjson unpacked "$(unpacked_bytes "$work/bundle/rootfs")" \
        --argjson layers "$(jq '.layers | length' "$work/manifest")" \
        --argjson compressed "$(jq '[.layers[].size] | add' "$work/manifest")" \
        '{unpacked: $unpacked, compressed: $compressed, layers: $layers}' >"$work/facts"
    rm -rf --one-file-system "$work/log"
    mv "$work" "$image_dir"
}

# Bytes that the regular files of a tree hold on disk, hard links once.
unpacked_bytes() { du -s --block-size=1 "$1" | cut -f1; }

# In the unpacked image, with its output in the log.
in_root() {
    env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LANG=C.UTF-8 \
        chroot "$root" "$@" >>"$log" 2>&1
}

layer() {
    umoci repack --refresh-bundle --history.created_by "$1" --image "$oci:1" "$bundle" \
        >>"$log" 2>&1
}

build_layers() {
    local oci=$1/oci bundle=$1/bundle root=$1/bundle/rootfs log=$1/log
    umoci init --layout "$oci" &&
        umoci new --image "$oci:1" &&
        umoci unpack --image "$oci:1" "$bundle" >>"$log" 2>&1 &&
        base_layer && packages_layer && application_layer && change_layer && data_layer &&
        umoci config --image "$oci:1" --config.cmd /bin/bash --config.workingdir /srv/app \
            --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
            --config.env LANG=C.UTF-8 --architecture "$(dpkg --print-architecture)" --os linux &&
        umoci gc --layout "$oci" >>"$log" 2>&1 &&
        rm -rf "$bundle" && umoci unpack --image "$oci:1" "$bundle" >>"$log" 2>&1 &&
        jq -r '.manifests[0].digest | sub(":"; "/")' "$oci/index.json" |
        while read -r blob; do cp "$oci/blobs/$blob" "$1/manifest"; done
}

base_layer() {
    # What a source is of is known only once its lists have been fetched.
    [ -n "$(debian_sources)" ] || apt-get update >>"$log" 2>&1
    debian_sources >"$bundle/sources" && [ -s "$bundle/sources" ] || return 1
    mmdebstrap --variant=minbase --include="$base_packages" --format=directory \
        "$suite" "$root" - <"$bundle/sources" >>"$log" 2>&1
    rm -f "$bundle/sources"
    layer 'a small Debian'
}

packages_layer() {
    local status=0
    cp /etc/resolv.conf "$root/etc/resolv.conf"
    in_root apt-get update &&
        in_root apt-get install -y --no-install-recommends gcc libc6-dev make &&
        in_root sh -c "mkdir -p /opt/debs && cd /opt/debs && apt-get download $demo_package" ||
        status=1
    in_root sh -c 'apt-get clean; rm -rf /var/lib/apt/lists/*' || status=1
    [ "$status" = 0 ] && layer 'a compiler, and a package to install'
}

application_layer() {
    in_root sh -c 'mkdir -p /srv/app/data && cd /srv/app && echo old >retired.conf &&
        for n in $(seq 40); do echo "$n" >"data/old-$n"; done &&
        echo "print(\"hello from the image\")" >hello.py && ln hello.py main.py' &&
        layer 'an application'
}

# Removals: a file of the layer below, and a directory of the base layer.
change_layer() {
    in_root sh -c 'rm /srv/app/retired.conf && rm -r /usr/share/doc/git' &&
        layer 'files removed'
}

# A directory that replaces all that stood in it: an opaque directory.
data_layer() {
    local new=$bundle/new
    mkdir "$new" && echo new >"$new/new" &&
        umoci insert --image "$oci:1" --opaque "$new" /srv/app/data >>"$log" 2>&1
}

# The image as people find it in registries: gzip (1), zstd, Docker's own manifest, plain tar layers
# and an index of two platforms.
push_variants() {
    local status=0
    start_registry "$1/registry" || return 1
    {
        copy "oci:$1/oci:1" "docker://$registry/debian-app:1" &&
            copy --format v2s2 "oci:$1/oci:1" "docker://$registry/debian-app:docker" &&
            push_recoded "$1" plain cat tar &&
            push_recoded "$1" zstd 'zstd -q' tar+zstd &&
            push_index
    } >>"$1/log" 2>&1 || status=1
    stop_registry
    return "$status"
}

copy() { skopeo copy --quiet --dest-tls-verify=false "$@"; }

# Adds a file to the layout $1 as a blob; prints its digest.
add_blob() {
    local digest
    digest=$(sha256sum "$2" | cut -d' ' -f1)
    cp "$2" "$1/blobs/sha256/$digest"
    echo "sha256:$digest"
}

# Pushes the image with its layers coded anew, as tag $2: by the command $3, as media type $4.
push_recoded() {
    local from=$1/oci to=$1/recoded manifest=$1/recoded/manifest.json layer digest
    mkdir -p "$to/blobs/sha256"
    cp "$from/oci-layout" "$to/"
    cp "$1/manifest" "$manifest"
    cp "$from/$(jq -r '.config.digest | "blobs/" + sub(":"; "/")' "$manifest")" "$to/blobs/sha256/"
    for layer in $(jq -r '.layers[].digest' "$manifest"); do
        gzip -dc "$from/blobs/${layer/://}" | $3 >"$to/layer"
        digest=$(add_blob "$to" "$to/layer")
        jq --arg old "$layer" --arg new "$digest" --argjson size "$(stat -c %s "$to/layer")" \
            --arg type "application/vnd.oci.image.layer.v1.$4" '(.layers[] |
                select(.digest == $old)) |= (.digest = $new | .size = $size | .mediaType = $type)' \
            "$manifest" >"$to/next"
        mv "$to/next" "$manifest"
    done
    digest=$(add_blob "$to" "$manifest")
    jq -n --arg digest "$digest" --argjson size "$(stat -c %s "$manifest")" \
        '{schemaVersion: 2, manifests: [{digest: $digest, size: $size,
            mediaType: "application/vnd.oci.image.manifest.v1+json",
            annotations: {"org.opencontainers.image.ref.name": "1"}}]}' >"$to/index.json"
    rm "$to/layer" "$manifest"
    copy --preserve-digests "oci:$to:1" "docker://$registry/debian-app:$2"
    rm -rf "$to"
}

# An index whose first entry is for another platform than any that exists.
push_index() {
    local type=application/vnd.oci.image.manifest.v1+json digest size url
    url=http://$registry/v2/debian-app/manifests
    size=$(curl -fsS -H "Accept: $type" "$url/1" | wc -c)
    digest=sha256:$(curl -fsS -H "Accept: $type" "$url/1" | sha256sum | cut -d' ' -f1)
    jq -n --arg digest "$digest" --argjson size "$size" --arg type "$type" \
        --arg architecture "$(dpkg --print-architecture)" \
        '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests:
            ([{os: "plan9", architecture: "mips"}, {os: "linux", architecture: $architecture}] |
                map({mediaType: $type, digest: $digest, size: $size, platform: .}))}' |
        curl -fsS -X PUT -H 'Content-Type: application/vnd.oci.image.index.v1+json' \
            --data-binary @- "$url/index"
}
