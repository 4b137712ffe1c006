"""Image files, streamed: folders and tar shards, what is broken counted and skipped.

Reads any file that Pillow decodes, in folders of any depth and in tar archives (plain or packed, webdataset shards
too), and gives them one by one as RGB, by the last part of their name. Writes nothing.

    images = Images.at("coco/val2014", "shards/")
    for name, picture in images: ...
    images.broken          # ["COCO_val2014_….jpg: cannot identify image file"]
"""

import io
import tarfile
import warnings
import zlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from cslab.store import CslabError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
SHARDS = (".tar", ".tar.gz", ".tgz")


@dataclass
class Images:
    """Pictures of folders and shards; iterating reads them anew.

    Attributes:
        files: picture files and shards, in order.
        wanted: names to give; None for all.
        broken: what could not be read in the last pass, and why.
    """

    files: tuple[Path, ...]
    wanted: frozenset[str] | None = None
    broken: list[str] = field(default_factory=list)

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
        return [f"{path.name} {path.stat().st_size}" for path in self.files] + sorted(self.wanted or ())

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        self.broken.clear()
        for path in self.files:
            if path.name.lower().endswith(SHARDS):
                yield from self._shard(path)
            elif self._asked(path.name) and (picture := self._decoded(path.name, path.read_bytes())) is not None:
                yield path.name, picture

    def _asked(self, name: str) -> bool:
        return self.wanted is None or name in self.wanted

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
                    if (picture := self._decoded(name, data)) is not None:
                        yield name, picture
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            self.broken.append(f"{path.name}: cut off or damaged ({error}); the rest of it is skipped")

    def _decoded(self, name: str, data: bytes) -> Any:
        from PIL import Image

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(io.BytesIO(data)) as picture:
                    return picture.convert("RGB")
        # Pillow's decoders raise whatever they stumble over.
        except Exception as error:
            self.broken.append(f"{name}: {str(error).splitlines()[0] if str(error) else type(error).__name__}")
            return None
