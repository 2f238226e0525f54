#!/usr/bin/env bash
# Builds mamba-ssm and causal-conv1d from their source packages for one GPU architecture.
#
#   build_peers.sh SDISTS TARGET [BUILT]
#
# SDISTS  folder with mamba_ssm-*.tar.gz and causal_conv1d-*.tar.gz (README.md tells how to get them)
# TARGET  folder to fill: TARGET/python goes on PYTHONPATH, TARGET/built keeps the compiled extensions
# BUILT   TARGET/built of an earlier run with the same Python and PyTorch: nothing is compiled
#
# PYTHON (python3), ARCH (90) and MAX_JOBS (all cores) may be set. Needs PyTorch with CUDA, nvcc and ninja.
set -euo pipefail

sdists=$(realpath "$1")
mkdir -p "$2"
target=$(realpath "$2")
built=${3:+$(realpath "$3")}
python=${PYTHON:-python3}
arch=${ARCH:-90}
export MAX_JOBS=${MAX_JOBS:-$(nproc)}
export TORCH_CUDA_ARCH_LIST="${arch:0:-1}.${arch: -1}"
# The packages' own switches: compile, do not look for a ready wheel.
export MAMBA_FORCE_BUILD=TRUE CAUSAL_CONV1D_FORCE_BUILD=TRUE
# Split extensions so that no part is larger.
part_bytes=$((15 * 1024 * 1024))

rm -rf "$target/src" "$target/python"
mkdir -p "$target/src" "$target/python" "$target/built"
for name in mamba_ssm causal_conv1d; do
  mkdir "$target/src/$name"
  tar -xzf "$sdists/$name"-*.tar.gz -C "$target/src/$name" --strip-components=1
  cp -r "$target/src/$name/$name" "$target/python/"
done

# `setup.py` lists many architectures and heeds no variable that limits them. Only flags change here, no kernel:
# one architecture, no line tables, and the smallest form of the machine code.
only_one_architecture() {
  sed -i \
    -e "s|^    # HACK: The compiler flag|    cc_flag = ['-gencode', 'arch=compute_$arch,code=sm_$arch']\n&|" \
    -e 's|"-lineinfo"|"--compress-mode=size"|' "$1"
  grep -q "^    cc_flag = \['-gencode'" "$1" || { echo "$1: not the setup.py that this script knows" >&2; exit 1; }
}

# Each of the convolution's two large files holds nine pairs of types, minutes in one compiler: one file for each pair.
one_file_for_each_pair() {
  local csrc=$1/csrc name pairs pair list
  for name in causal_conv1d_fwd causal_conv1d_bwd; do
    pairs=$(grep '^template void' "$csrc/$name.cu" | sed 's|.*<\(.*\)>(.*|\1|' | sort -u)
    list=
    while read -r pair; do
      local part=$name.$(tr -cd '[:alnum:]' <<<"$pair")
      grep -v '^template void' "$csrc/$name.cu" >"$csrc/$part.cu"
      grep "^template void.*<$pair>" "$csrc/$name.cu" >>"$csrc/$part.cu"
      list+="\"csrc/$part.cu\", "
    done <<<"$pairs"
    sed -i "s|\"csrc/$name.cu\",|$list|" "$1/setup.py"
  done
}

build() {
  (cd "$target/src/$1" && "$python" setup.py build_ext --inplace >"$target/$1.log" 2>&1) ||
    { tail -n 40 "$target/$1.log" >&2; return 1; }
}

if [ -z "$built" ]; then
  only_one_architecture "$target/src/mamba_ssm/setup.py"
  only_one_architecture "$target/src/causal_conv1d/setup.py"
  one_file_for_each_pair "$target/src/causal_conv1d"
  start=$SECONDS
  build mamba_ssm & mamba=$!
  build causal_conv1d & conv=$!
  wait "$mamba"
  wait "$conv"
  echo "compiled in $((SECONDS - start)) s"
  rm -f "$target"/built/*
  for so in "$target"/src/*/*_cuda*.so; do
    strip "$so"
    if [ "$(stat -c %s "$so")" -gt "$part_bytes" ]; then
      split -b "$part_bytes" "$so" "$target/built/$(basename "$so").part-"
    else
      cp "$so" "$target/built/"
    fi
  done
  built=$target/built
fi

for file in "$built"/*.so "$built"/*.so.part-aa; do
  [ -e "$file" ] || continue
  name=$(basename "${file%.part-aa}")
  if [ "$file" = "$built/$name" ]; then
    cp "$file" "$target/python/"
  else
    cat "$built/$name".part-* >"$target/python/$name"
  fi
done
ls -l "$target"/built "$target"/python/*.so

PYTHONPATH=$target/python "$python" -c 'import torch, selective_scan_cuda, causal_conv1d_cuda; print("both extensions load")'
