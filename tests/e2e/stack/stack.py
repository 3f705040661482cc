"""The running stack as tests use it: its servers, a client that sends to it, and the sample Theodore, observed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.stack.servers import Servers
from sample_theodore import standins
from support.collector import Client

BIN = Path(sys.executable).parent


@dataclass
class Stack:
    """One stack for all tests."""

    servers: Servers
    client: Client
    sites: standins.Standins
    folder: Path
    service: str
    """Base address of the sample service; it reports with the credential `svc-api`."""
    settings: Path
    """What Theodore's process reads."""

    def theodore(self, credential: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the sample's command line, observed, as a credential."""
        return self.run(credential, "theodore", *arguments)

    def run(self, credential: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a program under opentelemetry-instrument, as a credential."""
        return subprocess.run(
            [BIN / "opentelemetry-instrument", *command],
            env=self.environment(credential),
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def start(self, credential: str, *command: str) -> subprocess.Popen[str]:
        """Start a program under opentelemetry-instrument, as a credential; its output can be read while it runs."""
        return subprocess.Popen(
            [BIN / "opentelemetry-instrument", *command],
            env=self.environment(credential),
            stdout=subprocess.PIPE,
            text=True,
        )

    def environment(self, credential: str) -> Mapping[str, str]:
        return {
            **os.environ,
            **self.sites.environment,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "THEODORE_DATA": str(self.folder / "data"),
            "THEODORE_OTEL_CONFIG": str(self.settings),
            "THEODORE_OTEL_CREDENTIAL": f"{credential}:{self.client.tokens[credential]}",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.client.ports['http']}",
        }

    def ask(self, company: str, tenant: str, correlation: str) -> dict[str, Any]:
        """Ask the service to research a company for a tenant."""
        headers = {"X-Tenant-ID": tenant, "X-User-ID": "u-1", "X-Correlation-ID": correlation}
        url = f"{self.service}/research/{urllib.request.quote(company)}"
        request = urllib.request.Request(url, method="POST", headers=headers)
        with urllib.request.urlopen(request, timeout=120) as answer:
            return json.load(answer)
