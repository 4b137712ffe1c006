"""Caption files in the layout of their sources, small and real; images in folders and shards, some of them broken."""

import gzip
import io
import json
import tarfile
import zipfile

import numpy as np
import pytest

from cslab.collections import captions as sources
from cslab.collections.caption_sums import SUMS
from cslab.collections.captions import Captions, karpathy, multi30k, read_caption_table, wit, xflickrco, xm3600, xtd10
from cslab.collections.download import relative_path
from cslab.collections.images import ARCHIVES, Images, image_archives
from cslab.store import CslabError
from tests.real import SHARED, needs_shared


def put(root, url, text):
    path = root / relative_path(url)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()) if url.endswith(".gz") else text.encode())


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    root = tmp_path / "mirror"
    monkeypatch.setenv("CSLAB_MIRROR", str(root))
    monkeypatch.setattr(sources, "SUMS", {})  # the files here are made up
    put(root, sources.MULTI30K + "task1/image_splits/val.txt", "1.jpg\n2.jpg\n")
    put(root, sources.MULTI30K + "task1/raw/val.en.gz", "A fox.\nA  hen. \n")
    put(root, sources.MULTI30K + "task1/raw/val.de.gz", "Ein Fuchs.\nEine Henne.\n")
    put(root, sources.MULTI30K + "task2/image_splits/val_images.txt", "1.jpg\n2.jpg\n")
    for number in range(1, 6):
        put(root, sources.MULTI30K + f"task2/raw/val.{number}.en.gz", f"fox {number}\nhen {number}\n")
    put(root, sources.XTD10 + "XTD10/test_image_names.txt", "COCO_train2014_000000000001.jpg\n")
    put(root, sources.XTD10 + "XTD10/test_1kcaptions_en.txt", "a fox")
    put(root, sources.XTD10 + "STAIR/test_1kcaptions_jp.txt", "狐\n")
    return root


def test_multi30k(mirror):
    found = multi30k("val", ["en", "de"])
    assert found.texts == {
        "en": {"1.jpg": ("A fox.",), "2.jpg": ("A hen.",)},
        "de": {"1.jpg": ("Ein Fuchs.",), "2.jpg": ("Eine Henne.",)},
    }
    five = multi30k("val", ["en"], task=2)
    assert five.texts["en"]["2.jpg"] == tuple(f"hen {number}" for number in range(1, 6))
    assert five.rows("en", ["2.jpg"]) == (["2.jpg"] * 5, [f"hen {number}" for number in range(1, 6)])


def test_another_file_than_the_sources_own_is_refused(mirror, monkeypatch):
    monkeypatch.setattr(sources, "SUMS", SUMS)
    with pytest.raises(CslabError, match=r"sha256 is .*, expected 14f7d25d"):
        multi30k("val", ["en"])


def test_multi30k_that_does_not_fit(mirror):
    put(mirror, sources.MULTI30K + "task1/raw/val.fr.gz", "Un renard.\n")
    with pytest.raises(CslabError, match="1 captions for 2 images"):
        multi30k("val", ["fr"])
    with pytest.raises(CslabError, match="task 2 has no 'cs'"):
        multi30k("val", ["cs"], task=2)
    with pytest.raises(CslabError, match="did you mean 'train'"):
        multi30k("trian", ["en"])


def test_xtd10(mirror):
    found = xtd10(["en", "ja"])
    name = "COCO_train2014_000000000001.jpg"
    assert (found.texts["ja"][name], found.files[name]) == (("狐",), f"{sources.COCO_IMAGES}train2014/{name}")


def karpathy_file():
    def image(name, split, *texts):
        return {"filename": name, "filepath": "val2014", "split": split, "sentences": [{"raw": t} for t in texts]}

    return {"images": [image("a.jpg", "train", "x"), image("b.jpg", "restval", "y"), image("c.jpg", "test", "z ", " ")]}


