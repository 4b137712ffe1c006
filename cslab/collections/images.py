"""Image files, streamed: folders, tar and zip shards, and addresses; what is broken is counted and skipped.

Reads any file that Pillow decodes, in folders of any depth and in archives (tar, plain or packed, webdataset shards
too; zip, as MSCOCO's), or fetches them one by one, and gives them as RGB, by the last part of their name. Writes
nothing but the cache of what it fetches.

    images = Images.at("coco/val2014.zip", "shards/")
    for name, picture in images: ...
    images.broken          # ["COCO_val2014_….jpg: cannot identify image file"]
"""

import io
import tarfile
import urllib.parse
import warnings
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cslab.collections.download import fetch
from cslab.store import CslabError, nearest

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
SHARDS = (".tar", ".tar.gz", ".tgz", ".zip")

# Collections whose images are published as archives, which are read as they are: address → MD5, where one is known.
ARCHIVES: dict[str, dict[str, str | None]] = {
    "coco": {
        "http://images.cocodataset.org/zips/train2014.zip": "0da8c0bd3d6becc4dcb32757491aca88",
        "http://images.cocodataset.org/zips/val2014.zip": "a3d79f5ed8d289b7a7554ce06a5782b3",
    },
    "xm3600": {"https://open-images-dataset.s3.amazonaws.com/crossmodal-3600/images.tgz": None},
}


def last_part(name: str) -> str:
    """The last part of a path or address, by which images are known.

    >>> last_part("https://upload.example.org/a/Red%20fox.jpg?width=300")
    'Red fox.jpg'
    """
    if "://" in name:
        name = urllib.parse.unquote(urllib.parse.urlsplit(name).path)
    return name.rpartition("/")[2]


def image_archives(name: str, cache: str | Path | None = None) -> list[Path]:
    """Fetches the archives of a collection's images: `coco` (19 GB) or `xm3600` (4 GB).

    Flickr30K's images are given out on request, and WIT's stand at addresses of their own (`Images.of`).
    """
    if name not in ARCHIVES:
        raise CslabError(f"images of '{name}' are not published as archives; {nearest(name, list(ARCHIVES))}")
    return [fetch(address, md5=md5, cache=cache) for address, md5 in ARCHIVES[name].items()]


@dataclass
class Images:
    """Pictures of folders, shards and addresses; iterating reads them anew.

    Attributes:
        files: picture files and shards, or addresses of pictures, in order.
        wanted: names to give; None for all.
        broken: what could not be read in the last pass, and why.
        cache: as in `download.fetch`, for addresses.
    """

    files: tuple[Path | str, ...]
    wanted: frozenset[str] | None = None
    broken: list[str] = field(default_factory=list)
    cache: str | Path | None = None

    @classmethod
    def of(cls, addresses: Iterable[str], cache: str | Path | None = None) -> "Images":
        """Pictures at addresses, fetched as they are asked for; each stays in the cache.

        Raises:
            CslabError: for a name that is no address: the collection's images have to be given as a folder.
        """
        addresses = tuple(addresses)
        if lost := next((name for name in addresses if "://" not in name), None):
            raise CslabError(f"image '{lost}' has no address; give the folder or the shards that its collection is in")
        return cls(addresses, cache=cache)

    @classmethod
    def at(cls, *places: str | Path, wanted: Collection[str] | None = None) -> "Images":
        """The pictures and shards of folders and files.

        Raises:
            CslabError: for a place that is not there, or holds none.
        """
        found: list[Path] = []
        for place in map(Path, places):
            if not place.exists():
                raise CslabError(f"{place}: no such folder or file; check the path, or fetch the images")
            here = [place] if place.is_file() else sorted(p for p in place.rglob("*") if p.is_file())
            here = [p for p in here if p.suffix.lower() in SUFFIXES or p.name.lower().endswith(SHARDS)]
            if not here:
                raise CslabError(f"{place}: no image and no tar shard in it; give a folder that has some")
            found += here
        return cls(tuple(found), None if wanted is None else frozenset(wanted))

    def key(self) -> list[str]:
        """What the pictures depend on: names and sizes of the files, and the names wanted."""
        found = [file if isinstance(file, str) else f"{file.name} {file.stat().st_size}" for file in self.files]
        return found + sorted(self.wanted or ())

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self.broken.clear()
        for file in self.files:
            if isinstance(file, str):
                yield from self._fetched(file)
            elif file.name.lower().endswith(".zip"):
                yield from self._zip(file)
            elif file.name.lower().endswith(SHARDS):
                yield from self._shard(file)
            elif self._asked(file.name):
                yield from self._decoded(file.name, file.read_bytes())

    def _asked(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

    def _fetched(self, address: str) -> Iterator[tuple[str, Any]]:
        try:
            data = fetch(address, cache=self.cache).read_bytes()
        except CslabError as error:
            # Addresses of the web die: that is a broken file, not the end of the collection.
            self.broken.append(str(error))
            return
        yield from self._decoded(last_part(address), data)

    def _zip(self, path: Path) -> Iterator[tuple[str, Any]]:
        """The pictures of a zip archive, read in place, one at a time."""
        try:
            with zipfile.ZipFile(path) as archive:
                for entry in archive.infolist():
                    name = PurePosixPath(entry.filename).name
                    if not entry.is_dir() and PurePosixPath(name).suffix.lower() in SUFFIXES and self._asked(name):
                        try:
                            data = archive.read(entry)
                        except (zipfile.BadZipFile, EOFError, zlib.error) as error:
                            self.broken.append(f"{name}: {error}")
                            continue
                        yield from self._decoded(name, data)
        except (zipfile.BadZipFile, OSError) as error:
            self.broken.append(f"{path.name}: damaged ({error}); all of it is skipped")

    def _shard(self, path: Path) -> Iterator[tuple[str, Any]]:
        """The pictures of an archive, as it is unpacked: nothing is written, and one picture is held at a time."""
        try:
            with tarfile.open(path, "r|*") as archive:
                for entry in archive:
                    name = PurePosixPath(entry.name).name
                    if (
                        not entry.isfile()
                        or PurePosixPath(name).suffix.lower() not in SUFFIXES
                        or not self._asked(name)
                    ):
                        continue
                    data = archive.extractfile(entry).read()
                    yield from self._decoded(name, data)
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            self.broken.append(f"{path.name}: cut off or damaged ({error}); the rest of it is skipped")

    def _decoded(self, name: str, data: bytes) -> Iterator[tuple[str, Any]]:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data)) as picture:
                    found = picture.convert("RGB")
        # Pillow's decoders raise whatever they stumble over.
        except Exception as error:
            self.broken.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return
        yield name, found
