#!/usr/bin/env bash
# Sets up, then runs the tests. Arguments go to pytest: names of tests, relative
# to the caller's folder, to the checkout or to tests, and options; besides,
#   --slow     adds the tests that take longer than the suite allows
#   --quick    runs one entry of each family, and tests near what has changed
#   --times    records where the seconds go, see tests/times.py
#   --minima   runs with the oldest packages that setup.py allows
#   --pythons  runs once per Python on this machine, with the newest packages
set -euo pipefail
here=$PWD
cd "$(dirname "${BASH_SOURCE[0]}")/.."
given=() pythons=''
for argument in "$@"; do
  case "$argument" in
    --minima) SEQJAX_VENV=.venv-minima ;;
    --pythons) pythons=all ;;
    *) given+=("$argument") ;;
  esac
done
set -- ${given[@]+"${given[@]}"}
source scripts/environment.sh
if [ -n "$pythons" ]; then
  code=0 root=$PWD
  for python in $(find_pythons); do
    version=${python##*/} outcome=passed
    (cd "$here" && SEQJAX_PYTHON=$python SEQJAX_VENV=.venv-$version \
      bash "$root/scripts/test.sh" "$@") || code=$? outcome="failed ($?)"
    echo "$version: $outcome"
  done
  exit "$code"
fi
if [ "$venv" = .venv-minima ] && [ -z "${SEQJAX_PYTHON:-}" ]; then
  read -r SEQJAX_PYTHON < <(find_pythons) || true  # old packages, old Python
fi
prepare test
given=$("$venv/bin/python" -m tests.arguments "$here" "$@")

cache=${XDG_CACHE_HOME:-$HOME/.cache}/seqjax/jax
export JAX_COMPILATION_CACHE_DIR="${JAX_COMPILATION_CACHE_DIR:-$cache}"
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
export JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES=-1
export JAX_NUMPY_RANK_PROMOTION=raise
# What is compiled runs once or twice, so that optimising it takes longer.
export JAX_DISABLE_MOST_OPTIMIZATIONS=1
# Two processes, one thread each: the suite is compilation, not arithmetic.
export XLA_FLAGS="${XLA_FLAGS:-} --xla_cpu_multi_thread_eigen=false"
# Make compilation cheaper, where this version of XLA knows them: the first by
# half; and XLA cuts a program into 32 pieces, to compile them at the same time,
# but each costs a compiler's set-up: in one piece, tests take 15 % less.
for flag in use_fusion_emitters=false parallel_codegen_split_count=1; do
  flags="$XLA_FLAGS --xla_cpu_$flag"
  if XLA_FLAGS=$flags "$venv/bin/python" -c 'import jax; jax.devices()' \
    >/dev/null 2>&1; then export XLA_FLAGS=$flags; fi
done
export PYTHONDONTWRITEBYTECODE=1

select=(-m 'not slow')
arguments=()
while read -r argument; do
  case "$argument" in
    --slow) select=() ;;
    --quick)
      while read -r test; do arguments+=("$test"); done \
        < <("$venv/bin/python" -m tests.quick) ;;
    --times)
      export SEQJAX_TEST_TIMES="$PWD/runs/test_times.jsonl"
      rm -f "$SEQJAX_TEST_TIMES" ;;
    '') ;;
    *) arguments+=("$argument") ;;
  esac
done <<<"$given"
CEILING=15  # minutes of the whole suite, on two idle cores
code=0 began=$SECONDS
"$venv/bin/python" -m pytest -n "${SEQJAX_TEST_PROCESSES:-auto}" \
  --jaxtyping-packages=seqjax,beartype.beartype \
  ${select[@]+"${select[@]}"} ${arguments[@]+"${arguments[@]}"} || code=$?
if [ -n "${SEQJAX_TEST_TIMES:-}" ]; then
  "$venv/bin/python" -m tests.times "$SEQJAX_TEST_TIMES"
fi
if [ ${#arguments[@]} -eq 0 ]; then
  awk -v s="$((SECONDS - began))" -v c="$CEILING" 'BEGIN {
    printf "The suite took %.1f minutes; %d are the most it should take.\n", s / 60, c }'
fi
if [ "$code" -eq 4 ]; then code=2; fi  # of pytest: a bad command line
exit "$code"
