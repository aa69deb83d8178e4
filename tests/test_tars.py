"""Products in tars: read where they are, with the numbers of the unpacked ones, or refused."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

import numpy as np
import pytest
from products import product_id, write_product

from hmavel import archive, state
from hmavel.errors import ReadError, SceneError
from hmavel.landsat import open_scene
from hmavel.scene_bands import read_b8, read_qa, reflectance
from hmavel.tars import list_tar, read_member, tar_members
from hmavel.vsi import shown


def pack(folder, tar, *, mode="w", prefix=""):
    with tarfile.open(tar, mode) as file:
        for path in sorted(folder.iterdir()):
            file.add(path, f"{prefix}{path.name}")
    return tar


@pytest.fixture
def product(tmp_path):
    rng = np.random.default_rng(4)
    bands = {f"B{n}": rng.uniform(0.1, 0.6, (60, 70)) for n in range(2, 8)}
    qa = np.full((60, 70), 21824)
    b8 = rng.uniform(0.1, 0.6, (119, 139))
    return write_product(tmp_path / "folder", product_id(), bands=bands, qa=qa, b8=b8)


@pytest.mark.parametrize(
    ("suffix", "mode", "prefix"),
    [(".tar", "w", ""), (".tar.gz", "w:gz", ""), (".tgz", "w:gz", "in/"), (".TAR", "w", "./")],
)
def test_a_tar_is_read_as_its_folder_is(product, tmp_path, suffix, mode, prefix):
    tar = pack(product, tmp_path / f"{product.name}{suffix}", mode=mode, prefix=prefix)
    before = sorted(tmp_path.iterdir())
    plain, packed = open_scene(product), open_scene(tar)
    assert packed.path == tar
    assert (packed.id, packed.time, packed.grid) == (plain.id, plain.time, plain.grid)
    assert packed.reflectance == plain.reflectance
    assert set(packed.bands) == set(plain.bands)
    window = plain.grid.crop(30, 40, 50, 60)
    for read in (read_b8, read_qa):
        assert np.array_equal(read(packed)[0], read(plain)[0], equal_nan=True)
    assert np.array_equal(read_b8(packed, window)[0], read_b8(plain, window)[0])
    assert np.array_equal(reflectance(packed, "B6")[0], reflectance(plain, "B6")[0])
    assert sorted(tmp_path.iterdir()) == before  # nothing was unpacked


def test_tars_are_found_and_the_folder_goes_before_its_tar(product, tmp_path):
    store = tmp_path / "store"
    store.mkdir()
    tar = pack(product, store / f"{product.name}.tar")
    other = write_product(tmp_path / "x", product_id("20200121"))
    pack(other, store / f"{other.name}.tar.gz", mode="w:gz")
    found = archive.find_scenes(store)
    assert [scene.id for scene in found.scenes] == [product.name, other.name]
    assert found.rejected == []
    both = archive.find_scenes([store, tmp_path / "folder"])
    assert both.scenes[0].path == product
    assert both.rejected == [(tar, f"a copy of {product}")]
    assert not both.rejected[0].fault


def test_what_a_run_remembers_of_a_tar_changes_with_it(product, tmp_path):
    tar = pack(product, tmp_path / f"{product.name}.tar")
    facts = state.scene_facts(open_scene(tar))
    assert facts == state.scene_facts(open_scene(tar))
    os.utime(tar, ns=(1, 1))
    assert facts != state.scene_facts(open_scene(tar))


@pytest.mark.parametrize("name", ["/etc/cron.d/x", "../x.TIF", "a/../../x.TIF"])
def test_names_that_lead_out_of_a_tar_refuse_it(product, tmp_path, name):
    tar = pack(product, tmp_path / f"{product.name}.tar")
    with tarfile.open(tar, "a") as file:
        file.addfile(tarfile.TarInfo(name), io.BytesIO())
    with pytest.raises(SceneError, match=r"stay inside it, got .*it is refused"):
        open_scene(tar)
    found = archive.find_scenes(tar)
    assert found.scenes == []
    assert name in found.rejected[0].reason
    assert found.rejected[0].fault


@pytest.mark.parametrize("mode", ["w", "w:gz"])
@pytest.mark.parametrize("share", [0.999, 0.7, 0.3, 0.01])
def test_a_partial_tar_is_refused_wherever_it_was_cut(product, tmp_path, mode, share):
    whole = pack(product, tmp_path / "whole", mode=mode).read_bytes()
    tar = tmp_path / f"{product.name}.tar{'.gz' * (mode != 'w')}"
    members = tar_members(tmp_path / "whole")
    end = len(whole) if mode != "w" else max(m.offset + m.size for m in members)
    tar.write_bytes(whole[: int(share * end)])
    with pytest.raises(ReadError, match=r"got (one that stops before|another kind)"):
        open_scene(tar)


def test_a_tar_cut_exactly_between_two_members_is_refused(product, tmp_path):
    tar = pack(product, tmp_path / f"{product.name}.tar")
    members = sorted(tar_members(tar), key=lambda member: member.offset)
    cuts = (members[-1].offset - 512, members[1].offset + -(-members[1].size // 512) * 512)
    for cut in cuts:  # before the last name and behind its extended header; behind the second
        with tar.open("r+b") as file:
            file.truncate(cut)
        with pytest.raises(ReadError, match="stops before its end"):
            list_tar(tar)


def test_what_is_no_product_in_a_tar(product, tmp_path):
    junk = tmp_path / f"{product_id('20200301')}.tar"
    junk.write_bytes(os.urandom(5000))
    with pytest.raises(ReadError, match="got another kind of file"):
        open_scene(junk)
    empty = tmp_path / f"{product_id('20200302')}.tar"
    with tarfile.open(empty, "w"):
        pass
    with pytest.raises(ReadError, match="a tar without files"):
        open_scene(empty)
    with pytest.raises(ReadError, match="no such file"):
        open_scene(tmp_path / "none.tar")
    for path in product.glob("*_B8.TIF"):
        path.unlink()
    with pytest.raises(SceneError, match=r"expected Band 8.*no such file"):
        open_scene(pack(product, tmp_path / f"{product.name}.tar"))


def test_a_tar_of_many_products_is_not_guessed_at(product, tmp_path):
    other = write_product(tmp_path / "x", product_id("20200121"))
    tar = tmp_path / f"{product.name}.tar"
    with tarfile.open(tar, "w") as file:
        for folder in (product, other):
            file.add(folder, folder.name)
    with pytest.raises(SceneError, match=r"one product, got the MTLs .*; pack each by itself"):
        open_scene(tar)


def test_resource_forks_links_and_devices_are_passed_over(product, tmp_path):
    tar = pack(product, tmp_path / f"{product.name}.tar")
    with tarfile.open(tar, "a") as file:
        fork = tarfile.TarInfo(f"._{product.name}_B8.TIF")
        fork.size = 3
        file.addfile(fork, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("x_B8.TIF")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    names = [path.name for path in list_tar(tar)]
    assert names == sorted(path.name for path in product.iterdir())
    assert open_scene(tar).id == product.name


def test_a_real_scene_from_before_the_collections_in_a_tar(shared_data, tmp_path):
    folder = tmp_path / "LC80630182016200LGN00"
    folder.mkdir()
    for path in (shared_data / "yahtse").glob("LC80630182016200LGN00*"):
        (folder / path.name).symlink_to(path)
    tar = tmp_path / f"{folder.name}.tar"
    with tarfile.open(tar, "w", dereference=True) as file:
        for path in sorted(folder.iterdir()):
            file.add(path, path.name)
    plain, packed = open_scene(folder), archive.find_scenes(tar).scenes[0]
    assert (packed.id, packed.time, packed.grid) == (plain.id, plain.time, plain.grid)
    assert (packed.level, packed.wrs, packed.sensor) == ("L1TP", (63, 18), "LC08")
    window = plain.grid.crop(300, 400, 64, 64)
    assert np.array_equal(read_b8(packed, window)[0], read_b8(plain, window)[0])


def test_members_are_shown_as_people_write_them(product, tmp_path):
    tar = pack(product, tmp_path / f"{product.name}.tar")
    mtl = next(path for path in list_tar(tar) if path.name.endswith("MTL.txt"))
    assert shown(mtl) == f"{tar}/{product.name}_MTL.txt"
    assert read_member(mtl) == (product / mtl.name).read_bytes()
    shutil.rmtree(product)


def test_a_truncated_image_in_a_whole_tar_is_named(product, tmp_path):
    band8 = product / f"{product.name}_B8.TIF"
    band8.write_bytes(band8.read_bytes()[:12_000])
    tar = pack(product, tmp_path / f"{product.name}.tar")
    with pytest.raises(ReadError, match=r"_B8\.TIF: expected at least \d+ bytes"):
        open_scene(tar)
