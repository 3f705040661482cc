"""All signals as objects in a bucket."""

from __future__ import annotations

import json

import pytest
from destinations.kit import (
    KILLED,
    METRIC,
    OWNERS,
    configuration,
    require_no_secret,
    require_survives,
    send_gauge,
    send_log,
    send_span,
    text_of,
)
from standins.s3 import S3
from support.collector import running, wait_for


@pytest.fixture(scope="module")
def s3():
    with S3("telemetry") as service:
        yield service


@pytest.fixture(scope="module")
def collector(s3, tmp_path_factory):
    destination = {
        "type": "s3",
        "bucket": s3.bucket,
        "region": s3.region,
        "prefix": "theodore",
        "endpoint": s3.url,
        "path_style": True,
        "every": "1s",
    }
    with running(tmp_path_factory.mktemp("s3"), configuration(s3=destination), OWNERS, s3.environment) as started:
        yield started


def test_what_a_tenant_sends_is_readable_redacted_and_with_its_tenant(s3, collector):
    for send in (send_span, send_log, send_gauge):
        send(collector, "readable")
    wanted = {'"readable"', json.dumps(text_of("readable")), f'"{METRIC}"'}
    wait_for(lambda: all(text in json.dumps(s3.objects()) for text in wanted), 20, collector.said)
    for key, content in s3.objects().items():
        assert key.startswith("theodore/")
        (groups,) = content.values()
        for group in groups:
            tenants = [each["value"] for each in group["resource"]["attributes"] if each["key"] == "tenant.id"]
            # What the collector asks for itself is nobody's.
            tenant = "_platform" if "theodore.health.up" in json.dumps(group) else "acme"
            assert tenants == [{"stringValue": tenant}]
        require_no_secret(json.dumps(content))


@KILLED
def test_log_records_wait_on_disk_while_it_is_down(s3, collector, killed):
    def arrived():
        texts = json.dumps(list(s3.objects().values()))
        return [word for word in texts.replace('"', " ").split() if word.startswith("waits-")]

    require_survives(collector, s3, send_log, arrived, killed=killed)
