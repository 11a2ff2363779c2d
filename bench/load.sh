#!/bin/bash
# The load that the benches record: everyday programs over real files, for the given number of seconds.
set -eu
seconds=${1:?usage: load.sh SECONDS}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/program.cpp" <<'CPP'
#include <iostream>
#include <map>
#include <regex>
int main() {
  std::map<std::string, int> counts;
  std::regex word("[a-z]+");
  for (std::string line; std::getline(std::cin, line);)
    for (std::sregex_iterator it(line.begin(), line.end(), word), end; it != end; ++it) ++counts[it->str()];
  for (auto& [name, count] : counts) std::cout << count << ' ' << name << '\n';
}
CPP
g++ -O2 -g -fno-omit-frame-pointer -o "$work/words" "$work/program.cpp"
find /usr/share /usr/include -type f -size -64k 2>/dev/null | head -n 1500 >"$work/files"
end=$((SECONDS + seconds))
while ((SECONDS < end)); do
  xargs -a "$work/files" cat 2>/dev/null | head -c 6000000 >"$work/text"
  gzip -c "$work/text" | gzip -dc | sha256sum >/dev/null
  head -c 1000000 "$work/text" | "$work/words" >/dev/null
  LC_ALL=C sort "$work/text" | uniq -c | LC_ALL=C sort -rn >"$work/sorted"
  grep -rhoE '[a-z]+_[a-z]+' /usr/include 2>/dev/null | awk '{n[$1]++} END {for (k in n) print n[k], k}' >/dev/null
  python3 -c "
import collections, json, sys
words = collections.Counter(open(sys.argv[1], errors='replace').read(3000000).split())
json.loads(json.dumps(words.most_common(20000)))" "$work/text"
  tar -cf - /usr/share/doc 2>/dev/null | xz -0 >/dev/null
  g++ -O1 -c -o "$work/program.o" "$work/program.cpp"
done
