"""Fixtures that several test files share."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.register_assert_rewrite("small_run")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data beside the checkout; tests that need it skip where it is absent."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there")
    return folder


# What follows is made once in each process that runs tests, and not to be changed: take a
# copy, or put back what was there. It imports the chain late: some tests have no use for it.


@pytest.fixture(scope="session")
def archive(tmp_path_factory):
    """Return the truth of an archive on disk: six scenes of 5 km on a side, three glaciers."""
    from hmavel import simulate

    root = tmp_path_factory.mktemp("archive")
    return simulate.archive(root, seed=3, size=361, years=0.26, start="2021-06-01")


@pytest.fixture(scope="session")
def finished(archive, tmp_path_factory):
    """Return a finished run on one glacier: (settings, result)."""
    from small_run import one_glacier

    from hmavel import workflow

    given = one_glacier(archive.path, tmp_path_factory.mktemp("run"))
    return given, workflow.run(given, jobs=1)


@pytest.fixture
def again(finished, tmp_path):
    """Return the settings of a copy of the finished run on one glacier."""
    from small_run import changed

    given, _ = finished
    folder = tmp_path / "out"
    shutil.copytree(given.output.folder, folder)
    return changed(given, output={"folder": folder})


@pytest.fixture(scope="session")
def serial_toml(archive):
    """Return the configuration, as text, of a run on two glaciers and their region."""
    from small_run import GLACIERS, settings_text

    return settings_text(archive.path, ids=GLACIERS[1:], wgs84=True)


@pytest.fixture(scope="session")
def serial(serial_toml, tmp_path_factory):
    """Return the folder of an undisturbed serial run on two glaciers: my.toml and out."""
    from hmavel import config, workflow

    folder = tmp_path_factory.mktemp("serial")
    toml = folder / "my.toml"
    toml.write_text(serial_toml)
    result = workflow.run(config.load(toml), jobs=1)
    assert result.failures == []
    assert len(result.glaciers) == 2
    return folder
