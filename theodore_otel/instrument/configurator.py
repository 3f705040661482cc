"""Set up the process: a list of small verbs, each in a few lines.

Nothing in here may stop the program: what fails is told in one line and left out.
"""

from __future__ import annotations

import os
import time
import uuid
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import propagate, trace

from theodore_otel import __version__
from theodore_otel.conventions import names
from theodore_otel.instrument import (
    children,
    context,
    encodable,
    forks,
    greenlets,
    instrumentors,
    lazy,
    levels_file,
    propagators,
    redirects,
    relatives,
)
from theodore_otel.instrument import settings as settings_module
from theodore_otel.instrument.command import CommandSpan
from theodore_otel.instrument.courier import courier
from theodore_otel.instrument.encode import Encoder
from theodore_otel.instrument.ending import Ending
from theodore_otel.instrument.pipeline import Limits, Pipeline
from theodore_otel.instrument.providers import give_way, install_tracing
from theodore_otel.instrument.say import say
from theodore_otel.instrument.scrub import Scrubber
from theodore_otel.instrument.sender import Sender, sender_of
from theodore_otel.instrument.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LoggerProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    from theodore_otel.journal.audit_lazy import LazyDelivery


_OTLP: Final = ("otlp", "otlp_proto_http")


class TheodoreConfigurator:
    """The entry point `opentelemetry_configurator`."""

    def configure(self, **kwargs: Any) -> None:  # noqa: ARG002
        """Set up this process, unless another distro was loaded; `kwargs` (the wrapper's version) are not needed."""
        if instrumentors.ours or os.environ.get("OTEL_PYTHON_CONFIGURATOR") == "theodore":
            configure()


def configure() -> None:
    """Set up this process, unless `OTEL_SDK_DISABLED` says not to."""
    attempt(children.keep_to_ourselves)
    if not settings_module.disabled():
        attempt(_set_up)


adjust: Callable[[Settings], Settings] = lambda settings: settings  # noqa: E731
"""What `theodore_otel.configure` was given, as changes to the settings."""


def _set_up() -> None:
    settings, complaints = settings_module.load()
    for complaint in complaints:
        say(complaint)
    Setup(adjust(settings)).run()


