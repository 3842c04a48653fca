#!/usr/bin/env bash
# Sets up what qtune needs and builds build/bin/qtune. Safe to run again: what is done is skipped, what was cut off is redone.
#
#   tools/setup.sh [--tests] [--no-build] [--cuda=auto|on|off] [--libtorch DIR] [--package NAME]... [-D...]
#
#   --tests         builds the tests too
#   --no-build      packages, LibTorch and Arrow only
#   --cuda=...      auto (default): the GPU part is built where nvcc is found; on: it is, and LibTorch's CUDA libraries
#                   (4.7 GB) come too, so that it runs; off: it is not built
#   --libtorch DIR  a LibTorch of your own (holds include/ and lib/) instead of the downloaded one; or set QTUNE_LIBTORCH
#   --package NAME  one more Debian package
#   -D...           handed on to CMake
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly TORCH_VERSION=2.11.0
readonly WHEELS=("torch==$TORCH_VERSION" nvidia-cuda-cupti==13.0.85 nvidia-cuda-runtime==13.0.96)
readonly TORCH_DIR=.deps/torch
readonly ARROW_VERSION=26.0.1  # reads .parquet
readonly ARROW_DIR=.deps/pyarrow
readonly TORCH_DISK_MB=4000  # the wheels (0.6 GB) and what they unpack to (1.3 GB), with room to spare
readonly TORCH_CUDA_DISK_MB=12000  # the same with all that torch depends on
packages=(g++ cmake ninja-build ccache mold libyaml-cpp-dev libspdlog-dev libfmt-dev libcli11-dev
          nlohmann-json3-dev libxxhash-dev libsentencepiece-dev libgloo-dev libgtest-dev libgmock-dev
          zlib1g-dev libjs-d3)

build=yes
tests=no
cuda=auto
libtorch=${QTUNE_LIBTORCH:-}
cmake_args=()

say() { printf 'setup: %s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

while (($# > 0)); do
  case $1 in
    --tests) tests=yes ;;
    --no-build) build=no ;;
    --cuda=auto | --cuda=on | --cuda=off) cuda=${1#--cuda=} ;;
    --libtorch) libtorch=${2:?--libtorch needs a folder}; shift ;;
    --libtorch=*) libtorch=${1#--libtorch=} ;;
    --package) packages+=("${2:?--package needs a name}"); shift ;;
    -D*) cmake_args+=("$1") ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option $1 ---> see tools/setup.sh --help" ;;
  esac
  shift
done

have() { command -v "$1" >/dev/null 2>&1; }
installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

