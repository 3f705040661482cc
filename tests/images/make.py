"""An image made here: its files as one layer, its settings as the engine keeps them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import certifi
from backends import build
from backends.recipes import recipes as servers

from images import debian, python
from images.layer import Layer
from images.recipes import HERE, Image, cache
from theodore_otel.otelcol import find, places

LABEL = "theodore-otel.stand-in"
"""With the digest of what it is made of: an image with this label was made here."""
_USERS = {"root": "0:0", "nobody": "65534:65534"}
# What a container has no use for.
_LEFT_OUT = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info", "usr/share/fonts", "usr/include")
_CODE = "usr/lib/python3.*"


def layer(image: Image, file: Path, note: places.Note) -> None:
    """Write the image's layer; what it is made of is taken from the cache, or made first."""
    cache().mkdir(parents=True, exist_ok=True)
    home = _server(image.data["server"], note) if "server" in image.data else None
    root = debian.tree(image.data["packages"], note) if "packages" in image.data else None
    with Layer(file) as made:
        if root:
            made.merge()
        _system(made, image, bare=root is None)
        for path, said in image.data.get("folders", {}).items():
            made.folder(path, said["owner"], int(said["mode"], 8))
        for path, text in image.data.get("texts", {}).items():
            made.text(path, text)
        for name, path in image.data.get("own_files", {}).items():
            made.text(path, (HERE / name).read_text(), 0o755)
        if home:
            _files(made, image, home)
        if root:
            _debian(made, root, image, note)


def _server(name: str, note: places.Note) -> Path:
    """Return the folder with its files."""
    if name == "collector":
        return find.install(note).parent
    return build.obtain(servers()[name], note)


def _system(made: Layer, image: Image, *, bare: bool) -> None:
    """Add what every system has, and no package brings."""
    made.folder("/tmp", mode=0o1777)
    if certificates := image.data.get("certificates"):
        made.text(certificates, Path(certifi.where()).read_text())
    if bare:
        return
    users = {**_USERS, **image.data.get("users", {})}
    accounts = [(name, *ids.split(":")) for name, ids in users.items()]
    shells = [f"{name}:x:{uid}:{gid}:{name}:/:/bin/sh\n" for name, uid, gid in accounts]
    made.text("/etc/passwd", "".join(shells))
    made.text("/etc/group", "".join(f"{name}:x:{gid}:\n" for name, _, gid in accounts))


def _files(made: Layer, image: Image, home: Path) -> None:
    for name, path in image.data["files"].items():
        source = find.installed(lambda _: None) if image.data["server"] == "collector" else home / name
        if source.is_dir():
            made.tree(source, path)
        else:
            made.file(source, path)


def _debian(made: Layer, root: Path, image: Image, note: places.Note) -> None:
    if said := image.data.get("python"):
        python.add(made, root, note=note, **said)
    made.tree(root, without=[*debian.MERGED, *_LEFT_OUT])
    for name in debian.MERGED:
        made.tree(root / "usr" / name, f"/usr/{name}")
    for applet in debian.applets(root):
        if not made.has(f"/bin/{applet}"):
            made.link(f"/bin/{applet}", "/usr/bin/busybox")
    for java in sorted(root.glob("usr/lib/jvm/*/bin/java")):
        made.link("/bin/java", f"/{java.relative_to(root)}")


def settings(image: Image) -> Iterator[str]:
    """Yield the image's settings as lines of a Dockerfile."""
    data = image.data
    yield f"LABEL {LABEL}={image.digest}"
    yield f"USER {data['user']}"
    yield f"ENTRYPOINT {json.dumps(data['entrypoint'])}"
    yield f"CMD {json.dumps(data['command'])}"
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        **data.get("environment", {}),
    }
    yield from (f"ENV {name}={value}" for name, value in environment.items())
    yield from (f"EXPOSE {port}" for port in data.get("ports", ()))
    if "work" in data:
        yield f"WORKDIR {data['work']}"


def scratch() -> tempfile._TemporaryFileWrapper[bytes]:
    """Return a file for a layer; it is gone once it is closed."""
    return tempfile.NamedTemporaryFile(dir=cache(), prefix=".layer-", suffix=".tar")