class Setup:
    """Everything one process sets up, in order."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts that others need; nothing is installed yet."""
        self._settings = settings
        self._scrubber = Scrubber(settings.redaction)
        self._encoder = Encoder(self._scrubber)
        self._pipelines: list[Pipeline | LazyDelivery] = []
        self._tracer_provider: TracerProvider | None = None

    def run(self) -> None:
        """Install every part; one that fails is told and left out."""
        settings_module.current = self._settings
        self._ending = Ending(self._pipelines, self._settings.exit_budget)
        for verb in (
            encodable.install,
            forks.prepare,
            self._begin_context,
            self._describe_resource,
            self._keep,
            self._trace,
            self._log,
            self._record_activity,
            self._measure,
            self._audit,
            self._propagate,
            self._follow_services,
            self._follow_relatives,
            self._open_command_span,
            self._watch,
            self._arrange_ending,
        ):
            attempt(verb)

    def _begin_context(self) -> None:
        context.start()

    def _describe_resource(self) -> None:
        self._resource = resource(self._settings)

    def _keep(self) -> None:
        sent = [s for s in settings_module.SIGNALS if s in self._settings.signals and _exporter(s) in _OTLP]
        self._ending.courier = courier(self._settings, {signal: self._sender(signal) for signal in sent})

    def _trace(self) -> None:
        if not self._exports("traces"):
            return
        self._tracer_provider = install_tracing(self._resource, self._pipeline("traces", self._encoder.traces))

    def _log(self) -> None:
        if not self._exports("logs"):
            return
        from opentelemetry import _logs
        from opentelemetry.sdk._logs import LoggerProvider, LogRecordDroppedAttributesWarning

        from theodore_otel.instrument.logs import LogExport
        from theodore_otel.instrument.processors import PipelineLogProcessor, RootedBaggageLogProcessor, audits

        warnings.filterwarnings("ignore", category=LogRecordDroppedAttributesWarning)  # it would show on the console
        provider = LoggerProvider(self._resource, shutdown_on_exit=False)
        provider.add_log_record_processor(RootedBaggageLogProcessor(context.carried))
        pipeline = self._pipeline("logs", self._encoder.logs, audits=audits)
        provider.add_log_record_processor(PipelineLogProcessor(pipeline))
        _logs.set_logger_provider(provider)
        give_way(_logs._internal, "logger", lambda _: None)  # records are exported to ours all the same
        export = LogExport(provider, self._settings.export_level)
        export.install()
        levels_file.follow(export.follow_levels)
        lazy.preparations["structlog"] = lambda: self._prepare_structlog(provider, export.level)

    def _prepare_structlog(self, provider: LoggerProvider, level_of: Callable[[str], int]) -> dict[str, Any]:
        from theodore_otel.instrument import structlog_events

        structlog_events.prepare(level_of)
        return {"logger_provider": provider}

    def _record_activity(self) -> None:
        from theodore_otel.instrument import analytics

        if self._tracer_provider is not None and analytics.wanted(self._settings.analytics):
            self._tracer_provider.add_span_processor(analytics.ActivityProcessor(self._settings.analytics))

    def _measure(self) -> None:
        if not self._exports("metrics"):
            return
        from opentelemetry import metrics

        from theodore_otel.instrument.metrics import LazyMeterProvider, build_provider

        interval = _seconds("OTEL_METRIC_EXPORT_INTERVAL", 60.0)
        provider = LazyMeterProvider(lambda: build_provider(pipeline, self._resource))
        pipeline = self._pipeline("metrics", self._encoder.metrics, Limits(delay=interval), provider.collect)
        metrics.set_meter_provider(provider)
        give_way(metrics._internal, "meter", lambda _: say("the application set a meter provider; metrics go there"))

    def _audit(self) -> None:
        if not self._exports("logs"):
            return
        from theodore_otel.journal import audit_lazy

        self._pipelines.append(audit_lazy.deliver(self._settings, self._sender("logs")))

    def _propagate(self) -> None:
        guarded = propagators.build(self._settings)
        if "OTEL_PROPAGATORS" in os.environ:
            guarded = propagators.GuardedPropagator(propagate.get_global_textmap(), self._settings.propagate_to)
        propagate.set_global_textmap(guarded)
        redirects.install(guarded)
        lazy.preparations["aiohttp-client"] = redirects.aiohttp_arguments

    def _follow_services(self) -> None:
        from theodore_otel.instrument import service

        service.install(self._settings)

    def _follow_relatives(self) -> None:
        relatives.follow(self._flush)

    def _flush(self) -> None:
        """Deliver what waits now, within the budget of an exit, and put the rest away."""
        deadline = time.monotonic() + self._settings.exit_budget
        for pipeline in self._pipelines:
            if isinstance(pipeline, Pipeline) and not pipeline.flush(deadline - time.monotonic()):
                pipeline.put_away()

    def _open_command_span(self) -> None:
        command = CommandSpan(lambda: trace.get_tracer("theodore_otel.command", __version__), self._scrubber)
        command.install()
        self._ending.before(command.finish)

    def _watch(self) -> None:
        from theodore_otel.instrument import watch

        self._ending.before(watch.install(self._settings, self._tracer_provider))

    def _arrange_ending(self) -> None:
        greenlets.follow(self._pipelines)
        self._ending.arrange()
        if self._ending.courier is not None:
            self._ending.courier.begin()

    def _exports(self, signal: str) -> bool:
        return signal in self._settings.signals and exports(signal)

    def _pipeline(
        self,
        signal: str,
        encode: Callable[[Any], tuple[bytes, int]],
        limits: Limits | None = None,
        collect: Callable[[], None] | None = None,
        audits: Callable[[Any], bool] | None = None,
    ) -> Pipeline:
        sender = self._sender(signal)

        def prepare() -> None:
            self._encoder.prepare(signal)
            sender.prepare()

        pipeline = Pipeline(
            signal,
            encode,
            sender,
            limits,
            prepare=prepare,
            collect=collect,
            courier=self._ending.courier,
            audits=audits,
        )
        self._pipelines.append(pipeline)
        return pipeline

    def _sender(self, signal: str) -> Sender:
        return sender_of(self._settings, signal)


def attempt(verb: Callable[[], None]) -> None:
    """Do one thing; when it fails, tell and go on."""
    try:
        verb()
    except Exception as error:  # noqa: BLE001 - the program must run
        say(f"cannot {verb.__name__.strip('_').replace('_', ' ')}: {type(error).__name__}: {error}")


def resource(settings: Settings) -> Resource:
    """Return what every record says about this process. `Resource.create` would start a thread pool for detectors;
    OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME are read by upstream's detector all the same, and win.
    """
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.version import __version__ as sdk_version

    attributes: dict[str, str | int] = {
        "telemetry.sdk.language": "python",
        "telemetry.sdk.name": "opentelemetry",
        "telemetry.sdk.version": sdk_version,
        "telemetry.distro.name": "theodore-otel",
        "telemetry.distro.version": __version__,
        names.SERVICE_NAME: settings.service_name,
        names.SERVICE_VERSION: settings.service_version,
        names.SERVICE_INSTANCE_ID: settings.instance_id or str(uuid.uuid4()),
        names.ENVIRONMENT: settings.environment,
        "host.name": os.uname().nodename if hasattr(os, "uname") else os.environ.get("COMPUTERNAME", ""),
        "process.pid": os.getpid(),
    }
    return Resource(attributes).merge(OTELResourceDetector().detect())


def exports(signal: str) -> bool:
    """Say whether a signal is sent: `OTEL_<SIGNAL>_EXPORTER` is unset or names otlp."""
    wanted = _exporter(signal)
    if wanted not in (*_OTLP, "none"):
        say(f"OTEL_{signal.upper()}_EXPORTER={wanted} is not known here; expected otlp or none; {signal} stay off")
    return wanted in _OTLP


def _exporter(signal: str) -> str:
    return os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "otlp").strip().lower()


def _seconds(variable: str, default: float) -> float:
    try:
        return max(0.1, float(os.environ[variable]) / 1000)
    except (KeyError, ValueError):
        return default
