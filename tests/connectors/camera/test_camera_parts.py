"""Pictures are judged, stamped, cut and bounded before a loop ever sees them."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from connectors.camera import Config, Tag
from edge_agent.camera.eye import Eye
from edge_agent.camera.files import Folder, whole
from edge_agent.camera.look import Watcher, cut
from edge_agent.camera.outbox import Outbox
from edge_agent.camera.stamps import Stamps
from edge_agent.camera.streams import Frame, Over
from edge_agent.clock import ManualClock, SystemClock
from edge_agent.errors import PlantError
from edge_agent.messages import Quality, Sample

RNG = np.random.default_rng(0)
SHARP = RNG.integers(0, 255, (120, 160), dtype=np.uint8)


def tag(**keys: Any) -> Tag:
    return Tag.model_validate_json(json.dumps({"from": "eye", **keys}))


def config(**keys: Any) -> Config:
    return Config.model_validate_json(json.dumps({"type": "camera", **keys}))


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"url": "rtsps://10.0.0.9/cam"}, "no TLS streams"),
        ({"url": "https://10.0.0.9/feed"}, "no TLS streams"),
        ({"url": "file:///etc/passwd"}, "is no stream"),
        ({"url": "rtsp://u:p@10.0.0.9/cam"}, "do not belong into the URL"),
        ({"url": "rtsp://10.0.0.9/cam", "folder": "pictures"}, "exactly one"),
        ({}, "exactly one"),
        ({"url": "rtsp://10.0.0.9/cam", "user": "u"}, "go together"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_words(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        config(**keys)


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"roi": [0, 0, 0, 5]}, "shows nothing"),
        ({"number": "part-[0-9]+"}, "0 groups"),
        ({"number": "(("}, "not a pattern"),
        ({"write": True}, "cannot be written"),
        ({"record": True}, "feedback.keep"),
    ],
)
def test_a_tag_that_cannot_be_is_refused_in_words(keys: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        tag(**keys)


def test_a_password_is_in_the_address_and_nowhere_else() -> None:
    made = config(url="rtsp://10.0.0.9:554/cam", user="line 1", password="a/b@c")
    assert made.address == "rtsp://line%201:a%2Fb%40c@10.0.0.9:554/cam"
    assert "a/b@c" not in repr(made) + made.place


# ---------------------------------------------------------------- quality


@pytest.mark.parametrize(
    ("picture", "quality", "why"),
    [
        (SHARP, Quality.GOOD, "ok"),
        (SHARP // 64, Quality.BAD, "too dark"),
        (255 - SHARP // 64, Quality.BAD, "too bright"),
        (np.full_like(SHARP, 90), Quality.BAD, "obstructed"),
        (cv2.GaussianBlur(SHARP, (0, 0), 4), Quality.UNCERTAIN, "blurred"),
    ],
)
def test_a_picture_that_shows_nothing_is_no_evidence(picture: np.ndarray, quality: Quality, why: str) -> None:
    sight = Watcher(tag(watch={"sharpness": 100.0})).judge(picture, 1)
    assert sight.quality == quality
    assert sight.why.startswith(why)


def test_a_picture_that_never_changes_is_frozen_and_a_single_pixel_thaws_it() -> None:
    watcher = Watcher(tag(watch={"frozen": "2 s"}))
    for second in range(3):
        assert watcher.judge(SHARP, second * 1_000_000_000).quality == 0
    frozen = watcher.judge(SHARP, 2_500_000_000)
    assert frozen.quality == Quality.BAD | Quality.FLAT
    assert frozen.why.startswith("frozen")
    moved = SHARP.copy()
    moved[5, 5] ^= 1
    assert watcher.judge(moved, 3_000_000_000).quality == 0


def test_what_is_masked_does_not_count() -> None:
    dark = SHARP // 64
    dark[:60] = 250
    assert Watcher(tag()).judge(dark, 1).why == "ok"
    assert Watcher(tag(mask=[[0, 0, 160, 60]])).judge(cut(dark, tag(mask=[[0, 0, 160, 60]])), 1).why.startswith("too dark")  # type: ignore[arg-type]
    assert Watcher(tag(mask=[[0, 0, 160, 120]])).judge(dark, 1).why == "everything is masked"


def test_a_region_is_cut_and_blackened_in_a_copy() -> None:
    found = cut(SHARP, tag(roi=[10, 20, 30, 40], mask=[[0, 0, 5, 5]]))
    assert found is not None
    assert found.shape == (40, 30)
    assert found[:5, :5].max() == 0
    assert np.array_equal(found[5:], SHARP[25:60, 10:40])
    assert cut(SHARP, tag(roi=[150, 0, 30, 40])) is None


# ---------------------------------------------------------------- times


def test_a_picture_that_was_held_up_keeps_the_time_of_its_capture() -> None:
    stamps = Stamps(latency_s=0.005)
    held = [0, 0, 0, 30, 20, 10, 0]  # ms on its way, beyond the quickest
    ages = [stamps.stamp(i * 20_000_000, 1_000_000_000 + (i * 20 + late) * 1_000_000) for i, late in enumerate(held)]
    assert [round((age - 5_000_000) / 1e6, 1) for age in ages] == pytest.approx(held, abs=0.1)


def test_without_a_time_in_the_stream_the_arrival_counts_and_a_stall_ties_anew() -> None:
    stamps = Stamps(latency_s=0.0)
    assert [stamps.stamp(-1, n) for n in (1, 2, 3)] == [0, 0, 0]
    assert [stamps.stamp(i * 10_000_000, i * 10_000_000) for i in (1, 2, 3)] == [0, 0, 0]
    assert stamps.stamp(40_000_000, 9_000_000_000) == 0


# ---------------------------------------------------------------- files


def encoded(kind: str = ".jpg") -> bytes:
    return cv2.imencode(kind, SHARP)[1].tobytes()


@pytest.mark.parametrize("kind", [".jpg", ".png"])
def test_no_beginning_of_a_file_is_taken_for_the_whole(kind: str) -> None:
    raw = encoded(kind)
    assert whole(raw)
    assert whole(raw + b"\0" * 10) == (kind == ".jpg")
    assert not any(whole(raw[:cut]) for cut in range(len(raw)))


def test_a_file_that_is_written_slowly_is_taken_once_and_only_whole(tmp_path: Path) -> None:
    (tmp_path / "old.jpg").write_bytes(encoded())
    folder = Folder(tmp_path, whole_within_s=5.0)
    folder.begin()
    raw, file = encoded(), tmp_path / "part-7.jpg"
    taken = []
    with file.open("wb") as out:
        for i in range(0, len(raw), 997):
            out.write(raw[i : i + 997])
            out.flush()
            taken += folder.news(i)
            assert not taken or i + 997 >= len(raw)
    taken += folder.news(len(raw))
    assert [(name, data) for name, data, _ in taken] == [("part-7.jpg", raw)]
    assert folder.news(len(raw) + 1) == []
    assert folder.broken == 0


def test_a_file_that_stays_half_is_given_up_and_named(tmp_path: Path) -> None:
    folder = Folder(tmp_path, whole_within_s=5.0)
    folder.begin()
    (tmp_path / "half.jpg").write_bytes(encoded()[:-2])
    (tmp_path / ".hidden.jpg").write_bytes(encoded())
    (tmp_path / "still-coming.jpg.part").write_bytes(encoded())
    assert folder.news(0) == []
    assert folder.news(6_000_000_000) == []
    assert (folder.broken, folder.last_broken) == (1, "half.jpg")
    (tmp_path / "still-coming.jpg.part").rename(tmp_path / "there.jpg")
    assert [name for name, _, _ in folder.news(7_000_000_000)] == ["there.jpg"]


# ---------------------------------------------------------------- the newest picture, and only it


class Slow:
    """A sink that takes nothing until it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Sequence[Sample], Callable[[], None]]] = []

    def samples(self, batch: Sequence[Sample], committed: Callable[[], None] | None = None) -> None:
        assert committed is not None
        self.waiting.append((batch, committed))

    def take(self) -> Any:
        batch, committed = self.waiting.pop(0)
        committed()
        return batch[0].value


