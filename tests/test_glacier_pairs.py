"""The fingerprints by which a second run knows the pairs that are made."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from small_run import changed, one_glacier

from hmavel import __version__, planning, state
from hmavel.config import as_json
from hmavel.glacier_pairs import PairFingerprints
from hmavel.inputs import INPUTS


@pytest.fixture(scope="module")
def planned(archive, tmp_path_factory):
    folder = tmp_path_factory.mktemp("planned")
    given = changed(one_glacier(archive.path, folder), output={"folder": folder / "out"})
    return given, planning.plan(given, jobs=1).glaciers[0]


def in_one_piece(choice, site, config):
    """Everything anew for one pair, in the order that records on disk are known by."""
    stages = (config.mask, config.correlate, config.bias, config.uncertainty, config.gates)
    return state.fingerprint(
        __version__, INPUTS, [as_json(stage) for stage in stages],
        [state.scene_facts(scene) for scene in (choice.reference, choice.secondary)],
        [state.grid_facts(site.grid), site.outline.wkb_hex, int(site.any_ice.sum())],
        config.glaciers.outlines(), config.glaciers.shade_buffer_m, str(config.input.dem),
    )  # fmt: skip


def test_a_scene_is_looked_at_once_and_nothing_else_changes(planned, monkeypatch):
    given, glacier = planned
    expected = [in_one_piece(choice, glacier.site, given) for choice in glacier.pairs]
    looked, facts = Counter(), state.scene_facts

    def counted(scene):
        looked[scene.id] += 1
        return facts(scene)

    monkeypatch.setattr(state, "scene_facts", counted)
    fingerprints = PairFingerprints(glacier.site, given)
    assert [fingerprints.of(choice) for choice in glacier.pairs] == expected
    assert len(set(expected)) == len(expected) > 2
    assert set(looked.values()) == {1}


def test_other_options_scenes_and_ground_are_other_pairs(planned):
    given, glacier = planned
    choice, site = glacier.pairs[0], glacier.site
    known = PairFingerprints(site, given).of(choice)
    newer = replace(choice, reference=replace(choice.reference, version="another"))
    assert PairFingerprints(site, given).of(newer) != known
    assert PairFingerprints(site, changed(given, bias={"model": "none"})).of(choice) != known
    assert PairFingerprints(replace(site, any_ice=~site.any_ice), given).of(choice) != known
