#!/usr/bin/env bash
# CubeCL's CUDA runtime links an LLVM that a build script (tracel-llvm-bundler) downloads from a release page. Where
# that page cannot be reached, this puts Debian's LLVM 22 in the place of the download: the build script finds it
# complete and fetches nothing. With the network there is no need for it.
#
#   tools/offline-llvm.sh                    always
#   tools/offline-llvm.sh --if-unreachable   only if the release page does not answer
#
# Needs apt-get, and root or sudo for it. Running it again changes nothing.
set -euo pipefail

lock=$(dirname "${BASH_SOURCE[0]}")/../Cargo.lock
version=$(sed -n '/^name = "tracel-llvm-bundler"$/{n;s/^version = "\(.*\)"$/\1/p;}' "$lock")
if [ -z "$version" ]; then
    echo "offline-llvm: no tracel-llvm-bundler in $lock" >&2
    exit 1
fi
dir=${XDG_DATA_HOME:-$HOME/.local/share}/tracel/tracel-llvm-$version
# The build script looks for this file and nothing else.
complete=$dir/.tracel-llvm-installed

if [ -e "$complete" ] && "$dir/bin/llvm-config" --version >/dev/null 2>&1; then
    echo "LLVM for tracel-llvm $version is in place: $dir"
    exit 0
fi
page=https://github.com/tracel-ai/tracel-llvm/releases/download/v$version/linux-x64.checksums.json
if [ "${1-}" = --if-unreachable ] && curl -fsSL --max-time 20 --output /dev/null "$page"; then
    echo "tracel-llvm $version can be downloaded; the build script will do so"
    exit 0
fi

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo)
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
    g++ libpolly-22-dev libxml2-dev libz3-dev libzstd-dev llvm-22-dev zlib1g-dev >/dev/null

mkdir -p "$dir/bin"
ln -sfn /usr/lib/llvm-22/lib "$dir/lib"
ln -sfn /usr/lib/llvm-22/include "$dir/include"
cat >"$dir/bin/llvm-config" <<'WRAPPER'
#!/bin/sh
# Debian names libz3 by its path; the build script expects -l flags.
flags=$(/usr/lib/llvm-22/bin/llvm-config "$@") || exit
echo "$flags" | sed -E 's#/[^ ]*/lib([A-Za-z0-9_+-]+)\.so#-l\1#g'
WRAPPER
chmod +x "$dir/bin/llvm-config"
touch "$complete"
echo "LLVM $("$dir/bin/llvm-config" --version) stands in for tracel-llvm $version: $dir"
