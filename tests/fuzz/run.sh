#!/usr/bin/env bash
# Fuzzes the GGUF reader under the address and undefined-behaviour sanitizers: tests/fuzz/run.sh SECONDS.
# Needs clang with its runtime, and the `gguf` Python package for the seeds. A finding ends it with an error, and is kept.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:?usage: tests/fuzz/run.sh SECONDS}
build=${GEMLET_FUZZ_DIR:-build/fuzz}

cmake -S . -B "$build" -DGEMLET_FUZZ=ON -DGEMLET_WERROR=ON -DCMAKE_CXX_COMPILER="${CXX:-clang++}"
cmake --build "$build" --target gguf_fuzz
"${PYTHON:-python3}" tests/fuzz/make_seeds.py "$build/seeds"
mkdir -p "$build/corpus" "$build/findings"
"$build/tests/fuzz/gguf_fuzz" -max_total_time="$seconds" -max_len=4096 -timeout=10 -rss_limit_mb=1024 \
  -malloc_limit_mb=256 -print_final_stats=1 -artifact_prefix="$build/findings/" "$build/corpus" "$build/seeds"
