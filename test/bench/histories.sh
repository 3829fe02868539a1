#!/bin/sh
# Replays histories of clones at hand: for each DIRECTORY every Dockerfile of its last commit, over the last 200 commits (COMMITS),
# with the time that git takes for the same commits beside it. Writes nothing but to the screen.
#
#   test/bench/histories.sh DIRECTORY...
#
# MBUILD is the program to use (default: bin/mbuild of this project); MORE are further flags of bench replay.
set -eu
here=$(cd -- "$(dirname -- "$0")" && pwd)
mbuild=${MBUILD:-$here/../../bin/mbuild}
commits=${COMMITS:-200}
[ $# -gt 0 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
store=$(mktemp -d)
trap 'rm -rf "$store"' EXIT

# Milliseconds since the epoch.
now() { date +%s%3N; }

for directory; do
  top=$(git -C "$directory" rev-parse --absolute-git-dir) || continue
  first=$(git -C "$directory" rev-list --first-parent -n "$((commits + 1))" HEAD | tail -1)
  begin=$(now)
  git -C "$directory" log --raw --no-abbrev -m --first-parent "-$commits" >/dev/null 2>&1 || true
  git_ms=$(($(now) - begin))
  echo "$top: $(git -C "$directory" ls-tree -r HEAD | wc -l) files, git log $git_ms ms"
  git -C "$directory" ls-tree -r --name-only HEAD |
    grep -E '(^|/)([^/]*\.)?(Dockerfile|Containerfile)(\.[^/]*)?$' |
    while read -r file; do
      # As projects have it: the file in its own directory, or the whole repository as the context.
      for context in . "$(dirname -- "$file")"; do
        [ "$context" != "$(dirname -- "$file")" ] || [ "$context" != . ] || continue
        begin=$(now)
        code=0
        "$mbuild" --root "$store" bench replay --git "$first..HEAD" -f "$file" --context "$context" \
          --format json -o "$store/report.json" ${MORE:-} "$directory" 2>"$store/error" || code=$?
        ms=$(($(now) - begin))
        if [ -s "$store/report.json" ]; then
          summary=$(node -e '
            const { runs: [run], patch } = JSON.parse(require("fs").readFileSync(process.argv[1], "utf8"));
            const { replayed, refused, unreadable, hitRatio } = run.totals;
            console.log(`${replayed} replayed, ${refused} refused, ${unreadable} unreadable, ` +
              `hit ratio ${hitRatio === undefined ? "-" : (hitRatio * 100).toFixed(1) + "%"}, ` +
              `${run.advice.length} advice${patch === undefined ? "" : " with a patch"}`);' "$store/report.json")
        else summary=$(head -1 "$store/error"); fi
        echo "  $file in $context: $ms ms, exit $code: $summary"
        rm -f "$store/report.json"
        [ "$(dirname -- "$file")" != . ] || break
      done
    done
done
