"""Log records in a SIEM that takes syslog."""

from __future__ import annotations

import ssl

import pytest
import trustme
from destinations.kit import (
    KILLED,
    OWNERS,
    REDACTED,
    SERVICE,
    configuration,
    require_no_secret,
    require_survives,
    text_of,
)
from destinations.kit import send_log as send
from standins.syslog import Syslog, SyslogDatagrams
from support.collector import Collector, running, wait_for

LOG_AUDIT = 13
WARNING = 4


@pytest.fixture(scope="module")
def siem():
    with Syslog() as service:
        yield service
        assert service.wrong == []


@pytest.fixture(scope="module")
def collector(siem, tmp_path_factory):
    destination = {"type": "siem", "endpoint": f"127.0.0.1:{siem.port}", "tls": {"enabled": False}}
    with running(tmp_path_factory.mktemp("siem"), configuration(siem=destination), OWNERS) as started:
        yield started


def send_audit(collector: Collector, marker: str) -> None:
    send(collector, marker, "audit")


def test_an_audit_record_is_a_message_redacted_and_with_its_tenant(siem, collector):
    send_audit(collector, "readable")
    (message,) = wait_for(
        lambda: [each for each in siem.messages if each.text.startswith("readable")], otherwise=collector.said
    )
    assert message.text == text_of("readable")
    assert (message.facility, message.severity, message.message_id) == (LOG_AUDIT, WARNING, "audit")
    assert (message.app_name, message.hostname) == (SERVICE, "worker-1")
    (data,) = message.data.values()
    # A closing bracket would end the element: syslog's exporter does not escape it.
    masked = {key: value.replace("]", " ") for key, value in REDACTED.items()}
    assert {**masked, "tenant.id": "acme"}.items() <= data.items()
    require_no_secret(str(message))


def test_audit_and_security_arrive_and_nothing_else(siem, collector):
    for category in ("system", "audit", "security"):
        send(collector, f"of {category}", category)
    wait_for(lambda: {"of audit", "of security"} <= set(texts(siem)), otherwise=collector.said)
    assert {message.message_id for message in siem.messages} == {"audit", "security"}


FORGERIES = [
    "first\n<13>1 2026-01-01T00:00:00Z host app - - - forged",
    'quoted " and \\ and ] and [forged@1 a="b"]',
    "Überprüfung 監査",
    "nul \x00 and bell \x07",
]


@pytest.mark.parametrize("text", FORGERIES, ids=["line break", "brackets", "unicode", "control"])
def test_a_text_cannot_forge_a_message(siem, collector, text):
    """Whatever stands in body, attribute names and values: one record is one well-formed message."""
    before = len(siem.messages)
    attributes = {"theodore.category": "audit", "value": text, f"name {text}": "x"}
    assert collector.send_logs([(9, text, attributes)], "acme.1", {"host.name": text, "service.name": text}) == 200
    wait_for(lambda: len(siem.messages) > before or siem.wrong, otherwise=collector.said)
    send_audit(collector, "after")
    wait_for(lambda: "after" in texts(siem), 15, collector.said)
    assert siem.wrong == []
    arrived = [message for message in siem.messages[before:] if not message.text.startswith("after")]
    assert len(arrived) == 1
    assert len(arrived[0].data) == 1
    siem.messages.clear()


def texts(siem: Syslog) -> list[str]:
    return [message.text.partition(" for")[0] for message in siem.messages]


@KILLED
def test_records_wait_on_disk_while_it_is_down(siem, collector, killed):
    require_survives(collector, siem, send_audit, lambda: texts(siem), killed=killed)


def test_records_arrive_over_tls(tmp_path):
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with Syslog(context) as siem:
        tls = {"ca_file": str(tmp_path / "ca.pem")}
        destination = {"type": "siem", "endpoint": f"127.0.0.1:{siem.port}", "tls": tls}
        with running(tmp_path, configuration(siem=destination), OWNERS) as collector:
            send_audit(collector, "encrypted")
            wait_for(lambda: texts(siem) == ["encrypted"], otherwise=collector.said)
        assert siem.wrong == []


def test_records_arrive_as_datagrams(tmp_path):
    with SyslogDatagrams() as siem:
        destination = {
            "type": "siem",
            "endpoint": f"127.0.0.1:{siem.port}",
            "network": "udp",
            "tls": {"enabled": False},
            "categories": ["all"],
        }
        with running(tmp_path, configuration(siem=destination), OWNERS) as collector:
            send(collector, "one", "system")
            send(collector, "two", "security")
            wait_for(lambda: sorted(texts(siem)) == ["one", "two"], otherwise=collector.said)
        assert siem.wrong == []
