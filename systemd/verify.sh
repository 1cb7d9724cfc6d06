#!/bin/sh
# Do the units say what systemd understands, and how exposed are they? Any output of `verify` is a failure.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
most=${1:-1.2}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
for unit in edge-agent@.service edge-agent-api@.service; do
    # The program is not installed where the unit expects it while we only check the unit.
    sed 's|/opt/edge-agent/bin/edge-agent|/bin/true|; /^After=edge-agent@/d' "$here/$unit" > "$scratch/$unit"
    said=$(systemd-analyze verify --man=no "$scratch/$unit" 2>&1 || true)
    if [ -n "$said" ]; then
        echo "$unit: $said" >&2
        exit 1
    fi
    exposure=$(systemd-analyze security --offline=true "$scratch/$unit" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
    echo "$unit: exposure $exposure (at most $most)"
    awk "BEGIN { exit !(\"$exposure\" != \"\" && $exposure <= $most) }"
done
