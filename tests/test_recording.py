"""Frames in, the same frames out, whatever happens to the end of the file."""

from __future__ import annotations

import random
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_agent.errors import EdgeAgentError
from edge_agent.messages import Sample
from edge_agent.recording import VERSION, Recorder, read, samples_frame, samples_of


def record(path: Path, n: int = 100) -> None:
    recorder = Recorder(path, {"agent": "a"})
    for i in range(n):
        recorder.put(["tick", i])
    recorder.close()


def test_frames_come_back_in_order(tmp_path: Path) -> None:
    record(tmp_path / "r")
    frames = list(read(tmp_path / "r"))
    assert frames[0] == ["head", {"version": VERSION, "agent": "a"}]
    assert frames[1:] == [["tick", i] for i in range(100)]


def test_a_picture_comes_back_in_its_shape() -> None:
    for shape in ((3, 4), (3, 4, 3)):
        picture = np.arange(np.prod(shape), dtype=np.uint8).reshape(shape)
        (back,) = samples_of(samples_frame([Sample("eye", picture, 0, 1, 2, 3)]))
        assert isinstance(back.value, np.ndarray)
        assert back.value.dtype == np.uint8
        assert np.array_equal(back.value, picture)


def test_samples_survive_with_type_quality_and_waveform() -> None:
    batch = [Sample("a", 1.5, 4, 1, 2, 3), Sample("b", True, 0, 1, 2, 3), Sample("w", np.arange(4, dtype=np.float32), 0, 1, 2, 3)]
    back = samples_of(samples_frame(batch))
    assert back[:2] == batch[:2]
    assert isinstance(back[1].value, bool)
    assert isinstance(back[2].value, np.ndarray)
    assert back[2].value.tolist() == [0, 1, 2, 3]


def test_a_recording_cut_off_by_the_mains_is_good_up_to_there(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", {"agent": "a"})
    noise = random.Random(1)
    for i in range(5_000):
        recorder.put(["tick", i, noise.randbytes(100)])
    recorder.close()
    whole = (tmp_path / "r").read_bytes()
    (tmp_path / "cut").write_bytes(whole[: len(whole) * 2 // 3])
    frames = list(read(tmp_path / "cut"))
    assert [frame[1] for frame in frames[1:]] == list(range(len(frames) - 1))
    assert 100 < len(frames) < 5_000


def test_a_recording_whose_process_is_killed_holds_all_but_its_last_second(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "r", {"agent": "a"})
    start = time.monotonic()
    count = 0
    while time.monotonic() - start < 2.5:
        recorder.put(["tick", count])
        count += 1
        time.sleep(0.01)
    (tmp_path / "as it lies on disk").write_bytes((tmp_path / "r").read_bytes())
    recorder.close()
    assert len(list(read(tmp_path / "as it lies on disk"))) > 100


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "r").write_text("mine")
    with pytest.raises(FileExistsError):
        Recorder(tmp_path / "r", {})
    assert (tmp_path / "r").read_text() == "mine"


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_noise_is_refused_in_plain_words(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "r"
    path.write_bytes(noise)
    with pytest.raises(EdgeAgentError, match="recording"):
        list(read(path))
