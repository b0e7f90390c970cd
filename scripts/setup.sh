#!/bin/sh
# Makes a virtual environment: setup.sh FOLDER. Needs Python 3.11 or later, the one that PYTHON names if it's set.
# EXTRAS and GROUP say what it holds besides the library; as they come, all that the Makefile's targets need.
set -eu
folder=$1

usable() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

python=
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    if [ -n "$candidate" ] && usable "$candidate"; then python=$candidate; break; fi
done
if [ -z "$python" ]; then
    echo "setup: no Python 3.11 or later found; name one with PYTHON=/path/to/python3" >&2
    exit 1
fi

rm -rf "$folder"
# Debian's Python comes without the module that makes environments.
if ! "$python" -m venv "$folder" 2>/dev/null; then
    rm -rf "$folder"
    echo "setup: $python can't make environments; installing python3-venv" >&2
    run=; [ "$(id -u)" = 0 ] || run=sudo
    $run apt-get update -q
    $run apt-get install -q -y python3-venv
    "$python" -m venv "$folder"
fi
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'
"$folder/bin/python" -m pip install --quiet --disable-pip-version-check --editable ".[${EXTRAS:-all}]" --group "${GROUP:-dev}"
