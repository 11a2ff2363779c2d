#!/bin/bash
# Takes a capture of a small program (or, where that cannot be, takes the one in fixtures/demo), and shows what perfkit
# makes of it. Everything it writes is in demo/.
set -euo pipefail
cd "$(dirname "$0")/.."

fixture=fixtures/demo
source=$fixture/wordcount.c
mkdir -p demo
rm -f demo/demo.duckdb demo/perf.data demo/flamegraph.html

# Why no program can be recorded here; says nothing, and leaves demo/perf.data, where one was.
record() {
    if ! command -v perf >/dev/null; then
        echo "perf is not installed (Debian package linux-perf)"
    elif ! command -v cc >/dev/null; then
        echo "there is no C compiler (Debian package gcc) to build $source"
    elif ! cc -O2 -fno-omit-frame-pointer -fno-optimize-sibling-calls -pthread -o demo/wordcount $source; then
        echo "$source does not compile"
    elif ! perf record -N -F 997 -g -o demo/perf.data -- demo/wordcount >demo/perf.log 2>&1 ||
        [ -z "$(perf script -i demo/perf.data -F comm 2>/dev/null | head -n 1)" ]; then
        echo "perf could not record here ($(grep -m 1 . demo/perf.log))"
    fi
}

show() {
    echo
    echo "\$ perfkit $*"
    .venv/bin/perfkit "$@"
}

export PERFKIT_DB=demo/demo.duckdb
reason=$(record)
if [ -z "$reason" ]; then
    echo "Recorded $source, built with frame pointers: perf record -F 997 -g -- demo/wordcount"
    capture=demo/perf.data
else
    echo "Taking the capture in $fixture, recorded from $source on another machine: $reason."
    # The program and the kernel it ran on are not here; this is a copy of their symbols, laid out as perf keeps them.
    export PERF_BUILDID_DIR=$fixture/symbols
    capture=$fixture/perf.data
fi
show ingest "$capture" --name wordcount
show query @hot-functions --top 15
show flamegraph -o demo/flamegraph.html
echo
echo "The picture is in file://$PWD/demo/flamegraph.html; go on asking with"
echo "    .venv/bin/perfkit query --db demo/demo.duckdb @callers -p function=hash_word"
