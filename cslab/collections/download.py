"""Fetches a file once: cache, mirror, resume, checksum, offline mode.

Files lie under the cache laid out by host and path: `$CSLAB_CACHE`, else `data/cache` of the clone, else
`~/.cache/cslab`. What came of an interrupted transfer stays there as `<name>.part` and the next call goes on from it.
`$CSLAB_MIRROR` names a folder laid out the same way that is read instead of the network; with `$CSLAB_OFFLINE=1`
nothing is asked of the network.

    fetch("https://example.org/data/en.json", sha256="9f86d0…")    # → data/cache/example.org/data/en.json
"""

import hashlib
import http.client
import os
import re
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

import cslab
from cslab.processes import alone
from cslab.resources import clone
from cslab.store import CslabError, read_json, write_json

BLOCK = 1 << 18  # bytes read at a time
TIMEOUT = 30.0  # seconds without an answer
ATTEMPTS = 4  # transfers tried in one call; each goes on where the one before stopped
PATIENCE = 0.5  # seconds before the second try, doubled for each further one
REPORT = 2.0  # seconds between lines of progress
TEMPORARY = (408, 425, 429, 500, 502, 503, 504)  # statuses worth another try


class _LostError(Exception):
    """A transfer that broke off for a reason that may pass."""


def fetch(
    url: str,
    sha256: str | None = None,
    cache: str | Path | None = None,
    offline: bool | None = None,
    md5: str | None = None,
) -> Path:
    """Gives the local path of a file of the web, fetching it if need be.

    Args:
        url: an `http` or `https` address.
        sha256: the checksum the file must have, as hex.
        cache: folder to keep files in (default: see the module).
        offline: whether to leave the network alone (default: `$CSLAB_OFFLINE`).
        md5: a checksum of that kind, where a source publishes no better one.

    Returns:
        The file in the mirror if it is there, else in the cache.

    Raises:
        CslabError: if the file cannot be had, or is not the one of the checksum (removed then, but for a mirror's).
    """
    place, sums = relative_path(url), {k: v for k, v in (("sha256", sha256), ("md5", md5)) if v}
    if mirror := os.environ.get("CSLAB_MIRROR"):
        mirrored = Path(mirror) / place
        if mirrored.is_file():
            _verify(mirrored, url, sums, remove=False)
            return mirrored
    target = Path(cache or default_cache()) / place
    if target.is_file():
        _verify(target, url, sums, remove=True)
        return target
    if mirror:
        raise CslabError(f"{url}: not in the mirror ({mirrored}) nor cached; put it there or unset CSLAB_MIRROR")
    if offline if offline is not None else os.environ.get("CSLAB_OFFLINE", "0") not in ("", "0"):
        raise CslabError(f"{url}: not cached ({target}) and offline; fetch it once without CSLAB_OFFLINE")
    with alone(target):
        if not target.is_file():  # another process may have fetched it meanwhile
            _download(url, target, sums)
    return target


def at_hand(url: str, cache: str | Path | None = None) -> Path | None:
    """Where `fetch` would find a file without the network; None if it would have to fetch it."""
    roots = [Path(os.environ["CSLAB_MIRROR"])] if os.environ.get("CSLAB_MIRROR") else []
    places = [root / relative_path(url) for root in (*roots, Path(cache or default_cache()))]
    return next((place for place in places if place.is_file()), None)


def default_cache() -> Path:
    """`$CSLAB_CACHE`, else `data/cache` of the clone, else `~/.cache/cslab`."""
    if named := os.environ.get("CSLAB_CACHE"):
        return Path(named)
    root = clone()
    return root / "data" / "cache" if root else Path.home() / ".cache" / "cslab"


def relative_path(url: str) -> Path:
    """Where a file lies in a cache or mirror: host, then path.

    >>> relative_path("https://example.org/a/b.json?raw=1").as_posix()
    'example.org/a/b.json%3Fraw%3D1'

    Raises:
        CslabError: for an address that is not of the web or does not name a file.
    """
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CslabError(f"{url}: not an http or https address; give one that starts with https://")
    names = [urllib.parse.unquote(name) for name in parts.path.split("/") if name]
    if not names or any(name in (".", "..") or "/" in name or "\0" in name for name in names):
        raise CslabError(f"{url}: its path does not name a file; give the address of one file")
    names[-1] += urllib.parse.quote(f"?{parts.query}", safe="") if parts.query else ""
    host = parts.hostname + (f"_{parts.port}" if parts.port else "")
    return Path(host, *names)


