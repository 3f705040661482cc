"""The release is downloaded, checked and put into the cache, against a loopback server in the release's place."""

import hashlib
import io
import socket
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from theodore_otel.errors import DownError, InputError
from theodore_otel.otelcol import release

BINARY = b"#!/bin/sh\necho otelcol-contrib version 0.142.0\n"
NAME = "otelcol-contrib_0.142.0_linux_amd64.tar.gz"
CHECKSUMS = "opentelemetry-collector-releases_otelcol-contrib_checksums.txt"


def archive(member: str = "otelcol-contrib", kind: bytes = tarfile.REGTYPE, target: str = "") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name in ("README.md", member):
            entry = tarfile.TarInfo(name)
            entry.size = len(BINARY)
            if name == member:
                entry.type, entry.linkname = kind, target
            tar.addfile(entry, io.BytesIO(BINARY))
    return buffer.getvalue()


class Server:
    """Serves bytes by file name; can promise more than it sends, or say nothing at all."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.promised_too_much = 0
        self.silent = threading.Event()
        self.silent.set()
        self.silent_after: int | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if server.silent_after is None:
                    server.silent.wait()
                body = server.files.get(self.path.removeprefix("/v/"))
                if body is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(body) + server.promised_too_much))
                self.end_headers()
                self.wfile.write(body[: server.silent_after])
                self.wfile.flush()
                server.silent.wait()

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.silent.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


def wanted(server: Server, content: bytes) -> release.Release:
    return replace(release.release(server.url), sha256={"linux_amd64": hashlib.sha256(content).hexdigest()})


def fetch(wanted: release.Release, target: Path, system: str = "linux_amd64", limit: float = 10) -> list[str]:
    said: list[str] = []
    release.download(wanted, target, said.append, system=system, limit=limit)
    return said


def assert_nothing_left(folder: Path) -> None:
    assert [path for path in folder.rglob("*") if path.is_file()] == []


def test_a_good_download_becomes_an_executable_and_leaves_nothing_else(server: Server, tmp_path: Path) -> None:
    server.files[NAME] = archive()
    target = tmp_path / "0.142.0" / "otelcol-contrib"
    said = fetch(wanted(server, archive()), target)
    assert target.read_bytes() == BINARY
    assert target.stat().st_mode & 0o777 == 0o755
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [target]
    assert said == [f"downloading {server.url}/{NAME}"]


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    server.files[NAME] = archive()
    with pytest.raises(DownError, match=r"wrong checksum: expected sha256 [0-9a-f]{64}, got [0-9a-f]{64}"):
        fetch(wanted(server, b"something else"), tmp_path / "otelcol")
    assert_nothing_left(tmp_path)


def test_a_truncated_download_is_refused(server: Server, tmp_path: Path) -> None:
    server.files[NAME] = archive()
    server.promised_too_much = 100
    size = len(archive())
    with pytest.raises(DownError, match=f"truncated: the connection ended after {size} of {size + 100} bytes"):
        fetch(wanted(server, archive()), tmp_path / "otelcol")
    assert_nothing_left(tmp_path)


def test_a_missing_file_is_told_with_its_address(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownError, match=f"{server.url}/{NAME}: the server answered 404"):
        fetch(wanted(server, b""), tmp_path / "otelcol")
    assert_nothing_left(tmp_path)


def test_a_server_that_says_nothing_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files[NAME] = archive()
    server.silent.clear()
    with pytest.raises(DownError, match=r"no answer within 0.3 s"):
        fetch(wanted(server, archive()), tmp_path / "otelcol", limit=0.3)
    assert_nothing_left(tmp_path)


def test_a_server_that_stalls_halfway_is_given_up(server: Server, tmp_path: Path) -> None:
    server.files[NAME] = archive()
    server.silent_after = 10
    server.silent.clear()
    with pytest.raises(DownError, match=r"stopped sending for 0.3 s"):
        fetch(wanted(server, archive()), tmp_path / "otelcol", limit=0.3)
    assert_nothing_left(tmp_path)


def test_nobody_listening_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(DownError, match=r"cannot be reached: .*refused"):
            fetch(release.release(url), tmp_path / "otelcol")


def test_a_host_without_an_address_is_told(tmp_path: Path) -> None:
    with pytest.raises(DownError, match=r"cannot be reached|no answer within"):
        fetch(release.release("http://releases.invalid/v"), tmp_path / "otelcol", limit=3)


def test_another_platform_is_checked_against_the_releases_own_checksums(server: Server, tmp_path: Path) -> None:
    other = "otelcol-contrib_0.142.0_linux_arm64.tar.gz"
    server.files[other] = archive()
    server.files[CHECKSUMS] = f"{'0' * 64}  {NAME}\n{hashlib.sha256(archive()).hexdigest()}  {other}\n".encode()
    fetch(wanted(server, archive()), tmp_path / "otelcol", system="linux_arm64")
    assert (tmp_path / "otelcol").read_bytes() == BINARY
    server.files[CHECKSUMS] = f"{'0' * 64}  {other}\n".encode()
    with pytest.raises(DownError, match=r"wrong checksum"):
        fetch(wanted(server, archive()), tmp_path / "again", system="linux_arm64")
    assert not (tmp_path / "again").exists()


def test_a_platform_the_release_does_not_name_is_refused(server: Server, tmp_path: Path) -> None:
    server.files[CHECKSUMS] = f"{'0' * 64}  {NAME}\n".encode()
    with pytest.raises(DownError, match=r"no checksum for otelcol-contrib_0.142.0_plan9_mips.tar.gz"):
        fetch(wanted(server, archive()), tmp_path / "otelcol", system="plan9_mips")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (archive(member="../otelcol-contrib"), "holds no file otelcol-contrib"),
        (archive(kind=tarfile.SYMTYPE, target="/etc/passwd"), "not a regular file"),
        (b"not an archive", "not a readable archive"),
        (archive()[:60], "not a readable archive"),
    ],
    ids=["path outside", "symbolic link", "other content", "half an archive"],
)
def test_an_archive_with_something_else_in_it_is_refused(
    server: Server, tmp_path: Path, content: bytes, complaint: str
) -> None:
    server.files[NAME] = content
    with pytest.raises(DownError, match=complaint):
        fetch(wanted(server, content), tmp_path / "cache" / "otelcol")
    assert_nothing_left(tmp_path)


def test_the_address_comes_from_option_then_variable_then_the_pinned_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("THEODORE_OTEL_RELEASES_URL", "https://mirror.example/v/")
    assert release.release("http://option.example").base_url == "http://option.example"
    assert release.release().base_url == "https://mirror.example/v"
    monkeypatch.delenv("THEODORE_OTEL_RELEASES_URL")
    assert release.release().base_url.endswith("/v0.142.0")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "ftp://x/y", "mirror.example"])
def test_an_address_that_is_not_http_is_refused(address: str) -> None:
    with pytest.raises(InputError, match=r"expected http://... or https://..., got"):
        release.release(address)
