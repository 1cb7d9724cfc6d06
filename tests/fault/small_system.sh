#!/bin/sh
# Boot a small Debian under its own systemd, with our units in it, and see what becomes of them: small_system.sh TREE OUT.
# Made on first use: TREE. Written: OUT/found, one NAME=VALUE a line. As root; needs systemd-nspawn, mmdebstrap and the Debian archive.
set -eu
tree=$1 out=$2
here=$(cd "$(dirname "$0")/../.." && pwd)
site=$("$here/.venv/bin/python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
if [ ! -e "$tree/made" ]; then
    rm -rf "$tree"
    mmdebstrap --quiet --variant=essential --include=systemd,systemd-sysv,dbus,python3,libstdc++6 bookworm "$tree"
    touch "$tree/made"
fi
mkdir -p "$tree/opt/edge-agent/bin" "$tree/etc/edge-agent/line.secrets" "$tree/src" "$tree/site" "$tree/out" "$tree/etc/sysusers.d" "$tree/etc/tmpfiles.d" "$out"
cat > "$tree/opt/edge-agent/bin/edge-agent" << 'END'
#!/usr/bin/python3
import sys
sys.path[:0] = ["/src", "/site"]
from edge_agent.cli import main
sys.exit(main())
END
chmod 755 "$tree/opt/edge-agent/bin/edge-agent"
cp "$here"/systemd/edge-agent*.service "$tree/etc/systemd/system/"
cp "$here/systemd/sysusers.conf" "$tree/etc/sysusers.d/edge-agent.conf"
cp "$here/systemd/tmpfiles.conf" "$tree/etc/tmpfiles.d/edge-agent.conf"
printf 'secret-of-the-plant' > "$tree/etc/edge-agent/line.secrets/token"
cat > "$tree/etc/edge-agent/line.yaml" << 'END'
version: 1
agent: {name: line, owner: acme}
ledger: {min_free: 1 MB}
connectors: {plant: {type: sim, every: 100 ms}}
tags: {flow: {from: plant, record: true}}
api: {tokens: [{name: pool, token: !secret token}]}
END
mkdir -p "$tree/etc/systemd/system/edge-agent@line.service.d"
"$here/.venv/bin/edge-agent" systemd-dropin "$tree/etc/edge-agent/line.yaml" > "$tree/etc/systemd/system/edge-agent@line.service.d/peers.conf"
cat > "$tree/etc/systemd/system/look.service" << 'END'
[Unit]
After=multi-user.target
[Service]
Type=oneshot
TimeoutStartSec=300
ExecStart=/bin/sh /look.sh
ExecStopPost=/bin/systemctl poweroff --no-block
END
cat > "$tree/look.sh" << 'END'
unit=edge-agent@line.service
say() { echo "$1=$2" >> /out/found; }
pid() { systemctl show -P MainPID $unit; }
count() { systemctl show -P NRestarts $unit; }
now() { cut -d' ' -f1 /proc/uptime; }
back() { # until it was restarted once more and is active; in seconds
    begun=$(now) was=$1
    for _ in $(seq 600); do
        [ "$(count)" -gt "$was" ] && [ "$(systemctl is-active $unit)" = active ] && break
        sleep 0.1
    done
    echo "$begun $(now)" | awk '{ printf "%.1f", $2 - $1 }'
}
systemd-sysusers && systemd-tmpfiles --create 2> /dev/null
chgrp -R edge-agent /etc/edge-agent && chmod 640 /etc/edge-agent/line.yaml && chmod -R go= /etc/edge-agent/line.secrets
systemctl start $unit && say notify "$(systemctl is-active $unit)" || { systemctl status $unit > /out/log 2>&1; journalctl -u $unit >> /out/log; exit 1; }
inside() { nsenter -t "$(pid)" -m -- "$@" 2>&1; }
say user "$(stat -c %U /proc/$(pid))"
for place in /usr/x /etc/x /src/x "${root:=/root}/x" /home/x; do inside touch $place | grep -q -e 'Read-only' -e 'denied' -e 'No such' && say "closed$place" yes || say "closed$place" no; done
inside touch /var/lib/edge-agent/line/x > /dev/null && say state writable
touch /usr/outside && rm /usr/outside && say control_outside writable
say credential "$(inside cat /run/credentials/$unit/secrets_token)"
grep -q secret-of-the-plant /proc/$(pid)/environ && say leak yes || say leak no
say capabilities "$(awk '/^CapEff/ { print $2 }' /proc/$(pid)/status)"
say privileges "$(awk '/^NoNewPrivs/ { print $2 }' /proc/$(pid)/status)"
say filter "$(awk '/^Seccomp:/ { print $2 }' /proc/$(pid)/status)"
say devices "$(inside ls /dev | grep -c -e '^sd' -e '^loop' -e '^mem$')"
say exposure "$(systemd-analyze security --no-pager $unit | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')"
was=$(count); kill -9 "$(pid)"; say killed_back_s "$(back "$was")"
was=$(count); kill -STOP "$(pid)"; say frozen_back_s "$(back "$was")"
say watchdog "$(journalctl -b -u $unit | grep -c 'Watchdog timeout')"
systemctl start edge-agent-api@line && say api "$(systemctl is-active edge-agent-api@line)"
systemctl reload $unit && systemctl reload edge-agent-api@line && say reload "$(systemctl is-active $unit edge-agent-api@line | sort -u)"
printf 'version: 2\n' > /etc/edge-agent/line.yaml
systemctl stop $unit && say stopped "$(systemctl show -P Result $unit)"
systemctl start $unit 2> /dev/null; sleep 6; say wrong_configuration "$(systemctl is-active $unit)"
journalctl -b --no-pager > /out/log
say end yes
END
mkdir -p "$tree/etc/systemd/system/multi-user.target.wants"
ln -sf /etc/systemd/system/look.service "$tree/etc/systemd/system/multi-user.target.wants/look.service"
rm -f "$out/found"
exec timeout 400 systemd-nspawn --quiet --register=no --keep-unit --private-network --directory="$tree" --machine="small-$$" \
    --bind-ro="$here:/src" --bind-ro="$site:/site" --bind="$out:/out" --console=pipe --boot > "$out/console" 2>&1 < /dev/null
