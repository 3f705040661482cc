"""Load an instrumentor when the library it is for is imported, not before.

Importing every instrumentor imports every library it knows: more than a second for a command that uses none of them.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

_logger = logging.getLogger(__name__)

LIBRARIES: Final[Mapping[str, str]] = {
    # Where the entry point's name is not the module the program imports.
    "aiohttp-client": "aiohttp",
    "aiohttp-server": "aiohttp.web",
    "aiokafka": "aiokafka",
    "asyncio": "asyncio",
    "boto": "boto",
    "boto3": "boto3",
    "confluent_kafka": "confluent_kafka",
    "elasticsearch": "elasticsearch",
    "google-genai": "google.genai",
    "grpc_client": "grpc",
    "grpc_server": "grpc",
    "grpc_aio_client": "grpc.aio",
    "grpc_aio_server": "grpc.aio",
    "jinja2": "jinja2",
    "kafka": "kafka",
    "mysql": "mysql.connector",
    "openai": "openai",
    "pymongo": "pymongo",
    "system_metrics": "",
    "tornado": "tornado",
    "tortoiseorm": "tortoise",
    "urllib": "urllib.request",
    "vertexai": "vertexai",
}

LEFT_OUT: Final[Mapping[str, str]] = {
    "click": "the command span of theodore_otel.instrument.command takes its place: redacted argv, exit codes",
    "logging": "theodore_otel.instrument.logs exports records without a handler",
    "system_metrics": "32 host metrics from a command that runs for 100 ms; the collector watches hosts",
    "asgi": "nothing to wrap without an application; FastAPI and Starlette bring their own",
}

preparations: dict[str, Callable[[], dict[str, Any]]] = {}
"""What a part of ours does just before an instrumentor of this name is loaded; returns arguments for `instrument`."""


def library_of(entry_point_name: str) -> str:
    """Return the module whose import makes an instrumentor worth loading."""
    return LIBRARIES.get(entry_point_name, entry_point_name.replace("-", "_"))


def when_imported(module: str, action: Callable[[Any], None]) -> None:
    """Call `action(module)` after `module` was imported, or now if it is there already. Errors are logged, at debug
    level, and never reach the import statement of the program.
    """

    def guarded(loaded: Any) -> None:
        try:
            action(loaded)
        except Exception:
            _logger.debug("The instrumentation of %s failed and is left out", module, exc_info=True)

    loaded = sys.modules.get(module)
    if loaded is not None:
        guarded(loaded)
        return
    from wrapt import register_post_import_hook

    register_post_import_hook(guarded, module)
