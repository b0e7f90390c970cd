#!/bin/sh
# Runs all tests on all cores and measures coverage: test.sh PYTHON [arguments for pytest].
set -eu
python=$1
shift
"$python" -m coverage erase
# Twice as many processes as processors: tests wait for servers more than they compute.
cores=$("$python" -c 'import os; print(os.cpu_count() or 1)')
"$python" -m coverage run -m pytest -n "${TEST_WORKERS:-$((cores * 2))}" --dist worksteal "$@"
"$python" -m coverage combine --quiet
"$python" -m coverage report
