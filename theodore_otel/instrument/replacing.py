"""Putting a function of ours in the place of one of the program's or of a library's, without showing.

The replacement takes `*args, **kwargs` and hands them on as they came, so that wrong ones are refused by the original
in its own words. Name, module, documentation and signature are the original's; it is pickled by its name.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any


def replace(owner: Any, name: str, call: Callable[..., Any], original: Callable[..., Any] | None = None) -> None:
    """Set `owner.name` to `call`, which looks like the function that is there (or like `original`)."""
    original = original or getattr(owner, name)
    setattr(owner, name, like(original, call))
    # `os.execv` is `posix.execv` to whoever pickles it.
    home = sys.modules.get(getattr(original, "__module__", None) or "")
    if home is not None and home is not owner and getattr(home, name, None) is original:
        setattr(home, name, getattr(owner, name))
    # Programs ask `os` whether one of its functions takes a descriptor, or follows links.
    for abilities in ("supports_fd", "supports_dir_fd", "supports_effective_ids", "supports_follow_symlinks"):
        known = getattr(owner, abilities, None)
        if isinstance(known, set) and original in known:
            known.add(getattr(owner, name))


def like(original: Callable[..., Any], call: Callable[..., Any]) -> Callable[..., Any]:
    """Return `call` with all that can be seen of `original`: names, documentation, signature, defaults."""
    call.__annotations__ = {}  # a function in C has none to copy
    functools.update_wrapper(call, original)
    # Shown only: `*args, **kwargs` fill nothing from them.
    for name in ("__defaults__", "__kwdefaults__"):
        if hasattr(original, name):
            setattr(call, name, getattr(original, name))
    return call
