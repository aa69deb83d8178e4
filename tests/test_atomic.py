"""A final name never stands on an unfinished file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

from hmavel.atomic import atomic_path, write_json, write_text
from hmavel.errors import WriteError


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_the_file_appears_under_its_name_only_when_the_block_has_ended(tmp_path: Path) -> None:
    final = tmp_path / "velocity.tif"
    with atomic_path(final) as temporary:
        temporary.write_bytes(b"half")
        assert not final.exists()
        assert temporary.parent == tmp_path  # else the rename could cross file systems
        assert temporary.name.startswith(".")
        assert temporary.suffix == ".tif"
        temporary.write_bytes(b"whole")
    assert final.read_bytes() == b"whole"
    assert names(tmp_path) == ["velocity.tif"]


def test_a_failure_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    final = tmp_path / "pair.json"
    final.write_text("old")

    def fail() -> None:
        with atomic_path(final) as temporary:
            temporary.write_text("new, not finis")
            raise KeyError("something else went wrong")

    with pytest.raises(KeyError, match="something else"):
        fail()
    assert final.read_text() == "old"
    assert names(tmp_path) == ["pair.json"]


def test_missing_folders_are_made(tmp_path: Path) -> None:
    write_text(tmp_path / "a" / "b" / "c.txt", "x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_a_file_in_the_place_of_the_folder_is_a_write_error_that_names_both(
    tmp_path: Path,
) -> None:
    (tmp_path / "out").write_text("I am a file")
    final = tmp_path / "out" / "pair.json"
    with pytest.raises(WriteError, match="expected a file that can be written") as caught:
        write_text(final, "x")
    assert str(final) in str(caught.value)
    assert str(tmp_path / "out") in caught.value.got


def test_a_folder_in_the_place_of_the_file_is_a_write_error(tmp_path: Path) -> None:
    (tmp_path / "velocity.tif").mkdir()
    with pytest.raises(WriteError, match=r"velocity\.tif"):
        write_text(tmp_path / "velocity.tif", "x")
    assert names(tmp_path) == ["velocity.tif"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_permission_is_a_write_error(tmp_path: Path) -> None:
    folder = tmp_path / "locked"
    folder.mkdir(mode=0o500)
    with pytest.raises(WriteError, match="Permission denied"):
        write_text(folder / "x.txt", "x")


def test_a_block_that_writes_nothing_is_a_write_error(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="No such file"), atomic_path(tmp_path / "x"):
        pass


def test_a_full_disk_is_a_write_error_and_leaves_nothing(tmp_path: Path) -> None:
    # A limit on the size of files is the refusal that a test can have without a full disk.
    script = f"""
        import resource, signal
        from hmavel.atomic import write_text
        from hmavel.errors import WriteError
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        try:
            write_text({str(tmp_path / "big.txt")!r}, "x" * 100_000)
        except WriteError as error:
            raise SystemExit(7 if "File too large" in str(error) else 8)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == 7
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_no_final_name(tmp_path: Path) -> None:
    final = tmp_path / "cube.nc"
    script = f"""
        import os, signal
        from hmavel.atomic import atomic_path
        with atomic_path({str(final)!r}) as temporary:
            temporary.write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not final.exists()
    assert all(name.startswith(".") for name in names(tmp_path))


def test_writers_of_one_file_do_not_disturb_each_other(tmp_path: Path) -> None:
    final = tmp_path / "scenes.json"
    contents = [str(i) * 100_000 for i in range(8)]
    threads = [threading.Thread(target=write_text, args=(final, text)) for text in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert final.read_text() in contents
    assert names(tmp_path) == ["scenes.json"]


def test_a_long_or_non_latin_name_stays_within_what_a_file_system_takes(tmp_path: Path) -> None:
    for stem in ("g" * 240, "冰川" * 40):
        write_text(tmp_path / f"{stem}.txt", "x")
        assert (tmp_path / f"{stem}.txt").read_text() == "x"


def test_json_is_readable_and_refuses_what_json_cannot_say(tmp_path: Path) -> None:
    final = tmp_path / "pair.json"
    write_json(final, {"dt": 16.000001, "name": "Yengisogat 音苏盖提", "bias": None})
    assert json.loads(final.read_text(encoding="utf-8"))["name"] == "Yengisogat 音苏盖提"
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(final, {"bias": float("nan")})
    assert json.loads(final.read_text(encoding="utf-8"))["dt"] == 16.000001
