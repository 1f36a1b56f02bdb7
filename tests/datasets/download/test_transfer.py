"""Downloads from a small local server: resumed, compared, never from a server that cannot be told from another."""

import hashlib
import json
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from moclip.datasets.download import transfer
from moclip.datasets.download.transfer import DownloadError, fetch

BODY = bytes(range(256)) * 3000


class Handler(BaseHTTPRequestHandler):
    """Serves ``server.files``, with ranges; notes what it was asked."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if self.path in server.moved:
            return self.answer(302, b"", Location=server.moved[self.path])
        if server.failures:
            return self.answer(server.failures.pop(), b"no")
        body = server.files.get(self.path)
        if body is None:
            return self.answer(404, b"no")
        tag = f'"{hashlib.sha256(body).hexdigest()[:8]}"'
        start = int(asked[6:-1]) if asked and self.headers.get("If-Range") == tag else 0
        if start >= len(body):
            return self.answer(416, b"")
        about = {"ETag": tag, "Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"}
        self.answer(206 if start else 200, body[start:], **about)

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        cut = self.server.cuts.pop() if self.server.cuts and status < 300 else len(body)
        self.wfile.write(body[:cut])
        if cut < len(body):
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.files, server.asked, server.cuts, server.failures, server.moved = {"/a.zip": BODY}, [], [], [], {}
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(transfer, "CHUNK", 4096)


def address(server: ThreadingHTTPServer, name: str = "a.zip", scheme: str = "http") -> str:
    return f"{scheme}://127.0.0.1:{server.server_port}/{name}"


def test_a_file_and_its_record(server, tmp_path: Path) -> None:
    sha = fetch(address(server), tmp_path / "deep" / "a.zip")
    assert (tmp_path / "deep" / "a.zip").read_bytes() == BODY and sha == hashlib.sha256(BODY).hexdigest()
    record = json.loads((tmp_path / "deep" / "a.zip.json").read_text())
    assert record == {"url": address(server), "bytes": len(BODY), "sha256": sha}
    assert sorted(path.name for path in (tmp_path / "deep").iterdir()) == ["a.zip", "a.zip.json"]
    assert fetch(address(server), tmp_path / "deep" / "a.zip") == sha and server.asked == [None], "not fetched again"


def test_broken_transfers_go_on_where_they_broke_off(server, tmp_path: Path) -> None:
    server.cuts = [100_000, 300_000]  # popped from the end
    fetch(address(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY
    assert server.asked == [None, "bytes=300000-", "bytes=400000-"]


def test_a_later_command_goes_on_too(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 1)
    server.cuts = [1000]
    with pytest.raises(DownloadError, match=r"ended after 1000 of 768000 bytes\); the same command resumes it"):
        fetch(address(server), tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists() and (tmp_path / "a.zip.part").stat().st_size == 1000
    fetch(address(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY and server.asked == [None, "bytes=1000-"]


def test_a_file_that_changed_meanwhile_comes_whole(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TRIES", 1)
    server.cuts = [1000]
    with pytest.raises(DownloadError):
        fetch(address(server), tmp_path / "a.zip")
    server.files["/a.zip"] = new = BODY[::-1]
    fetch(address(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == new, "no mixture of both"


def test_a_rest_that_is_not_there(server, tmp_path: Path) -> None:
    """A part as long as the file whose length was not known: the server has no rest, and all is fetched."""
    (tmp_path / "a.zip.part").write_bytes(BODY)
    tag = f'"{hashlib.sha256(BODY).hexdigest()[:8]}"'
    (tmp_path / "a.zip.part.json").write_text(json.dumps({"bytes": None, "version": tag}))
    fetch(address(server), tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == BODY and server.asked == [f"bytes={len(BODY)}-", None]


def test_busy_servers_are_asked_again_and_missing_files_are_not(server, tmp_path: Path) -> None:
    server.failures = [503, 502]
    fetch(address(server), tmp_path / "a.zip")
    assert len(server.asked) == 3
    with pytest.raises(DownloadError, match="answers 404 .* fetch it by hand"):
        fetch(address(server, "b.zip"), tmp_path / "b.zip")
    assert len(server.asked) == 4
    server.failures = [500] * 9
    with pytest.raises(DownloadError, match="Error 500"):
        fetch(address(server), tmp_path / "c.zip")
    assert len(server.asked) == 4 + transfer.TRIES


def test_nobody_there(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="no answer"):
        fetch("http://127.0.0.1:9/a.zip", tmp_path / "a.zip")


def test_another_file_than_the_recorded_one(server, tmp_path: Path) -> None:
    target = tmp_path / "a.zip"
    fetch(address(server), target)
    target.write_bytes(BODY[:-1] + b"?")
    with pytest.raises(DownloadError, match=r"a\.zip has SHA-256 .* recorded .* changed or damaged"):
        fetch(address(server), target)
    target.unlink()
    server.files["/a.zip"] = BODY + b"more"
    for _ in range(2):  # the second time without another transfer
        with pytest.raises(DownloadError, match="the server has another file now"):
            fetch(address(server), target)
    assert not target.exists() and len(server.asked) == 2
    (tmp_path / "a.zip.json").unlink()  # as the message says
    fetch(address(server), target)
    assert target.read_bytes() == BODY + b"more" and len(server.asked) == 2


def test_a_file_put_there_by_hand_is_recorded(server, tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"by hand")
    sha = fetch(address(server), tmp_path / "a.zip")
    assert not server.asked and json.loads((tmp_path / "a.zip.json").read_text())["sha256"] == sha


# --- certificates ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key and certificate of 127.0.0.1, signed by nobody else."""
    path = tmp_path_factory.mktemp("tls") / "own.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", path, "-out", f"{path}.crt"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def secure(server, certificate: Path):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server


def test_an_unknown_certificate_is_refused_with_remedies(secure, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"self-signed certificate.*--ca-file FILE.pem.*--insecure"):
        fetch(address(secure, scheme="https"), tmp_path / "a.zip")
    assert not list(tmp_path.iterdir()) and not secure.asked


def test_with_the_certificate_and_without_checks(secure, certificate: Path, tmp_path: Path) -> None:
    fetch(address(secure, scheme="https"), tmp_path / "a.zip", ca_file=Path(f"{certificate}.crt"))
    fetch(address(secure, scheme="https"), tmp_path / "b" / "a.zip", insecure=True)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b" / "a.zip").read_bytes() == BODY


def test_a_file_without_certificates(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("nothing")
    for path in (tmp_path / "x.pem", tmp_path / "y.pem"):
        with pytest.raises(DownloadError, match="no certificates"):
            fetch("https://127.0.0.1:9/a.zip", tmp_path / "a.zip", ca_file=path)


def test_redirects_are_followed_but_not_out_of_encryption(secure, certificate: Path, tmp_path: Path) -> None:
    own = Path(f"{certificate}.crt")
    secure.moved = {"/old.zip": address(secure, scheme="https"), "/bad.zip": "http://127.0.0.1:9/a.zip"}
    fetch(address(secure, "old.zip", "https"), tmp_path / "a.zip", ca_file=own)
    assert (tmp_path / "a.zip").read_bytes() == BODY
    with pytest.raises(DownloadError, match="which is not encrypted; not followed"):
        fetch(address(secure, "bad.zip", "https"), tmp_path / "b.zip", ca_file=own)
