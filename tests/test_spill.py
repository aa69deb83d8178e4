"""Arrays in memory and scratch files: exact, within the budget, never a fault of the run."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from hmavel.spill import Store, pack, remove_left_over


def image(seed: int, shape=(60, 50)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    out = rng.integers(1, 65536, shape).astype(np.float32)
    out[rng.random(shape) < 0.2] = np.nan
    return out


def arrays(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {"image": image(seed), "hidden": rng.random((7, 9)) < 0.5}


@pytest.mark.parametrize(
    ("array", "kind", "share"),
    [
        (image(1), "dn", 0.5),
        (np.full((3, 4), np.nan, np.float32), "dn", 0.5),
        (np.full((3, 4), 65535, np.float32), "dn", 0.5),
        (image(1) + np.float32(0.5), "plain", 1.0),  # resampled
        (np.where(np.isnan(image(1)), np.float32(0), image(1)), "plain", 1.0),  # 0 is a value
        (-image(1), "plain", 1.0),
        (image(1).astype(np.float64), "plain", 1.0),
        (np.arange(63).reshape(7, 9) % 3 == 0, "bits", 8 / 63),
        (np.zeros((0, 3), np.float32), "plain", 1.0),
    ],
)
def test_packed_exactly(array, kind, share):
    packed = pack(array)
    assert packed.kind == kind
    assert packed.data.nbytes == pytest.approx(share * array.nbytes)
    back = packed.unpack()
    assert back.dtype == array.dtype
    np.testing.assert_array_equal(back, array)


def test_what_does_not_fit_comes_back_from_scratch_files(tmp_path):
    one = sum(pack(a).data.nbytes for a in arrays(0).values())
    store = Store(2.5 * one, tmp_path / "scratch")
    for seed in range(6):
        store.put(str(seed), arrays(seed))
        assert store.held_bytes <= 2.5 * one
    assert store.spilled_bytes == 4 * one
    for seed in (0, 5, 3, 0, 1, 2, 4):
        back = store.get(str(seed))
        assert list(back) == ["image", "hidden"]
        for name, array in arrays(seed).items():
            np.testing.assert_array_equal(back[name], array)
        back["image"][:] = 0  # a copy: the store keeps its own
    assert store.held_bytes <= 2.5 * one
    assert store.spilled_bytes == 6 * one  # each at most once
    assert store.get("none") is None
    store.close()
    assert list((tmp_path / "scratch").iterdir()) == []
    assert store.get("0") is None


def test_without_a_folder_what_does_not_fit_is_forgotten():
    store = Store(1)
    store.put("a", arrays(1))
    assert store.get("a") is not None  # one is always kept
    store.put("b", arrays(2))
    assert store.get("a") is None
    assert store.spilled_bytes == 0


def test_a_full_disk_and_a_damaged_scratch_file_lose_time_only(tmp_path, monkeypatch, caplog):
    store = Store(1, tmp_path)
    really = Path.write_bytes

    def full(path, content):
        really(path, content[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    store.put("a", arrays(1))
    store.put("b", arrays(2))
    assert "No space left on device" in caplog.text
    assert list(tmp_path.rglob("*.bin")) == []
    assert store.get("a") is None
    monkeypatch.undo()
    store.put("a", arrays(1))
    (scratch,) = tmp_path.rglob("*.bin")
    scratch.write_bytes(scratch.read_bytes()[:-1] + b"?")
    assert store.get("b") is None
    assert "damaged" in caplog.text
    store.put("b", arrays(2))
    (scratch,) = [p for p in tmp_path.rglob("*.bin") if p.stat().st_size]
    scratch.unlink()
    assert store.get("a") is None
    store.close()


def test_many_threads_get_what_they_put(tmp_path):
    store = Store(20_000, tmp_path)

    def work(turn: int) -> bool:
        name = str(turn % 7)
        back = store.get(name)
        if back is None:
            store.put(name, arrays(turn % 7))
            return True
        return bool(np.array_equal(back["image"], image(turn % 7), equal_nan=True))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(200)))


def test_scratch_of_a_killed_process_is_removed(tmp_path):
    store = Store(1, tmp_path)
    store.put("a", arrays(1))
    store.put("b", arrays(2))
    (tmp_path / "kept").mkdir()
    assert remove_left_over(tmp_path) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
