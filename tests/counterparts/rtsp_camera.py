#!/usr/bin/python3
"""A camera on GStreamer's own RTSP server, run with Debian's python3 (python3-gi), not with a venv's.

usage: rtsp_camera.py PORT WIDTH HEIGHT FPS mjpeg|h264 PICTURES   PICTURES: a file of raw grey pictures, one behind the other
A line "7" on stdin shows picture 7 from the next frame on, and "7" on stdout says so; rtsp://127.0.0.1:PORT/cam.
SIGSTOP: a stalled camera, SIGKILL: one that is gone.
"""

import contextlib
import mmap
import os
import sys
import threading
import time

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

PORT, WIDTH, HEIGHT, FPS = (int(a) for a in sys.argv[1:5])
CODERS = {
    "mjpeg": "jpegenc quality=95 ! rtpjpegpay name=pay0 pt=26",
    "h264": "x264enc tune=zerolatency speed-preset=ultrafast key-int-max=25 qp-min=10 ! rtph264pay name=pay0 pt=96 config-interval=1",
}
SIZE = WIDTH * HEIGHT
with open(sys.argv[6], "rb") as file:  # noqa: PTH123
    PICTURES = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
shown = 0


def listen() -> None:
    global shown
    for line in sys.stdin:
        shown = int(line)


def feed(source: Gst.Element) -> None:
    """One client's pictures, until it goes."""
    due, told = time.monotonic(), -1
    while True:
        now = shown
        frame = Gst.Buffer.new_wrapped(PICTURES[now * SIZE : (now + 1) * SIZE])
        if source.emit("push-buffer", frame) != Gst.FlowReturn.OK:
            return
        if now != told:
            told = now
            print(now, flush=True)
        due = max(due + 1 / FPS, time.monotonic() - 1 / FPS)
        time.sleep(max(0.0, due - time.monotonic()))


class Factory(GstRtspServer.RTSPMediaFactory):
    """Feeds every client's pipeline by hand."""

    def do_create_element(self, url: object) -> Gst.Element:
        caps = f"video/x-raw,format=GRAY8,width={WIDTH},height={HEIGHT},framerate={FPS}/1"
        return Gst.parse_launch(
            f"( appsrc name=source is-live=true format=time do-timestamp=true caps={caps} ! queue max-size-buffers=1 leaky=downstream"
            f" ! videoconvert ! video/x-raw,format=I420 ! {CODERS[sys.argv[5]]} )"
        )

    def do_configure(self, media: GstRtspServer.RTSPMedia) -> None:
        source = media.get_element().get_by_name_recurse_up("source")
        threading.Thread(target=feed, args=(source,), daemon=True).start()


with contextlib.suppress(PermissionError):
    os.setpriority(os.PRIO_PROCESS, 0, -10)  # a real camera has a processor of its own
Gst.init(None)
server = GstRtspServer.RTSPServer()
server.set_address("127.0.0.1")
server.set_service(str(PORT))
factory = Factory()
factory.set_shared(True)
factory.set_latency(0)
server.get_mount_points().add_factory("/cam", factory)
if not server.attach(None):
    sys.exit(f"port {PORT} is taken")
threading.Thread(target=listen, daemon=True).start()
print("READY", flush=True)
GLib.MainLoop().run()
