"""What no other test shows of the Alertmanager that is made here: it and its tool run, and keep what they are told."""

from __future__ import annotations

import json
import subprocess
import urllib.request

from backends.fixtures import alertmanager

__all__ = ["alertmanager"]


def test_alertmanager_holds_an_alert_and_goes_by_another_configuration(alertmanager):
    alertmanager.configure(json.dumps({"route": {"receiver": "other"}, "receivers": [{"name": "other"}]}))
    alert = json.dumps([{"labels": {"alertname": "Some", "tenant": "acme"}}]).encode()
    headers = {"Content-Type": "application/json"}
    urllib.request.urlopen(
        urllib.request.Request(f"http://{alertmanager.at('http')}/api/v2/alerts", alert, headers), timeout=10
    )
    (held,) = alertmanager.alerts(alertname="Some")
    assert held["labels"]["tenant"] == "acme"
    assert held["receivers"] == [{"name": "other"}]
    assert alertmanager.alerts(alertname="Some", tenant="globex") == []


def test_amtool_refuses_a_configuration_without_its_receiver(alertmanager, tmp_path):
    file = tmp_path / "alertmanager.yml"
    for receivers, code in ([{"name": "a"}], 0), ([], 1):
        file.write_text(json.dumps({"route": {"receiver": "a"}, "receivers": receivers}))
        done = subprocess.run([alertmanager.home / "amtool", "check-config", file], capture_output=True, check=False)
        assert done.returncode == code
