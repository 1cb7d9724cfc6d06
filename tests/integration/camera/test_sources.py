"""Pictures from a real RTSP server, over HTTP, from a film and from a folder; and what happens when they stop."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_agent.clock import SystemClock
from edge_agent.config.load import parse
from edge_agent.doctor import examine

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

H, W = 96, 128


def blocks(count: int) -> np.ndarray:
    """Pictures that say their number in eight vertical bars, and are rough enough to be no wall."""
    numbers = (np.arange(count)[:, None] >> np.arange(8)) & 1
    bars = np.repeat(numbers * 160 + 40, W // 8, axis=1).astype(np.uint8)
    pictures = np.repeat(bars[:, None, :], H, axis=1)
    pictures[:, : H // 4] = np.linspace(40, 200, W).astype(np.uint8)
    return pictures


def number(picture: np.ndarray) -> int:
    """Which of them it is."""
    middle = picture[H // 2, W // 16 :: W // 8] > 120
    return int(sum(1 << i for i, bit in enumerate(middle) if bit))


@pytest.mark.parametrize("coder", ["mjpeg", "h264"])
async def test_what_the_rtsp_server_shows_arrives_with_the_time_of_its_capture(rtsp: Any, watching: Any, latest: Any, coder: str) -> None:
    camera = rtsp(blocks(8), coder=coder).start()
    async with watching(latest, url=camera.url) as connector:
        await latest.until(lambda: latest.pictures, "picture")
        for shown in (3, 5):
            camera.show(shown)
            asked_ns = time.time_ns()
            await latest.until(lambda shown=shown: number(latest.pictures[-1].value) == shown, f"picture {shown}")
            first = next(s for s in latest.pictures if s.source_ns > asked_ns - 50_000_000 and number(s.value) == shown)
            assert first.received_ns - asked_ns < 1_500_000_000
        assert all(s.quality == 0 and s.source_ns <= s.received_ns for s in latest.pictures)
        assert connector.status()["link"] == "up"
        assert connector.status()["tags"]["eye"]["state"] == "ok"


async def test_a_server_that_is_killed_or_stalls_is_left_and_found_again(rtsp: Any, watching: Any, latest: Any) -> None:
    camera = rtsp(blocks(8)).start()
    async with watching(latest, url=camera.url, read_timeout="500 ms", open_timeout="2 s"):
        await latest.until(lambda: latest.pictures, "picture")
        camera.kill()
        await latest.until(lambda: latest.links[-1].state == "down", "loss")
        camera.start()
        await latest.until(lambda: latest.links[-1].state == "up", "return")
        assert len(latest.gaps) == 1
        camera.freeze()
        await latest.until(lambda: latest.links[-1].state == "down", "loss by a stall")
        assert "no picture within 0.5 s" in latest.links[-1].reason
        camera.thaw()
        await latest.until(lambda: latest.links[-1].state == "up", "return after the stall")
        camera.show(6)
        await latest.until(lambda: number(latest.pictures[-1].value) == 6, "fresh picture, not a stale one")
    assert [s.state for s in latest.links] == ["connecting", "up", "down", "up", "down", "up"]
    assert all(gap.end_ns > gap.start_ns for gap in latest.gaps)


async def test_the_event_loop_never_waits_for_a_camera_that_does_not_answer(watching: Any, latest: Any) -> None:
    with _silent_port() as port:
        async with watching(latest, url=f"rtsp://127.0.0.1:{port}/cam", open_timeout="1 s") as connector:
            longest, last = 0.0, time.monotonic()
            while time.monotonic() - last < 5 and (connector.status().get("opens") or 0) < 2:
                before = time.monotonic()
                await asyncio.sleep(0.01)
                longest = max(longest, time.monotonic() - before)
            assert connector.status()["opens"] == 2
            assert "cannot be opened within 1 s" in connector.status()["reason"]
            assert longest < 0.5


async def test_a_film_is_played_once_at_its_own_speed(tmp_path: Path, watching: Any, latest: Any) -> None:
    out = cv2.VideoWriter(str(tmp_path / "film.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 20, (W, H), isColor=False)
    for picture in blocks(20):
        out.write(picture)
    out.release()
    begin = time.monotonic()
    async with watching(latest, file="film.avi") as connector:
        await latest.until(lambda: latest.links and latest.links[-1].state == "down", "end")
        took = time.monotonic() - begin
        await asyncio.sleep(0.6)
        assert connector.status()["opens"] == 1
    assert "is at its end" in latest.links[-1].reason
    assert [number(s.value) for s in latest.pictures] == list(range(20))
    assert 0.8 < took < 5


async def test_files_in_a_folder_are_taken_whole_in_order_and_with_their_part_number(tmp_path: Path, watching: Any, latest: Any) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    tags = {"part": {"number": "part-([0-9]+)"}, "eye": {}}
    async with watching(latest, tags, folder="in"):
        await latest.until(lambda: latest.links and latest.links[-1].state == "up", "link")
        for i in range(12):
            raw = cv2.imencode((".jpg", ".png")[i % 2], blocks(12)[i])[1].tobytes()
            with (folder / f"part-{i:04}{('.jpg', '.png')[i % 2]}").open("wb") as file:
                for piece in range(0, len(raw), 301):
                    file.write(raw[piece : piece + 301])
                    file.flush()
                    await asyncio.sleep(0.002)
            await latest.until(lambda i=i: len(latest.pictures) == 2 * (i + 1), f"picture {i}")
    found = [(s.value if s.tag == "part" else number(s.value)) for s in latest.pictures]
    assert found == [n for i in range(12) for n in (i, i)]
    assert all(s.quality == 0 for s in latest.pictures)


async def test_an_mjpeg_stream_over_http_is_read_and_its_login_is_used(watching: Any, latest: Any) -> None:
    with _mjpeg_server(blocks(4)) as (port, logins):
        async with watching(latest, url=f"http://127.0.0.1:{port}/feed", user="cam", password="geheim") as connector:
            await latest.until(lambda: len(latest.pictures) > 5, "pictures")
            assert "geheim" not in str(connector.status())
    assert number(latest.pictures[0].value) < 4
    assert any(login.startswith("Basic ") for login in logins)


def _mjpeg_server(pictures: np.ndarray) -> Any:
    """A camera's own little web server."""
    from contextlib import contextmanager

    logins: list[str] = []
    raws = [cv2.imencode(".jpg", picture)[1].tobytes() for picture in pictures]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            login = self.headers.get("Authorization", "")
            if not login:
                self.send_response(401)
                self.send_header("WWW-Authenticate", 'Basic realm="cam"')
                self.end_headers()
                return
            logins.append(login)
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
            self.end_headers()
            try:
                for i in range(400):
                    raw = raws[i % len(raws)]
                    self.wfile.write(b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(raw), raw))
                    time.sleep(0.02)
            except OSError:
                pass

        def log_message(self, *_: Any) -> None: ...

    @contextmanager
    def serve() -> Iterator[tuple[int, list[str]]]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1], logins
        finally:
            server.shutdown()
            server.server_close()

    return serve()


def _silent_port() -> Any:
    """A port that accepts and says nothing."""
    import socket
    from contextlib import contextmanager

    @contextmanager
    def listen() -> Iterator[int]:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            s.listen(8)
            yield s.getsockname()[1]

    return listen()


async def test_doctor_opens_the_camera_and_says_how_bright_and_how_sharp_its_picture_is(rtsp: Any, tmp_path: Path) -> None:
    camera = rtsp(blocks(2)).start()
    text = f"""
version: 1
agent: {{name: a, owner: o, state: {tmp_path}}}
connectors:
  cam: {{type: camera, url: "{camera.url}"}}
tags:
  eye: {{from: cam}}
  odd: {{from: cam, roi: [100, 0, 100, 50]}}
"""
    found = {f.about: f for f in await examine(parse(text, folder=tmp_path), clock=SystemClock(), within_s=10.0)}
    assert found["link cam"].ok
    assert found["tag eye"].ok
    assert f"picture of {W} x {H} pixels, good" in found["tag eye"].what
    assert "sharpness" in found["tag eye"].what
    assert not found["tag odd"].ok
    assert "the roi lies outside the picture" in found["tag odd"].what
