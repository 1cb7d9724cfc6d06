#!/bin/sh
# Install what the integration and fault tests need: mosquitto, systemd's checker, a C compiler and GStreamer's RTSP server from Debian,
# node-opcua from npm.
set -eu
cd "$(dirname "$0")"
missing=""
command -v mosquitto > /dev/null || [ -x /usr/sbin/mosquitto ] || missing="$missing mosquitto"
command -v mosquitto_pub > /dev/null || missing="$missing mosquitto-clients"
command -v systemd-analyze > /dev/null || missing="$missing systemd"
command -v systemd-nspawn > /dev/null || missing="$missing systemd-container"
command -v mmdebstrap > /dev/null || missing="$missing mmdebstrap"
command -v strace > /dev/null || missing="$missing strace"
command -v gcc > /dev/null || missing="$missing gcc libc6-dev"
command -v mkfs.ext4 > /dev/null || [ -x /usr/sbin/mkfs.ext4 ] || missing="$missing e2fsprogs"
ls /usr/lib/*/faketime/libfaketime.so.1 > /dev/null 2>&1 || missing="$missing faketime"
/usr/bin/python3 -c 'import gi; gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gst; Gst.init(None)
assert all(map(Gst.ElementFactory.find, ("appsrc", "jpegenc", "rtpjpegpay", "x264enc")))' 2> /dev/null ||
    missing="$missing python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-ugly"
if [ -n "$missing" ]; then
    if [ "$(id -u)" != 0 ]; then
        echo "missing:$missing; as root: apt-get install --no-install-recommends$missing" >&2
        exit 1
    fi
    # No service is to start by itself on a developer's machine.
    policy=/usr/sbin/policy-rc.d
    [ -e "$policy" ] || { printf '#!/bin/sh\nexit 101\n' > "$policy"; chmod +x "$policy"; trap 'rm -f "$policy"' EXIT; }
    apt-get update -qq
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing > /dev/null
fi
[ -d node_modules/node-opcua ] || npm install --no-audit --no-fund --no-package-lock --loglevel=error
