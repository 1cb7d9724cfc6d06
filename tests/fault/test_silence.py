"""In a network namespace of its own, under strace: nobody is spoken to who is not configured, and no file is written elsewhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

LOOPBACK = {"127.0.0.1", "::1"}
EVERYBODYS = ("/dev/null", "/dev/shm/", "/proc/self/", "/dev/tty")  # nothing there survives us
NAME_CACHE = "/var/run/nscd/socket"  # libc asks it for users and groups
CALLS = "connect,sendto,sendmsg,sendmmsg,openat,open,creat,mkdir,mkdirat,rename,renameat,renameat2,linkat,symlinkat"
_ADDRESS = re.compile(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"')
_UNIX = re.compile(r'connect\(\d+, \{sa_family=AF_UNIX, sun_path=@?"([^"]+)"')
_WRITTEN = re.compile(
    r'(?:open|openat)\((?:AT_FDCWD, )?"([^"]+)", [^,)]*(?:O_WRONLY|O_RDWR|O_CREAT)|(?:creat|mkdir|mkdirat)\((?:AT_FDCWD, )?"([^"]+)"'
)
_RENAMED = re.compile(r'(?:rename|renameat|renameat2|linkat|symlinkat)\(.*"([^"]+)"')


@dataclass
class Seen:
    """What a program did, by strace."""

    calls: int = 0
    strangers: set[str] = field(default_factory=set)
    elsewhere: set[str] = field(default_factory=set)


def watched(
    command: list[str], folder: Path, environment: Mapping[str, str] | None = None
) -> tuple[subprocess.CompletedProcess[str], Seen]:
    """Run it, alone with the loopback. `folder` is where it may write."""
    if os.geteuid() != 0 or shutil.which("strace") is None:
        pytest.fail("this test makes a network namespace and runs strace: run it as root, after `make counterparts`")
    trace = folder.parent / "trace"
    inner = 'ip link set lo up && exec strace -f --seccomp-bpf -s 300 -o "$TRACE" -e "trace=$CALLS" "$@"'
    own = {"HOME": str(folder / "home"), "TMPDIR": str(folder), "PYTHONDONTWRITEBYTECODE": "1", "TRACE": str(trace), "CALLS": CALLS}
    (folder / "home").mkdir(parents=True, exist_ok=True)
    around = ["unshare", "--net", "sh", "-c", inner, "sh", *command]
    done = subprocess.run(around, cwd=folder, env=os.environ | own | dict(environment or {}), capture_output=True, text=True, check=False)
    return done, _judge(trace.read_text(errors="replace"), folder)


def _judge(trace: str, folder: Path) -> Seen:
    seen = Seen()
    for line in trace.splitlines():
        seen.calls += 1
        seen.strangers |= {a or b for a, b in _ADDRESS.findall(line)} - LOOPBACK
        seen.strangers |= {path for path in _UNIX.findall(line) if not _inside(path, folder) and path != NAME_CACHE}
        if "ENOENT" not in line:
            seen.elsewhere |= {a or b for a, b in _WRITTEN.findall(line) if not _inside(a or b, folder)}
            seen.elsewhere |= {path for path in _RENAMED.findall(line) if not _inside(path, folder)}
    return seen


def _inside(path: str, folder: Path) -> bool:
    return not path.startswith("/") or Path(path).is_relative_to(folder) or path.startswith(EVERYBODYS)


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A short path: a socket lies in it."""
    made = tmp_path_factory.mktemp("s") / "f"
    made.mkdir()
    return made


@pytest.mark.torture
@pytest.mark.timeout(600)
def test_the_whole_loop_speaks_to_its_plant_only_and_writes_into_its_folder(folder: Path, figure: Callable[..., None]) -> None:
    done, seen = watched([sys.executable, "-m", "edge_agent", "demo", "--state", str(folder / "demo")], folder)
    assert done.returncode == 0, done.stdout + done.stderr  # the loop really closed: values, writes, records, a pull
    assert (seen.strangers, seen.elsewhere) == (set(), set())
    figure("silence", calls=seen.calls, strangers=0, files_elsewhere=0)


@pytest.mark.timeout(120)
def test_a_model_runs_in_silence(folder: Path) -> None:
    bundle = Path(__file__).parents[2] / "models" / "demo-pump"
    done, seen = watched([sys.executable, "-m", "edge_agent", "models", "bench", str(bundle)], folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (seen.strangers, seen.elsewhere) == (set(), set())


@pytest.mark.timeout(120)
def test_who_speaks_to_a_stranger_or_writes_elsewhere_is_seen(folder: Path, tmp_path: Path) -> None:
    """The control."""
    program = """
import pathlib, socket, sys
for address in (("192.0.2.1", 443), ("192.0.2.2", 53)):
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        try:
            sock.sendto(b"x", address)
        except OSError:
            pass
pathlib.Path(sys.argv[1]).write_text("x")
"""
    _, seen = watched([sys.executable, "-c", program, str(tmp_path / "elsewhere")], folder)
    assert seen.strangers == {"192.0.2.1", "192.0.2.2"}
    assert seen.elsewhere == {str(tmp_path / "elsewhere")}


@pytest.mark.torture
@pytest.mark.timeout(120)
def test_the_runtime_by_itself_is_not_silent(folder: Path, figure: Callable[..., None]) -> None:
    """The control that matters: the same library without our switch looks for its collector, or writes of us into the home folder."""
    model = Path(__file__).parents[2] / "models" / "demo-pump" / "model.onnx"
    program = f"import onnxruntime, time; onnxruntime.InferenceSession({str(model)!r}); time.sleep(5)"
    _, seen = watched([sys.executable, "-c", program], folder, {"ORT_DISABLE_TELEMETRY": "0"})
    written = [path for path in (folder / "home").rglob("*") if path.is_file()]
    assert seen.strangers or seen.elsewhere or written, "it is silent by itself now: the switch has become needless"
    figure("silence, control without our switch", strangers=len(seen.strangers), files=len(written))