def test_a_slow_taker_gets_the_newest_picture_not_a_queue() -> None:
    clock, sink = ManualClock(), Slow()
    outbox = Outbox(sink, clock.mono_ns)  # type: ignore[arg-type]
    for number in range(100):
        outbox.offer([Sample("eye", number, 0, 0, 0, 0)])
    assert [sink.take() for _ in range(3)] == [0, 1, 99]
    assert not sink.waiting
    assert outbox.skipped == 97


def test_batches_that_were_dropped_on_their_way_do_not_stop_the_camera_for_ever() -> None:
    clock, sink = ManualClock(), Slow()
    outbox = Outbox(sink, clock.mono_ns)  # type: ignore[arg-type]
    for number in range(3):
        outbox.offer([Sample("eye", number, 0, 0, 0, 0)])
    sink.waiting.clear()
    clock.advance(6)
    outbox.offer([Sample("eye", 7, 0, 0, 0, 0)])
    assert sink.take() == 7


# ---------------------------------------------------------------- one thread with one source


class Script:
    """A source that plays what it is given."""

    facts: Mapping[str, Any] = {}

    def __init__(self, *played: Frame | Exception) -> None:
        self.played, self.closed = played, False

    def frames(self, stop: threading.Event) -> Iterator[Frame | None]:
        for one in self.played:
            if isinstance(one, Exception):
                raise one
            yield one

    def close(self) -> None:
        self.closed = True


