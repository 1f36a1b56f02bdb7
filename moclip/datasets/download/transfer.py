"""Fetch one large file. A broken transfer resumes; the SHA-256 is recorded once and compared from then on.

Nobody publishes checksums of these archives, and none is invented here. The record is what the first download gave; a
later download, or a file that has changed on the disk, is compared with it.
"""

import http.client
import logging
import os
import ssl
import time
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path
from typing import Any

from moclip.errors import MoclipError
from moclip.io.artefacts import load_json, save_json
from moclip.io.files import sha256_file
from moclip.io.progress import track

CHUNK = 1 << 20  # bytes
TRIES = 5
TIMEOUT = 60  # seconds without a byte

log = logging.getLogger(__name__)


class DownloadError(MoclipError):
    """A file that could not be fetched or unpacked, or is not the one it was; the message says what to do."""

    exit_code = 1


# A transfer that ends so is tried again; errors of the disk are not.
_BROKEN = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if req.full_url.startswith("https:") and not newurl.startswith("https:"):
            raise DownloadError(f"{req.full_url} sends us to {newurl}, which is not encrypted; not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, target: Path, ca_file: Path | None = None, insecure: bool = False, wait: float = 2.0) -> str:
    """Bring ``target`` to be the file at ``url``, and return its SHA-256.

    A file that is there is not fetched again but compared with its record, ``<target>.json``. An unfinished one is
    ``<target>.part``: the server is asked for the rest of it, or for all of it if it has changed meanwhile.

    Parameters
    ----------
    ca_file : certificates to trust instead of the system's (PEM).
    insecure : do not check the server's certificate. The caller tells the user.
    wait : seconds before a second try, doubled at each further one.

    Raises
    ------
    DownloadError
        No answer, a certificate that does not check, or another file than the recorded one.
    """
    record_path, part = Path(f"{target}.json"), Path(f"{target}.part")
    record = load_json(record_path) if record_path.is_file() else {}
    arrived = target if target.is_file() else part
    if arrived != target:
        opener = _opener(ca_file, insecure)
        for attempt in range(TRIES):
            try:
                _transfer(opener, url, arrived)
                break
            except _BROKEN as error:
                _refuse(url, error)
                if isinstance(error, urllib.error.HTTPError) and error.code == 416:
                    arrived.unlink()  # no rest: it is as long as the file, or longer than a new one
                if attempt == TRIES - 1:
                    raise DownloadError(
                        f"{url}: no answer, or it broke off ({error}); the same command resumes it"
                    ) from error
                log.warning("%s: %s; trying again", url, error)
                time.sleep(wait * 2**attempt)
    sha = sha256_file(arrived)
    if record and record["sha256"] != sha:
        raise DownloadError(
            f"{arrived} has SHA-256 {sha}, but {record_path} recorded {record['sha256']} of {record['url']}. "
            f"It was changed or damaged, or the server has another file now: delete {arrived} to fetch it again, and "
            f"{record_path} too if you trust the new one"
        )
    if not record:
        save_json(record_path, {"url": url, "bytes": arrived.stat().st_size, "sha256": sha})
    if arrived != target:
        os.replace(arrived, target)
        Path(f"{part}.json").unlink(missing_ok=True)
    return sha


def _opener(ca_file: Path | None, insecure: bool) -> urllib.request.OpenerDirector:
    try:
        context = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
    except OSError as error:
        raise DownloadError(f"--ca-file {ca_file}: no certificates (PEM) can be read from it ({error})") from error
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return urllib.request.build_opener(_NoDowngrade, urllib.request.HTTPSHandler(context=context))


def _transfer(opener: urllib.request.OpenerDirector, url: str, part: Path) -> None:
    """Append to ``part`` what it lacks."""
    part.parent.mkdir(parents=True, exist_ok=True)
    about = Path(f"{part}.json")  # what the server said of the file that `part` is a piece of
    known = load_json(about) if about.is_file() and part.is_file() else {}
    have = part.stat().st_size if known else 0
    if have and have == known.get("bytes"):
        return
    headers = {"User-Agent": "moclip", "Accept-Encoding": "identity"}
    if have and known.get("version"):
        headers |= {"Range": f"bytes={have}-", "If-Range": known["version"]}
    with opener.open(urllib.request.Request(url, headers=headers), timeout=TIMEOUT) as response:
        begins = str(response.headers.get("Content-Range", ""))
        resumed = response.status == 206 and begins.startswith(f"bytes {have}-")
        length = response.headers.get("Content-Length")
        total = None if length is None else int(length) + (have if resumed else 0)
        if not resumed:
            have = 0
            # a weak ETag does not say whether bytes are the same: nothing could be resumed by it
            tag = response.headers.get("ETag", "")
            version = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified", "")
            part.unlink(missing_ok=True)  # before the record of another beginning is written
            save_json(about, {"url": url, "bytes": total, "version": version})
        with open(part, "ab") as file:
            steps = None if total is None else -(-(total - have) // CHUNK)
            for chunk in track(iter(partial(response.read, CHUNK), b""), part.stem, total=steps, unit="MB"):
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and part.stat().st_size != total:
        raise ConnectionError(f"the connection ended after {part.stat().st_size} of {total} bytes")


def _refuse(url: str, error: Exception) -> None:
    """Raise an error that says what to do if trying again would not help."""
    if isinstance(error, urllib.error.HTTPError) and error.code < 500 and error.code != 416:
        raise DownloadError(
            f"{url}: the server answers {error.code} {error.reason}. The file may have moved: fetch it by "
            "hand, put it into the folder under its own name, and repeat this command"
        ) from error
    if isinstance(error, urllib.error.URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
        raise DownloadError(
            f"{url}: the server's certificate cannot be verified ({error.reason.verify_message}): "
            "another server may be answering. Some servers of data sets leave out an intermediate certificate: "
            "save it from your browser and pass it with --ca-file FILE.pem; or fetch the file with the browser and "
            "put it into the folder; or, if you accept that it may be anyone's file, pass --insecure"
        ) from error