def _verify(path: Path, url: str, sums: Mapping[str, str], remove: bool) -> None:
    for kind, expected in sums.items():
        with open(path, "rb") as handle:
            found = hashlib.file_digest(handle, lambda kind=kind: hashlib.new(kind, usedforsecurity=False)).hexdigest()
        if found == expected.lower():
            continue
        if remove:
            path.unlink()
            raise CslabError(f"{url}: {kind} is {found}, expected {expected}; the file was removed, fetch it again")
        raise CslabError(f"{path}: {kind} is {found}, expected {expected}; replace the file in the mirror")


# --- the transfer --------------------------------------------------------------------------------------------


def _download(url: str, target: Path, sums: Mapping[str, str]) -> None:
    part, about = target.with_name(f"{target.name}.part"), target.with_name(f"{target.name}.part.json")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            _transfer(url, part, about, checked=bool(sums))
            break
        except _LostError as error:
            if attempt == ATTEMPTS:
                kept = f"; {part.stat().st_size:,} bytes are kept" if part.is_file() else ""
                raise CslabError(
                    f"{url}: {error}{kept}; check the connection and run again, or set CSLAB_MIRROR"
                ) from None
            _say(f"{target.name}: {error}; trying again")
            time.sleep(PATIENCE * 2 ** (attempt - 1))
    about.unlink(missing_ok=True)
    _verify(part, url, sums, remove=True)
    os.replace(part, target)
    _say(f"{target.name}: fetched, {target.stat().st_size / 1e6:.1f} MB")


def _transfer(url: str, part: Path, about: Path, checked: bool) -> None:
    have = part.stat().st_size if part.is_file() else 0
    validator = read_json(about).get("validator") if have and about.is_file() else None
    # Without a mark of the version a part may only be continued if the whole will be checked.
    have = have if validator or checked else 0
    headers = {"User-Agent": f"cslab/{cslab.__version__}", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator:
            headers["If-Range"] = validator
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        _refused(url, error, part, have)
        return
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(f"no connection ({getattr(error, 'reason', None) or error})") from None
    with response:
        start = have if response.status == 206 and _range_start(response) == have else 0
        if response.status == 206 and start != have:
            part.unlink(missing_ok=True)
            raise _LostError("the server sent another part than was asked for")
        write_json(about, {"url": url, "validator": _validator(response)})
        _receive(response, part, start)


def _refused(url: str, error: urllib.error.HTTPError, part: Path, have: int) -> None:
    """Decides what an HTTP error means: done, another try, or a fault to report."""
    with error:
        if error.code == 416 and have:
            if error.headers.get("Content-Range") == f"bytes */{have}":
                return  # the part is the whole file: only the renaming was missing
            part.unlink(missing_ok=True)
            raise _LostError("what was fetched before is no part of the file")
        if error.code in TEMPORARY:
            raise _LostError(f"HTTP {error.code} {error.reason}")
        raise CslabError(f"{url}: HTTP {error.code} {error.reason}; check the address, or fetch the file by hand")


def _receive(response: http.client.HTTPResponse, part: Path, start: int) -> None:
    length = response.headers.get("Content-Length")
    total = start + int(length) if length and length.isdigit() else None
    if total is not None and shutil.disk_usage(part.parent).free < total - start:
        raise CslabError(
            f"{part.parent}: {total - start:,} bytes are needed and not free; make room or set CSLAB_CACHE"
        )
    done, reported = start, time.monotonic()
    with open(part, "ab" if start else "wb") as handle:
        while block := _block(response, done):
            handle.write(block)
            done += len(block)
            if time.monotonic() - reported > REPORT:
                reported = time.monotonic()
                of = f" of {total / 1e6:.1f} MB ({done / total:.0%})" if total else " MB"
                _say(f"{part.stem}: {done / 1e6:.1f}{of}")
    if total is not None and done < total:
        raise _LostError(f"the connection broke at {done:,} of {total:,} bytes")


def _block(response: http.client.HTTPResponse, done: int) -> bytes:
    try:
        return response.read(BLOCK)
    except (OSError, http.client.HTTPException) as error:
        raise _LostError(f"the connection broke at {done:,} bytes ({type(error).__name__})") from None


def _range_start(response: http.client.HTTPResponse) -> int | None:
    found = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _validator(response: http.client.HTTPResponse) -> str | None:
    """The mark of a file's version: a strong ETag, else the date of its last change (RFC 9110, section 13.1.5)."""
    etag = response.headers.get("ETag", "")
    return etag if etag.startswith('"') else response.headers.get("Last-Modified")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
