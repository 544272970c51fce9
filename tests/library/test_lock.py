"""One writer per index, whatever becomes of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from cmo.errors import LibraryError, WriterLocked
from cmo.library.lock import LOCK_FILE, writer_lock

ROOT = Path(__file__).resolve().parents[2]
HOLD = """
import sys, time
from pathlib import Path
from cmo.library.lock import writer_lock
with writer_lock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(storage: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(storage)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_with_a_sentence_that_names_the_first(tmp_path: Path) -> None:
    process = holder(tmp_path)
    with pytest.raises(WriterLocked) as refusal, writer_lock(tmp_path):
        pass
    process.communicate("")
    assert f"process {process.pid} on {os.uname().nodename} since 20" in str(refusal.value)
    assert "wait until it is done, or stop it" in str(refusal.value)


def test_a_second_writer_in_the_same_process_is_refused(tmp_path: Path) -> None:
    with writer_lock(tmp_path), pytest.raises(WriterLocked), writer_lock(tmp_path):
        pass


def test_the_lock_dies_with_its_process(tmp_path: Path) -> None:
    process = holder(tmp_path)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with writer_lock(tmp_path):
        pass


def test_a_child_of_the_writer_does_not_keep_the_lock(tmp_path: Path) -> None:
    with writer_lock(tmp_path):
        child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    with writer_lock(tmp_path):
        pass
    child.communicate(b"")


def test_the_lock_is_free_after_use_and_names_nobody(tmp_path: Path) -> None:
    with writer_lock(tmp_path):
        assert str(os.getpid()) in (tmp_path / LOCK_FILE).read_text()
    assert (tmp_path / LOCK_FILE).read_text() == ""
    with writer_lock(tmp_path):
        pass


def test_a_holder_that_left_no_name_is_still_a_holder(tmp_path: Path) -> None:
    with writer_lock(tmp_path):
        (tmp_path / LOCK_FILE).write_text("half a li")
        with pytest.raises(WriterLocked, match="another process"), writer_lock(tmp_path):
            pass


def test_a_folder_that_is_not_there_cannot_be_locked(tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="cannot be written"), writer_lock(tmp_path / "missing"):
        pass
