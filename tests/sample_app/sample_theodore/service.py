"""The service. The tenant is named by X-Tenant-ID, the user by X-User-ID."""

from __future__ import annotations

import logging
import socket
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Header, HTTPException

from sample_theodore import settings
from sample_theodore.research import ResearchUseCase
from sample_theodore.store import VectorStore

log = logging.getLogger("sample_theodore.service")
app = FastAPI(title="Theodore")


@app.get("/health")
async def health() -> dict[str, str]:
    """Say that the service is well."""
    return {"status": "ok"}


@app.post("/research/{company}")
async def research(
    company: str, x_tenant_id: str = Header("default"), x_user_id: str = Header("nobody")
) -> dict[str, Any]:
    """Research one company; a failure is answered with 200 and `success: false`."""
    log.info("research asked for by %s", x_user_id)
    return await ResearchUseCase(_tenant(x_tenant_id)).execute(company)


@app.get("/companies/{company_id}")
async def company(company_id: str, x_tenant_id: str = Header("default")) -> dict[str, Any]:
    """Return a company that this tenant has researched."""
    details = VectorStore(settings.data_folder(), _tenant(x_tenant_id)).get(company_id)
    if details is None:
        raise HTTPException(404, "no such company")
    return details


def _tenant(name: str) -> str:
    if not name.replace("_", "").isalnum():
        raise HTTPException(400, "bad tenant")
    return name


def run(host: str, port: int, port_file: Path | None) -> None:
    """Serve until stopped; the address is written to `port_file` once the port is taken."""
    listener = socket.create_server((host, port))
    if port_file:
        port_file.write_text(f"http://{host}:{listener.getsockname()[1]}", encoding="utf-8")
    uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listener])
