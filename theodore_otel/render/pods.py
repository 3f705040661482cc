"""What a pod needs to be given the secrets that a configuration refers to: variables and mounted files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from theodore_otel.errors import InputError

STATE = "/var/lib/theodore-otel"
"""Where a pod's volume is mounted; the only folder that can be written in."""
_OF_THE_IMAGE = ("/etc/ssl/",)
_KEY = re.compile(r"[-._a-zA-Z0-9]+")


@dataclass(frozen=True)
class Mount:
    """A folder whose files are keys of a Secret."""

    name: str
    """Name of the volume."""
    folder: str
    secret: str
    keys: tuple[str, ...]


@dataclass
class Wanted:
    """Files and the Secrets they are keys of."""

    secret_of: Callable[[str], str]
    """Names the Secret of a folder."""
    files: dict[str, dict[str, None]] = field(default_factory=dict)

    def add(self, files: Iterable[str]) -> Wanted:
        """Add files by their paths. Raises InputError when one cannot be a key that is mounted."""
        for file in files:
            if not file.startswith(_OF_THE_IMAGE):
                path = PurePosixPath(file)
                _check(path)
                self.files.setdefault(str(path.parent), {})[path.name] = None
        return self

    def mounts(self) -> list[Mount]:
        """Return what is mounted. Raises InputError when two files would be one key of a Secret."""
        made = [
            Mount(f"secret-{number}", folder, self.secret_of(folder), tuple(keys))
            for number, (folder, keys) in enumerate(sorted(self.files.items()))
        ]
        places: dict[tuple[str, str], str] = {}
        for mount in made:
            for key in mount.keys:
                other = places.setdefault((mount.secret, key), mount.folder)
                if other != mount.folder:
                    raise InputError(
                        f"{other}/{key} and {mount.folder}/{key}: expected different names of files, because both "
                        f"would be the key {key} of Secret {mount.secret}; helm.secrets.folders can name another one"
                    )
        return made


def _check(path: PurePosixPath) -> None:
    if not path.is_absolute() or path.parent == path.parent.parent:
        raise InputError(f"{path}: expected an absolute path of a file in a folder, where a Secret can be mounted")
    if path.is_relative_to(STATE) or path.is_relative_to("/conf"):
        raise InputError(f"{path}: expected a file outside {STATE} and /conf, which are mounted otherwise")
    if not _KEY.fullmatch(path.name):
        raise InputError(f"{path}: expected a name of letters, digits, '-', '_' and '.', as the keys of a Secret have")