install_packages() {
  if ! have dpkg-query; then
    say "no Debian packages here; qtune needs what Debian calls: ${packages[*]} python3 python3-pip"
    for tool in cmake ninja; do have "$tool" || fail "$tool not found ---> install the packages named above"; done
    return
  fi
  # Any python3 with pip will do, not only Debian's.
  have python3 || packages+=(python3)
  if [[ -z $libtorch ]] && ! python3 -m pip --version >/dev/null 2>&1; then packages+=(python3-pip); fi
  local missing=()
  for package in "${packages[@]}"; do installed "$package" || missing+=("$package"); done
  if ((${#missing[@]} == 0)); then
    say "packages: all there"
    return
  fi
  local sudo=()
  if ((EUID != 0)); then
    if have sudo && sudo -n true 2>/dev/null; then
      sudo=(sudo -n)
    else
      fail "packages missing, and no right to install them ---> run: sudo apt-get install ${missing[*]}"
    fi
  fi
  have apt-get || fail "packages missing, and no apt-get here ---> install: ${missing[*]}"
  say "packages: installing ${missing[*]}"
  local install=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}")
  if ! "${install[@]}" >/dev/null 2>&1; then
    # The package lists are missing or out of date.
    "${sudo[@]}" apt-get update -qq >&2 || fail "apt-get update failed ---> check the network"
    "${install[@]}" >&2 || fail "apt-get could not install ${missing[*]} ---> see its message above"
  fi
}

torch_is_there() {
  [[ -e $TORCH_DIR/torch/lib/libtorch_cpu.so && -d $TORCH_DIR/torch-$TORCH_VERSION.dist-info ]] || return 1
  # What only the whole set of wheels brings.
  [[ $cuda != on ]] || compgen -G "$TORCH_DIR/nvidia/cu13/lib/libcublasLt.so*" >/dev/null
}

get_libtorch() {
  if [[ -z $libtorch && -e build/CMakeCache.txt ]]; then
    # A LibTorch named in an earlier call stays in use.
    libtorch=$(sed -n 's/^QTUNE_LIBTORCH:PATH=//p' build/CMakeCache.txt)
  fi
  if [[ -n $libtorch ]]; then
    [[ -e $libtorch/lib/libtorch_cpu.so && -e $libtorch/include/ATen/ATen.h ]] ||
      fail "$libtorch: expected include/ATen/ATen.h and lib/libtorch_cpu.so in it ---> check --libtorch or QTUNE_LIBTORCH"
    libtorch=$(cd "$libtorch" && pwd)
    say "LibTorch: yours, $libtorch"
    return
  fi
  if torch_is_there; then
    say "LibTorch: $TORCH_VERSION is there ($TORCH_DIR)"
    return
  fi
  python3 -m pip --version >/dev/null 2>&1 || fail "pip not found ---> install python3-pip, or give --libtorch DIR"
  mkdir -p .deps
  local free_mb
  free_mb=$(df -Pm .deps | awk 'NR == 2 {print $4}')
  local wheels=("${WHEELS[@]}") needed_mb=$TORCH_DISK_MB dependencies=(--no-deps) size="0.6 GB"
  if [[ $cuda == on ]]; then wheels=("torch==$TORCH_VERSION") needed_mb=$TORCH_CUDA_DISK_MB dependencies=() size="2.5 GB"; fi
  ((free_mb >= needed_mb)) || fail "LibTorch needs $needed_mb MB of disk, found $free_mb MB ---> free some space"
  say "LibTorch: getting ${wheels[*]} (about $size)"
  # Unpacked aside and renamed, so that a cut-off download is never taken for a whole one.
  rm -rf "$TORCH_DIR.part"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile "${dependencies[@]}" \
    --target "$TORCH_DIR.part" "${wheels[@]}" >&2 ||
    fail "LibTorch could not be had (pip's message is above) ---> check network and disk, or give --libtorch DIR"
  rm -rf "$TORCH_DIR"
  mv "$TORCH_DIR.part" "$TORCH_DIR"
  torch_is_there || fail "$TORCH_DIR: expected libtorch_cpu.so of $TORCH_VERSION in the wheels ---> remove the folder and run again"
}

arrow_is_there() { [[ -e $ARROW_DIR/pyarrow/include/arrow/api.h && -d $ARROW_DIR/pyarrow-$ARROW_VERSION.dist-info ]]; }

get_arrow() {
  if arrow_is_there; then
    say "Arrow: $ARROW_VERSION is there ($ARROW_DIR)"
    return
  fi
  # Not an error: without Arrow all but .parquet files can be read.
  local without="without it .parquet files are refused"
  if ! python3 -m pip --version >/dev/null 2>&1; then
    say "Arrow: pip not found; $without"
    return
  fi
  say "Arrow: getting pyarrow==$ARROW_VERSION (about 50 MB)"
  rm -rf "$ARROW_DIR.part"
  mkdir -p .deps
  if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile --no-deps \
    --target "$ARROW_DIR.part" "pyarrow==$ARROW_VERSION" >&2; then
    rm -rf "$ARROW_DIR.part"
    say "Arrow: could not be had (pip's message is above); $without"
    return
  fi
  # Headers and two libraries are all that is linked; the rest of the wheel is for Python.
  find "$ARROW_DIR.part/pyarrow" -mindepth 1 -maxdepth 1 \
    ! -name include ! -name 'libarrow.so.*' ! -name 'libparquet.so.*' -exec rm -rf {} +
  rm -rf "$ARROW_DIR"
  mv "$ARROW_DIR.part" "$ARROW_DIR"
}

build_qtune() {
  local generator
  if [[ -e build/CMakeCache.txt ]]; then
    generator=$(sed -n 's/^CMAKE_GENERATOR:INTERNAL=//p' build/CMakeCache.txt)
    [[ $generator == Ninja ]] || fail "build/ was made with $generator, expected Ninja ---> remove build/ and run again"
  fi
  # A compiler on LibTorch's headers takes about 1.5 GB.
  local jobs memory_jobs
  jobs=$(nproc)
  memory_jobs=$(awk '/^MemAvailable/ {print int($2 / 1500000)}' /proc/meminfo)
  if ((memory_jobs < jobs)); then jobs=$((memory_jobs > 0 ? memory_jobs : 1)); fi
  say "build: configuring (CUDA: $cuda)"
  local log=build/configure.log
  mkdir -p build
  if ! cmake -S . -B build -G Ninja -DQTUNE_TESTS=ON -DQTUNE_CUDA="${cuda^^}" -DQTUNE_LIBTORCH="$libtorch" \
    "${cmake_args[@]}" >"$log" 2>&1; then
    cat "$log" >&2
    fail "cmake failed (its messages are above) ---> fix what it names, or remove build/ and run again"
  fi
  local targets=(qtune)
  if [[ $tests == yes ]]; then targets=(all); fi
  say "build: compiling ${targets[*]} with $jobs jobs (some minutes the first time)"
  # ninja's progress is for eyes; stdout is left to the caller.
  ninja -C build -j "$jobs" "${targets[@]}" >&2 || fail "the build failed (the compiler's message is above)"
  say "build: build/bin/qtune"
}

if [[ $cuda == on ]] && ! have nvcc; then
  fail "--cuda=on: nvcc not found ---> install the CUDA toolkit 13 and put its bin folder on PATH"
fi
install_packages
get_libtorch
get_arrow
if [[ $build == yes ]]; then build_qtune; fi
say "done"
