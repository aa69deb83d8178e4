"""The configuration: its template, its refusals, its round trip."""

from __future__ import annotations

import importlib
import inspect
import re
import tomllib
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from hmavel import config
from hmavel.correlator import Settings
from hmavel.errors import ConfigError


def write(folder, text):
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_the_template_loads_to_the_defaults_and_shows_every_option(tmp_path):
    loaded = config.load(write(tmp_path, config.template()))
    defaults = config.from_dict({}, base=tmp_path)
    assert loaded == defaults
    sections = tomllib.loads(config.template())
    for section, field in config.Config.model_fields.items():
        for key, option in field.annotation.model_fields.items():
            assert section in sections
            assert option.description in config.template()
            assert key in sections[section] or f"# {key} = " in config.template()


def test_options_that_are_not_set_have_an_example_that_is_valid(tmp_path):
    switched_on = [
        re.sub(r"^# (\w+ = )", r"\1", line)
        for line in config.template().splitlines()
    ]
    loaded = config.load(write(tmp_path, "\n".join(switched_on)))
    for section in config.Config.model_fields:
        stage = getattr(loaded, section)
        assert all(getattr(stage, key) is not None for key in type(stage).model_fields)


def test_the_saved_form_reads_back_to_the_same(tmp_path):
    (tmp_path / "a").mkdir()
    path = write(
        tmp_path / "a",
        '[input]\narchive = ["x y", "/data"]\nfirst = 2014-02-03\nwrs = ["140/041"]\n'
        '[glaciers]\nids = ["RGI60-15.03734", "quote\\"d"]\nbbox = [73.5, 29, 97, 42.25]\n'
        "[correlate]\nwindow = 64\n[months]\nscene_sigma_m = 1.5\n",
    )
    loaded = config.load(path)
    assert loaded.input.archive == [tmp_path / "a" / "x y", Path("/data")]
    assert loaded.output.folder == tmp_path / "a" / "hmavel-out"
    (tmp_path / "b").mkdir()
    assert config.load(write(tmp_path / "b", config.to_toml(loaded))) == loaded


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[correlate]\nwindw = 32", "expected a known key in [correlate], got 'windw'; "
         "did you mean 'window'?"),
        ("[corelate]\nwindow = 32", "got 'corelate'; did you mean [correlate]?"),
        ("window = 32", "got 'window'; did you mean 'window' of [correlate]?"),
        ("[pairs]\nxyz = 1", "got 'xyz'; known are min_days"),
        ("[correlate]\nwindow = 33", "correlate.window: an even number, got 33"),
        ("[correlate]\nwindow = 4", "correlate.window: greater than or equal to 8, got 4"),
        ("[correlate]\nwindow = 128", "coarse >= window, or coarse = 0, got 64 < 128"),
        ("[pairs]\nmin_days = 500", "max_days >= min_days"),
        ("[months]\nfirst = '2013-13'", 'a month like "2013-04", got \'2013-13\''),
        ("[input]\nwrs = ['140-041']", 'a path/row like "140/041", got \'140-041\''),
        ("[bias]\nmodel = 'cubic'", "bias.model: 'auto', 'constant'"),
        ("correlate = 3", "expected a section [correlate], got 3"),
        ("[pairs", "expected TOML, got"),
        ("[correlate]\nwindw = 3\nstep = 0", "did you mean 'window'? (1 more: correlate.step)"),
    ],
)
def test_what_is_wrong_is_named_with_its_file_and_mend(tmp_path, text, said):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        config.load(path)
    assert str(caught.value).startswith(f"config {path}: expected ")
    assert said in str(caught.value)


def defaults_of(stage):
    """Return the defaults of a function's keywords or a dataclass's fields."""
    if is_dataclass(stage):
        return {field.name: field.default for field in fields(stage)}
    parameters = inspect.signature(stage).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


@pytest.mark.parametrize(
    ("section", "stage", "own"),
    [
        ("mask", "hmavel.classes.Thresholds", set()),
        ("screening", "hmavel.screening.Limits", set()),
        ("pairs", "hmavel.pairing.select_pairs", {"prior_velocity", "prior_share"}),
        ("correlate", "hmavel.correlator.Settings",
         {"window", "coarse", "step", "reach", "domain_windows", "min_matched",
          "second_taper"}),
        ("correlate", "hmavel.correlator.correlate",
         {field.name for field in fields(Settings)}
         | {"domain_windows", "min_matched", "second_taper"}),
        ("bias", "hmavel.bias.fit_bias", set()),
        ("uncertainty", "hmavel.uncertainty.static_terrain", set()),
        ("months", "hmavel.consistency.doubtful",
         {"first", "last", "scene_sigma_m", "max_disagreement", "method", "smoothness",
          "coupling_m", "prior"}),
        ("months", "hmavel.month.compose_months",
         {"first", "last", "scene_sigma_m", "max_disagreement", "far_m", "coupling_m",
          "prior"}),
    ],
)
def test_defaults_are_those_of_the_stages_themselves(section, stage, own):
    module, name = stage.rsplit(".", 1)
    there = defaults_of(getattr(importlib.import_module(module), name))
    here = getattr(config.Config(), section).model_dump()
    assert {key: there.get(key, "no such option") for key in here if key not in own} == {
        key: value for key, value in here.items() if key not in own
    }


def test_sections_turn_into_what_the_stages_take():
    given = config.from_dict(
        {"mask": {"dark_b5": 0.07}, "screening": {"max_cloud": 0.2},
         "glaciers": {"ice_buffer_m": 60, "margin_m": 2000},
         "correlate": {"min_evidence": 7, "window": 16, "reach": 20}}
    )
    assert given.mask.thresholds().dark_b5 == 0.07
    limits = given.screening.limits(given.glaciers)
    assert (limits.max_cloud, limits.gap_m, limits.ground_m) == (0.2, 60, 2000)
    assert given.correlate.settings().min_evidence == 7
    assert given.correlate.windows() == {"window": 16, "coarse": 64, "step": 8, "reach": 20}


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such file"):
        config.load(tmp_path / "none.toml")


def test_columns_of_an_inventory(tmp_path):
    text = '[glaciers]\ncolumns = { id = "GGI_ID", area_km2 = "" }\nlayer = "ggi"\n'
    path = tmp_path / "a.toml"
    path.write_text(text)
    given = config.load(path)
    assert given.glaciers.reading() == {
        "path": tmp_path / "glaciers.gpkg", "columns": {"id": "GGI_ID", "area_km2": None},
        "layer": "ggi", "crs": None, "dissolve": False,
    }  # fmt: skip
    again = tmp_path / "b.toml"
    again.write_text(config.to_toml(given))
    assert config.load(again) == given
    with pytest.raises(ConfigError, match="columns"):
        config.from_dict({"glaciers": {"columns": {"area": "x"}}})


def test_what_products_tell_has_no_folders_and_no_secrets(tmp_path):
    given = config.from_dict(
        {
            "input": {"archive": ["scenes"]},
            "scenes": {"stac": ["https://me:key@host/v1?token=t", "items.json"]},
            "glaciers": {"inventory": str(tmp_path / "ice.gpkg")},
        },
        base=tmp_path,
    )  # fmt: skip
    told = config.product_options(given)
    assert told["input"]["archive"] == ["scenes"]
    assert told["scenes"]["stac"] == ["https://host/v1", "items.json"]
    assert told["glaciers"]["inventory"] == "ice.gpkg"
    assert told["input"]["dem"] is None
    assert told["correlate"] == config.as_json(given)["correlate"]