def play(sources: list[Any], **tags: Tag) -> tuple[list[Sample], list[tuple[str, str]], Eye]:
    """Run an eye until its sources are used up."""
    got: list[Sample] = []
    said: list[tuple[str, str]] = []

    class Sink:
        def samples(self, batch: Sequence[Sample], committed: Any = None) -> None:
            got.extend(batch)
            committed()

    def open_source(*_: Any) -> Any:
        if not sources:
            eye.stop.set()
            raise PlantError("the script is over")
        if isinstance(source := sources.pop(0), Exception):
            raise source
        return source

    clock = SystemClock()
    eye = Eye(
        config(url="rtsp://10.0.0.9/cam"), tags, home=Path(), clock=clock, outbox=Outbox(Sink(), clock.mono_ns),  # type: ignore[arg-type]
        said=lambda *what: said.append(what), open_source=open_source,
    )  # fmt: skip
    eye.run()
    return got, said, eye


def test_a_camera_that_goes_is_opened_again_and_said_so() -> None:
    colour = np.zeros((10, 10, 3), np.uint8)
    colour[:5] = (10, 20, 200)  # blue, green, red
    first, second = Script(Frame(colour), PlantError("no picture within 2 s")), Script(Frame(colour))
    got, said, eye = play([first, PlantError("cannot be opened"), second], plate=tag(colour="rgb"), grey=tag())
    assert [s.tag for s in got] == ["plate", "grey"] * 2
    assert got[0].value[0, 0].tolist() == [200, 20, 10]  # type: ignore[index]
    assert got[1].value.shape == (10, 10)  # type: ignore[union-attr]
    assert said == [("up", "10 x 10 pixels"), ("down", "no picture within 2 s"), ("down", "cannot be opened"), ("up", "10 x 10 pixels")]
    assert first.closed
    assert eye.opens == 4


def test_the_file_name_says_which_part_it_is_before_the_picture_comes() -> None:
    got, _, _ = play(
        [Script(Frame(SHARP, name="part-000123.jpg"), Frame(SHARP, name="odd.jpg"))], number=tag(number="part-([0-9]+)"), eye=tag()
    )
    assert [(s.tag, s.value if s.tag == "number" else "picture", s.quality) for s in got] == [
        ("number", 123, 0),
        ("eye", "picture", 0),
        ("number", None, Quality.TYPE),
        ("eye", "picture", 0),
    ]


def test_a_film_that_is_over_is_not_played_again() -> None:
    script = Script(Frame(SHARP), Over("film.mp4 is at its end"))
    stopper = threading.Timer(0.3, lambda: found.append(threading.active_count()))
    found: list[int] = []
    eye_holder: list[Eye] = []

    def run() -> None:
        clock = SystemClock()

        class Sink:
            def samples(self, batch: Sequence[Sample], committed: Any = None) -> None:
                committed()

        eye = Eye(
            config(file="film.mp4"), {"eye": tag()}, home=Path(), clock=clock, outbox=Outbox(Sink(), clock.mono_ns),  # type: ignore[arg-type]
            said=lambda *_: None, open_source=lambda *_: script,
        )  # fmt: skip
        eye_holder.append(eye)
        eye.run()

    thread = threading.Thread(target=run)
    thread.start()
    stopper.start()
    stopper.join()
    assert thread.is_alive()
    assert eye_holder[0].opens == 1
    eye_holder[0].stop.set()
    thread.join(2)
    assert not thread.is_alive()
