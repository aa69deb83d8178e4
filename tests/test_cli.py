"""The command line: help, exit status, one clear line for what went wrong."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
import threading

import pytest
import rasterio

from hmavel import cli, config, simulate

COMMANDS = ["demo", "pair", "run", "scenes", "config"]


@pytest.mark.parametrize("command", [None, *COMMANDS])
def test_help_has_examples_of_the_command(command, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main([command, "--help"] if command else ["--help"])
    assert ended.value.code == cli.DONE
    text = capsys.readouterr().out
    assert f"  hmavel {command or 'demo'}" in text
    assert all(len(line) <= 100 for line in text.splitlines())
    if command is None:
        assert all(name in text for name in COMMANDS)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from hmavel.cli import main\n"
        "try: main(['run', '--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'numpy', 'rasterio', 'pydantic', 'joblib', 'matplotlib', 'rich'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _write_pair(folder):
    pair = simulate.shifted_pair(0.5, -1.25, seed=4, shape=(160, 160))
    files = [str(folder / f"LC08_L1TP_140041_201305{day}_B8.TIF") for day in ("03", "19")]
    for file, image in zip(files, (pair.reference, pair.secondary), strict=True):
        with rasterio.open(
            file, "w", driver="GTiff", width=160, height=160, count=1, dtype="float32",
            crs="EPSG:32645", transform=rasterio.Affine(15, 0, 450007.5, 0, -15, 3300007.5),
        ) as raster:  # fmt: skip
            raster.write(image, 1)
    return files


def test_a_plain_pair_loads_nothing_that_only_others_need(tmp_path):
    files = _write_pair(tmp_path)
    out = str(tmp_path / "out")
    code = (
        "import sys; from hmavel.cli import main\n"
        f"status = main(['pair', *{files}, '--out', {out!r}, '--no-figure'])\n"
        "heavy = {'pyproj', 'netCDF4', 'geopandas', 'matplotlib', 'scipy.fft', 'joblib'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "out" / "pair.json").read_text())
    assert "GDAL" in record["libraries"]
    assert "netCDF" not in record["libraries"]  # no bytes of it depend on that


@pytest.mark.parametrize("wrong", [["--window", "7"], ["--stable", "nowhere.gpkg"]])
def test_what_is_wrong_beside_the_images_ends_their_reading(tmp_path, capsys, wrong):
    files = _write_pair(tmp_path)
    usage = wrong[0] == "--window"
    status = cli.main(["pair", *files, "--out", str(tmp_path / "out"), "--no-figure", *wrong])
    assert status == (cli.WRONG_USAGE if usage else cli.SOME_FAILED)
    assert ("correlate.window" if usage else "nowhere.gpkg") in capsys.readouterr().err
    assert "reader" not in {thread.name for thread in threading.enumerate()}
    assert not (tmp_path / "out").exists()


def test_config_prints_the_template_or_writes_it(tmp_path, capsys):
    assert cli.main(["config"]) == cli.DONE
    assert capsys.readouterr().out == config.template()
    assert cli.main(["config", "--out", str(tmp_path / "my.toml")]) == cli.DONE
    assert config.load(tmp_path / "my.toml") == config.from_dict({}, base=tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [[], ["velocity"], ["pair", "a.tif", "b.tif"], ["run"], ["run", "x", "--jobs", "b"]],
)
def test_wrong_usage_is_status_2(arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    assert ended.value.code == cli.WRONG_USAGE
    assert "usage: hmavel" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["run", "scenes"])
def test_a_wrong_configuration_is_status_2_and_one_line(command, tmp_path, capsys):
    path = tmp_path / "my.toml"
    path.write_text("[correlate]\nwindw = 32\n")
    assert cli.main([command, str(path)]) == cli.WRONG_USAGE
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        f"hmavel: config {path}: expected a known key in [correlate], got 'windw'; "
        "did you mean 'window'?"
    ]


def test_a_message_after_the_streams_were_replaced_goes_to_the_new_one(monkeypatch):
    first, second = io.TextIOWrapper(io.BytesIO()), io.StringIO()
    monkeypatch.setattr(sys, "stderr", first)
    cli.main(["config"])  # any command sets the messages up
    first.close()
    monkeypatch.setattr(sys, "stderr", second)
    logging.getLogger("hmavel.bias").warning("little bare ground")
    assert second.getvalue() == "little bare ground\n"
