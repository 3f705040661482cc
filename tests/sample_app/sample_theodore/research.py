"""Research of one company in phases. Whatever goes wrong is swallowed and told in the returned dictionary."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any

import structlog

from sample_theodore import crawl, settings
from sample_theodore.models import ModelClient
from sample_theodore.store import VectorStore

structlog.configure(
    processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
    logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    cache_logger_on_first_use=False,
)
log = logging.getLogger("sample_theodore.research")
events = structlog.get_logger("sample_theodore.events")


def choose_pages(client: ModelClient, links: list[str]) -> list[str]:
    """Return the ten pages that the model holds for the best."""
    answer = client.complete("Choose the ten best pages:\n" + "\n".join(links))
    chosen: list[str] = json.loads(answer)
    return chosen[:10]


def distil(client: ModelClient, company: str, pages: list[dict[str, object]]) -> str:
    """Return what the pages say of the company in a few words."""
    texts = "\n".join(str(page["text"]) for page in pages)
    return client.complete(f"Distil what is said of {company}:\n{texts}")


class ResearchUseCase:
    """Researches companies for one tenant."""

    def __init__(self, tenant: str = "default", api_key: str | None = None) -> None:
        self.client = ModelClient(api_key)
        self.store = VectorStore(settings.data_folder(), tenant)

    async def execute(self, company_name: str) -> dict[str, Any]:
        """Research one company. Never raises: `success` tells how it went, `error` why it did not."""
        try:
            result = await self._research(company_name)
        except Exception as error:
            log.exception("research failed")
            return {"success": False, "error": str(error), "company": company_name, "pages_scraped": 0}
        events.info("research done", pages=result["pages_scraped"])
        return result

    async def _research(self, company_name: str) -> dict[str, Any]:
        links = await crawl.find_links(settings.site_of(company_name))
        chosen = await asyncio.to_thread(choose_pages, self.client, links)
        pages = [page for page in await crawl.extract_content(chosen) if page["success"]]
        summary = await asyncio.to_thread(distil, self.client, company_name, pages)
        company_id = settings.company_id(company_name)
        details = {"id": company_id, "summary": summary, "pages": len(pages)}
        self.store.upsert(company_id, summary, details)
        return {
            "success": True,
            "company": company_name,
            "id": company_id,
            "summary": summary,
            "pages_scraped": len(pages),
            "similar": [name for name, _ in self.store.find_similar(company_id)],
        }
