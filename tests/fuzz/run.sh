#!/usr/bin/env bash
# Fuzzes the readers of files under the address and undefined-behaviour sanitizers: tests/fuzz/run.sh SECONDS, which the
# targets share. Needs clang with its runtime, and the `gguf` Python package for the seeds. A finding ends it with an
# error, and is kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS}
# Not CXX: CI sets it to the compiler of the module, which has no fuzzer.
build=${GEMLET_FUZZ_DIR:-build/fuzz}
readers=(ctranslate2 gguf safetensors tokenizer)

cmake -S . -B "$build" -DGEMLET_FUZZ=ON -DGEMLET_WERROR=ON -DCMAKE_CXX_COMPILER="${GEMLET_FUZZ_CXX:-clang++}"
cmake --build "$build" --target "${readers[@]/%/_fuzz}"
rm -rf "$build/seeds"
"${PYTHON:-python3}" tests/fuzz/make_seeds.py "$build/seeds"
each=$((seconds / ${#readers[@]}))
for reader in "${readers[@]}"; do
  mkdir -p "$build/corpus/$reader" "$build/findings/$reader"
  # 0 would mean for ever.
  "$build/tests/fuzz/${reader}_fuzz" -max_total_time=$((each > 0 ? each : 1)) -max_len=8192 -timeout=10 \
    -rss_limit_mb=1024 -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix="$build/findings/$reader/" \
    "$build/corpus/$reader" "$build/seeds/$reader"
done
