#!/bin/bash
# Installs the Debian packages of the programs that tests compare perfkit with (tests/tools.txt), where it may; else says
# which are missing. Never fails: tests whose program is missing are skipped, and name its package.
set -euo pipefail
cd "$(dirname "$0")/.."

missing_packages() {
    local program package
    while read -r program package; do
        case $program in '' | '#'*) continue ;; esac
        command -v "$program" >/dev/null || echo "$package"
    done <tests/tools.txt | sort -u | xargs
}

missing=$(missing_packages)
if [ -n "$missing" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing $missing"
    export DEBIAN_FRONTEND=noninteractive
    # One by one, so that a package this release lacks does not keep the others away.
    apt-get update -qq || true
    for package in $missing; do
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null </dev/null || true
    done
    missing=$(missing_packages)
fi
if [ -n "$missing" ]; then
    echo "Missing: $missing. The tests that need them are skipped, and name them; install them with"
    echo "    sudo apt-get install --no-install-recommends $missing"
fi