def test_karpathy_split_in_a_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("sets/dataset_coco.json", json.dumps(karpathy_file()))
    path = tmp_path / "all.zip"
    assert list(karpathy("coco", "train", path).texts["en"]) == ["a.jpg", "b.jpg"]
    assert list(karpathy("coco", "train", path, rest=False).texts["en"]) == ["a.jpg"]
    test = karpathy("coco", "test", path)
    assert (test.texts["en"], test.files["c.jpg"]) == ({"c.jpg": ("z",)}, f"{sources.COCO_IMAGES}val2014/c.jpg")
    with pytest.raises(CslabError, match="holds no file"):
        karpathy("flickr30k", "test", path)
    (tmp_path / "cut.zip").write_bytes(path.read_bytes()[:50])
    with pytest.raises(CslabError, match="not a whole zip file"):
        karpathy("coco", "test", tmp_path / "cut.zip")


def test_xm3600(tmp_path):
    rows = [
        {"image/key": "k1", "image/locale": "de", "en": {"caption": ["a  fox", "fox"]}, "de": {"caption": ["Fuchs"]}},
        {"image/key": "k2", "image/locale": "en", "en": {"caption": ["hen"]}, "de": {"caption": []}},
    ]
    path = tmp_path / "captions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = xm3600(["en", "de"], path)
    assert found.texts == {"en": {"k1": ("a fox", "fox"), "k2": ("hen",)}, "de": {"k1": ("Fuchs",)}}
    assert (found.common(), found.files["k1"]) == (["k1"], "k1.jpg")
    assert list(found.subset(found.common()).texts["en"]) == ["k1"]
    with pytest.raises(CslabError, match="no caption in 'sw'"):
        xm3600(["en", "sw"], path)


def test_a_table_that_is_malformed(tmp_path):
    path = tmp_path / "t.tsv"
    for text, message in (
        ("x\ten\n", "the first column is not 'image'"),
        ("image\ten\n1\ta\n1\tb\n", "image '1' stands twice"),
        ("image\ten\n1\ta\tb\n", "t.tsv:2: 3 tab-separated cells, expected 2"),
        ("image\ten\n1\t \n", "image '1' has an empty caption in 'en'"),
    ):
        path.write_text(text)
        with pytest.raises(CslabError, match=message):
            read_caption_table(path, ["en"], "toy")


@needs_shared("data/captions", "mirror")
def test_the_real_files(monkeypatch):
    monkeypatch.setenv("CSLAB_MIRROR", str(SHARED / "mirror"))
    folder = SHARED / "data" / "captions"
    test = multi30k("test_2016_flickr", ["en", "de", "fr", "cs"], path=folder / "multi30k.test_2016_flickr.tsv.gz")
    assert len(test.common()) == 1000
    assert test.texts["de"]["1007129816.jpg"] == ("Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",)
    codes = ["en", "de", "it", "ru", "zh", "fr"]
    assert xtd10(codes).texts == xtd10(codes, path=folder / "xtd10.tsv.gz").texts
    described = xflickrco(["en", "ru"], {code: folder / f"xflickrco.{code}.jsonl.gz" for code in ("en", "ru")})
    assert len(described.common()) == 2000
    wiki = wit(["en", "ar"], {code: folder / f"wit.{code}.jsonl.gz" for code in ("en", "ar")})
    assert sum(map(len, wiki.texts["en"].values())) == 1000
    assert all(address.startswith("http") for address in wiki.files.values())


# --- images --------------------------------------------------------------------------------------------------


def jpeg(colour, size=(8, 6), form="JPEG"):
    from PIL import Image

    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, form)
    return buffer.getvalue()


def shard(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))


def test_folders_and_shards_are_streamed_and_what_is_broken_is_counted(tmp_path):
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    (tmp_path / "photos" / "a.jpg").write_bytes(jpeg("red"))
    (tmp_path / "photos" / "deep" / "b.png").write_bytes(jpeg("blue", form="PNG"))
    (tmp_path / "photos" / "cut.jpg").write_bytes(jpeg("red", (400, 400))[:300])
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    shard(tmp_path / "photos" / "one.tar.gz", {"x/c.jpg": jpeg("green"), "x/c.txt": b"-", "x/d.jpg": b"no"}, "w:gz")
    images = Images.at(tmp_path / "photos")
    found = {name: np.asarray(picture)[0, 0].argmax() for name, picture in images}
    assert found == {"a.jpg": 0, "b.png": 2, "c.jpg": 1}
    assert [line.partition(":")[0] for line in images.broken] == ["cut.jpg", "d.jpg"]
    assert len(list(images)) == 3  # a second pass
    assert len(images.broken) == 2


