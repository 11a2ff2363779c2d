#!/bin/bash
# Makes .venv, or brings it up to date, with perfkit itself (editable) and what its development needs.
# PYTHON names the interpreter to use; otherwise `python3` where it is new enough, else the newest that perfkit runs on.
set -euo pipefail
cd "$(dirname "$0")/.."

is_supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null
}

find_python() {
    local candidate
    for candidate in ${PYTHON:-python3 python3.13 python3.12 python3.11}; do
        if command -v "$candidate" >/dev/null && is_supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    echo "perfkit needs Python 3.11, 3.12 or 3.13: apt-get install python3 python3-venv" >&2
    return 1
}

# Debian's python3 comes without ensurepip, which `python3 -m venv` needs.
require_ensurepip() {
    if "$1" -c 'import ensurepip' 2>/dev/null; then
        return
    fi
    local package
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "Installing $package"
        apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package"
    else
        echo "Python's venv module is missing: apt-get install $package" >&2
        return 1
    fi
}

if ! { [ -x .venv/bin/python ] && is_supported .venv/bin/python; }; then
    python=$(find_python)
    require_ensurepip "$python"
    echo "Making .venv with $("$python" --version)"
    "$python" -m venv --clear .venv
fi
echo "Installing perfkit and its development tools into .venv"
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
.venv/bin/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
