"""Whatever a user did wrong is one line, never a traceback."""

import sys
from pathlib import Path

import pytest

from edge_agent import cli


def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    monkeypatch.setattr(sys, "argv", ["edge-agent", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return int(ended.value.code or 0), capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    code, text = said(monkeypatch, capsys, "models", "keygen", "k", "--into", tmp_path / "file" / "keys")
    assert (code, text) == (1, f"{tmp_path}/file/keys: Not a directory\n")


def test_debug_shows_where_it_came_from(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(sys, "argv", ["edge-agent", "--debug", "models", "keygen", "k", "--into", str(tmp_path / "file" / "keys")])
    with pytest.raises(NotADirectoryError):
        cli.main()