def test_a_shard_that_is_cut_off_gives_what_it_has(tmp_path):
    shard(tmp_path / "s.tar", {f"{i}.png": jpeg("red", (64, 64), "PNG") + bytes(3000) for i in range(4)})
    whole = (tmp_path / "s.tar").read_bytes()
    (tmp_path / "s.tar").write_bytes(whole[: len(whole) // 3])
    images = Images.at(tmp_path / "s.tar")
    assert 0 < len(list(images)) < 4
    assert "cut off or damaged" in images.broken[-1]


def test_only_what_is_wanted_is_decoded(tmp_path):
    for name in ("a.jpg", "b.jpg"):
        (tmp_path / name).write_bytes(jpeg("red") if name == "a.jpg" else b"broken")
    images = Images.at(tmp_path, wanted=["a.jpg"])
    assert [name for name, _ in images] == ["a.jpg"]
    assert images.broken == []
    assert images.key() != Images.at(tmp_path).key()


def test_zip_archives_are_read_in_place(tmp_path):
    with zipfile.ZipFile(tmp_path / "val2014.zip", "w") as archive:
        for name, data in {"val2014/a.jpg": jpeg("red"), "val2014/b.jpg": b"no", "val2014/c.txt": b"-"}.items():
            archive.writestr(name, data)
    images = Images.at(tmp_path, wanted=["a.jpg", "b.jpg"])
    assert [name for name, _ in images] == ["a.jpg"]
    assert [line.partition(":")[0] for line in images.broken] == ["b.jpg"]
    (tmp_path / "val2014.zip").write_bytes((tmp_path / "val2014.zip").read_bytes()[:40])
    assert list(images) == []
    assert "damaged" in images.broken[0]


def test_images_by_address_and_what_is_gone_is_skipped(tmp_path, monkeypatch):
    root, site = tmp_path / "mirror", "https://example.org/pictures/"
    monkeypatch.setenv("CSLAB_MIRROR", str(root))
    (root / relative_path(site + "a.jpg")).parent.mkdir(parents=True)
    (root / relative_path(site + "Red%20fox.jpg?width=9")).write_bytes(jpeg("red"))
    (root / relative_path(site + "b.jpg")).write_bytes(b"no picture")
    images = Images.of([site + "Red%20fox.jpg?width=9", site + "b.jpg", site + "gone.jpg"])
    assert [name for name, _ in images] == ["Red fox.jpg"]
    assert [("b.jpg" in line, "not in the mirror" in line) for line in images.broken] == [(True, False), (False, True)]
    with pytest.raises(CslabError, match=r"image '1\.jpg' has no address; give the folder or the shards"):
        Images.of(["1.jpg"])


def test_archives_of_images_are_checked(tmp_path, monkeypatch):
    root = tmp_path / "mirror"
    monkeypatch.setenv("CSLAB_MIRROR", str(root))
    for name in ("coco", "xm3600"):
        for address in ARCHIVES[name]:
            (root / relative_path(address)).parent.mkdir(parents=True, exist_ok=True)
            (root / relative_path(address)).write_bytes(b"another file")
    assert [path.name for path in image_archives("xm3600")] == ["images.tgz"]
    with pytest.raises(CslabError, match=r"md5 is .* expected 0da8c0bd3d6becc4dcb32757491aca88"):
        image_archives("coco")
    with pytest.raises(CslabError, match="images of 'flickr30k' are not published as archives"):
        image_archives("flickr30k")


def test_places_without_images(tmp_path):
    with pytest.raises(CslabError, match="no such folder or file"):
        Images.at(tmp_path / "none")
    with pytest.raises(CslabError, match="no image and no tar shard"):
        Images.at(tmp_path)


def test_captions_are_shared_by_id():
    toy = Captions("toy", {"en": {"1": ("a",), "2": ("b",)}, "de": {"2": ("c",)}}, {"1": "1.jpg", "2": "2.jpg"})
    assert toy.images() == ["1", "2"]
    assert (toy.common(), toy.common(["en"]), toy.languages) == (["2"], ["1", "2"], ("en", "de"))
