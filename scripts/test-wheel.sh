#!/bin/bash
# Builds the sdist, and from it the wheel, as a user's pip would; installs the wheel into an empty environment, away from
# the checkout, and puts it to work on a fixture.
set -euo pipefail
cd "$(dirname "$0")/.."
checkout=$PWD
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

.venv/bin/python -m build --outdir "$folder/dist" . >"$folder/build.log" 2>&1 || {
    cat "$folder/build.log"
    exit 1
}
ls "$folder/dist"
.venv/bin/python -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --constraint constraints.txt "$folder"/dist/*.whl

# From here on nothing of the checkout but the fixture is in reach.
cp -r fixtures/demo "$folder/demo"
cd "$folder/demo"
perfkit=$folder/venv/bin/perfkit
"$folder/venv/bin/python" - "$checkout" <<'END'
import sys
from pathlib import Path
import perfkit.cli.main
assert not Path(perfkit.cli.main.__file__).resolve().is_relative_to(sys.argv[1]), "the checkout was imported"
END
export PERF_BUILDID_DIR=symbols
"$perfkit" --version
"$perfkit" --help >/dev/null
"$perfkit" formats >/dev/null
"$perfkit" ingest perf.data
"$perfkit" query @hot-functions --format csv | tee hot.csv | head -n 4
grep -q '^find_slot,' hot.csv
"$perfkit" flamegraph -o flame.html
"$perfkit" flamegraph -o flame.svg
grep -q count_words flame.html
echo "The wheel works."
