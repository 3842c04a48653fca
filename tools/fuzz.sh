#!/usr/bin/env bash
# Fuzzes the readers of model files (docs/fuzzing.md): builds build-fuzz/ with clang and runs each target on its corpus.
#
#   tools/fuzz.sh [--seconds N] [--runs N] [--jobs N] [--keep] [TARGET...]
#
#   --seconds N  at most so many seconds a target
#   --runs N     at most so many inputs a target; with neither: 300 seconds or 200000 inputs, whichever comes first
#   --jobs N     compile jobs (default: the number of cores)
#   --keep       adds what was found to tests/fuzz/corpus, minimised
#   TARGET       safetensors, safetensors_index, gguf, config, adapter_config, adapter_weights, tokenizer_json,
#                tokenizer_model; default: all of them
#
# Prints a table. Exit code 1 when a target has a finding: the input lies where the last lines say.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly ALL=(safetensors safetensors_index gguf config adapter_config adapter_weights tokenizer_json tokenizer_model)
readonly BUILD=build-fuzz
readonly MAX_INPUT_BYTES=65536
readonly MAX_KEPT_BYTES=12000 MAX_KEPT_INPUTS=40  # of a target's corpus, beside its seeds
seconds=""
runs=""
jobs=$(nproc)
keep=no
targets=()

fail() {
  printf 'fuzz: error: %s\n' "$*" >&2
  exit 2
}

positive() {  # positive OPTION VALUE
  [[ $2 =~ ^[1-9][0-9]*$ ]] || fail "$1: expected a number above 0, found '$2' ---> see tools/fuzz.sh --help"
}

while (($# > 0)); do
  case $1 in
    --seconds) positive "$1" "${2:-}"; seconds=$2; shift ;;
    --runs) positive "$1" "${2:-}"; runs=$2; shift ;;
    --jobs) positive "$1" "${2:-}"; jobs=$2; shift ;;
    --keep) keep=yes ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) fail "unknown option $1 ---> see tools/fuzz.sh --help" ;;
    *)
      [[ " ${ALL[*]} " == *" $1 "* ]] || fail "unknown target $1 ---> give some of: ${ALL[*]}"
      targets+=("$1")
      ;;
  esac
  shift
done
if [[ -z $seconds && -z $runs ]]; then seconds=300 runs=200000; fi
((${#targets[@]} > 0)) || targets=("${ALL[@]}")

command -v clang++ >/dev/null 2>&1 || fail "clang++ not found ---> sudo apt-get install clang libclang-rt-dev"
mkdir -p "$BUILD"
cmake -S . -B "$BUILD" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_BUILD_TYPE=RelWithDebInfo \
  -DQTUNE_FUZZ=ON -DQTUNE_TORCH=OFF -DQTUNE_CUDA=OFF -DQTUNE_TESTS=OFF -DQTUNE_PARQUET=OFF >"$BUILD/configure.log" 2>&1 || {
  cat "$BUILD/configure.log" >&2
  fail "cmake failed (its messages are above)"
}
ninja -C "$BUILD" -j "$jobs" "${targets[@]/#/fuzz_}" >&2

# Inputs are files: in memory they cost no disk.
if [[ -d /dev/shm && -w /dev/shm ]]; then export TMPDIR=/dev/shm; fi

number_after() {  # number_after LOG PATTERN: the number behind the last match
  grep -oE "$2[0-9.]+" "$1" | tail -n 1 | grep -oE '[0-9.]+$' || printf '%s\n' '-'
}

# The smallest of those inputs that together reach all lines of code; how often one is reached is not told apart.
keep_inputs() {  # keep_inputs TARGET WORK
  local corpus=tests/fuzz/corpus/$1 merged=$2/merged input seed
  rm -rf "$merged"
  mkdir -p "$merged"
  "$BUILD/bin/fuzz_$1" -set_cover_merge=1 -use_counters=0 -max_len=$MAX_KEPT_BYTES "$merged" "$corpus" "$2/corpus" \
    >"$2/merge_log" 2>&1
  find "$corpus" -type f ! -name 'seed_*' ! -name 'found_*' -delete
  for seed in "$corpus"/seed_*; do rm -f "$merged/$(sha1sum <"$seed" | cut -d' ' -f1)"; done
  find "$merged" -type f -printf '%s %p\n' | sort -n | sed -n "1,${MAX_KEPT_INPUTS}p" | while read -r _ input; do
    cp "$input" "$corpus/"
  done
}

findings=()
rows=()
for target in "${targets[@]}"; do
  work=$BUILD/work/$target
  mkdir -p "$work/corpus" "$work/findings"
  log=$work/log
  printf 'fuzz: %s ...\n' "$target" >&2
  limits=("-runs=${runs:--1}" "-max_total_time=${seconds:-0}")
  status=0
  start=$SECONDS
  "$BUILD/bin/fuzz_$target" "${limits[@]}" -max_len=$MAX_INPUT_BYTES -timeout=20 -rss_limit_mb=4096 \
    -print_final_stats=1 -dict="tests/fuzz/dictionaries/$target.dict" -artifact_prefix="$work/findings/" \
    "$work/corpus" "tests/fuzz/corpus/$target" >"$log" 2>&1 || status=$?
  took=$((SECONDS - start))
  result=ok
  if ((status != 0)); then
    result=FINDING
    input=$(grep -oE "Test unit written to .*" "$log" | tail -n 1 | cut -d' ' -f5 || true)
    reason=$(grep -m1 -E 'qtune_fuzz: FAULT|ERROR: |runtime error' "$log" || tail -n 1 "$log")
    findings+=("$target: $reason" "  input: ${input:-none written; see $log}" \
      "  again: $BUILD/bin/fuzz_$target ${input:-}")
  elif [[ $keep == yes ]]; then
    keep_inputs "$target" "$work"
  fi
  heap=$(number_after "$log" 'peak_heap_bytes=')
  rows+=("$(printf '%s|%s|%s|%s|%s|%s|%s' "$target" "$(number_after "$log" 'stat::number_of_executed_units: *')" "$took" \
    "$(number_after "$log" 'cov: ')" "$heap" "$(number_after "$log" ' cpu_seconds=')" "$result")")
done

printf '\n%-18s %10s %8s %9s %16s %16s  %s\n' target inputs seconds coverage 'peak heap bytes' 'slowest input s' result
for row in "${rows[@]}"; do
  IFS='|' read -r -a cell <<<"$row"
  printf '%-18s %10s %8s %9s %16s %16s  %s\n' "${cell[@]}"
done
if ((${#findings[@]} > 0)); then
  printf '\n'
  printf '%s\n' "${findings[@]}"
  exit 1
fi
