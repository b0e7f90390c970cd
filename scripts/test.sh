#!/bin/sh
# Runs all tests on all cores and measures coverage: test.sh PYTHON [arguments for pytest].
set -eu
python=$1
shift
"$python" -m coverage erase
"$python" -m coverage run -m pytest -n "${TEST_WORKERS:-auto}" "$@"
"$python" -m coverage combine --quiet
"$python" -m coverage report
