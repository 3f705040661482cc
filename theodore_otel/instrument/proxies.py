"""Wrapped functions that are pickled and copied as the function would be: by name, and as themselves.

wrapt's own wrappers refuse both, so whatever hands a function on (a pool of processes, `deepcopy` of an object that
holds one) would fail under observation. A class gives the same object each time it is asked for a method, as it does
for a plain function.
"""

from __future__ import annotations

import copy
import copyreg
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NoReturn

import wrapt

if TYPE_CHECKING:
    _Function = wrapt.FunctionWrapper[..., Any]
    _Method = wrapt.BoundFunctionWrapper[..., Any]
else:
    _Function, _Method = wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper

_OURS: Final = ("theodore_otel.", "opentelemetry.")
_SAME_FOR_A_CLASS: Final = ("function", "staticmethod")


class Method(_Method):
    """A wrapped function as its class or an instance gives it."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return the name, or how to ask the instance for it."""
        return _reduced(self)

    def __copy__(self) -> Any:
        """Return itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return the method of a copy of the instance."""
        return _deeply_copied(self, memo)


class Function(_Function):
    """A wrapped function."""

    __bound_function_wrapper__ = Method

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        """Return the method of an instance or a class."""
        if self._self_binding == "staticmethod" or (instance is None and self._self_binding == "function"):
            if not hasattr(self, "_self_unbound"):
                self._self_unbound = super().__get__(None, owner or type(instance))
            return self._self_unbound
        return super().__get__(instance, owner)

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return the name."""
        return _reduced(self)

    def __copy__(self) -> Any:
        """Return itself."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        """Return itself."""
        return self


def install() -> None:
    """Have the wrappers of contrib's instrumentations pickled and copied as well; others' stay as they are."""
    for kind in (wrapt.FunctionWrapper, wrapt.BoundFunctionWrapper):
        copyreg.pickle(kind, _reduced_if_ours)
        copy._copy_dispatch[kind] = _copied_if_ours  # type: ignore[attr-defined]
        copy._deepcopy_dispatch[kind] = _deeply_copied_if_ours  # type: ignore[attr-defined]


def _reduced(wrapper: Any) -> Any:
    instance = getattr(wrapper.__wrapped__, "__self__", None)
    if instance is None or isinstance(wrapper, wrapt.FunctionWrapper):
        name: str = wrapper.__qualname__
        owner, _, method = name.rpartition(".")
        if not owner or _found(wrapper.__module__, name) is wrapper:
            return name
        return getattr, (_found(wrapper.__module__, owner), method)
    return getattr, (instance, wrapper.__name__)


def _found(module: str, path: str) -> Any:
    found: Any = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


def _deeply_copied(wrapper: Any, memo: dict[int, Any]) -> Any:
    instance = getattr(wrapper.__wrapped__, "__self__", None)
    if instance is None or isinstance(instance, type):
        return wrapper
    return getattr(copy.deepcopy(instance, memo), wrapper.__name__)


def _is_ours(wrapper: Any) -> bool:
    module: str = getattr(wrapper._self_wrapper, "__module__", None) or ""
    return module.startswith(_OURS)


def _refuse(kind: str) -> NoReturn:
    raise NotImplementedError(f"object proxy must define {kind}()")


def _if_ours(action: Callable[..., Any], kind: str) -> Callable[..., Any]:
    def act(wrapper: Any, *memo: Any) -> Any:
        return action(wrapper, *memo) if _is_ours(wrapper) else _refuse(kind)

    return act


_reduced_if_ours: Final = _if_ours(_reduced, "__reduce__")
_copied_if_ours: Final = _if_ours(lambda wrapper: wrapper, "__copy__")
_deeply_copied_if_ours: Final = _if_ours(_deeply_copied, "__deepcopy__")
