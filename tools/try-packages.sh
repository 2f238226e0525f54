#!/usr/bin/env bash
# The libraries as others will get them: packs each into a .crate file, unpacks these outside of the workspace, and lets
# the programs of `examples` depend on them in place of the sources here. All of it must type check, and `minimal`, which
# holds the README's snippet, must run.
#
#   tools/try-packages.sh
#
# `minimal` alone would do, but with all programs Burn has the features that it has in this workspace: with the same lock
# file, profiles and $CARGO_TARGET_DIR it is not compiled anew.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

libraries=(mamba-core mamba-blocks mamba-vision mamba-ts mamba-dna)
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' Cargo.toml | head -n 1)
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
outside=$CARGO_TARGET_DIR/try-packages

cargo package --quiet --no-verify --allow-dirty "${libraries[@]/#/-p}"

# The programs find the libraries by path; without it they ask the registry, as everyone does.
rm -rf "$outside"
mkdir -p "$outside"
tar -c --exclude=runs Cargo.lock Cargo.toml rust-toolchain.toml examples | tar -xC "$outside"
sed -Ei 's/, path = "[^"]*mamba-[a-z]+"//; /^    "(mamba-|book)/d' "$outside"/Cargo.toml "$outside"/examples/*/Cargo.toml
echo '[patch.crates-io]' >>"$outside/Cargo.toml"
for library in "${libraries[@]}"; do
    # Files in a package are years old; with the time of now (-m) cargo sees that they are others than last time.
    tar -xmzf "$CARGO_TARGET_DIR/package/$library-$version.crate" -C "$outside"
    echo "$library = { path = \"$library-$version\" }" >>"$outside/Cargo.toml"
done

cd "$outside"
cargo check --quiet --release --workspace
cargo build --quiet --release --workspace --bin minimal
"$CARGO_TARGET_DIR/release/minimal"
