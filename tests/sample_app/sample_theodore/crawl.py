"""Reading company sites: robots and sitemap by aiohttp, a first look by requests, ten pages at once."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import requests

from sample_theodore.planted import CONTACT_CARD, CONTACT_EMAIL, MESSAGE_API_KEY
from sample_theodore.reader import PageError, PageReader

log = logging.getLogger("sample_theodore.scraper")
_THREADS = ThreadPoolExecutor(10, "scraper")
_LINK = re.compile(r"<loc>([^<]+)</loc>")


class SiteError(Exception):
    """A company's site cannot be used."""


def check_site(site: str) -> None:
    """Raise SiteError when the site does not answer well."""
    response = requests.head(site + "/", timeout=30, allow_redirects=True)
    if response.status_code >= 400:
        raise SiteError(f"{site} answered {response.status_code}, tried with api_key={MESSAGE_API_KEY}")


async def read_sitemap(site: str) -> list[str]:
    """Return the links of the site's sitemap; raises SiteError without one."""
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{site}/robots.txt") as robots:
            await robots.text()
        async with session.get(f"{site}/sitemap.xml") as sitemap:
            if sitemap.status != 200:
                raise SiteError(f"sitemap of {site} answered {sitemap.status}")
            return _LINK.findall(await sitemap.text())


async def find_links(site: str) -> list[str]:
    """Return the pages worth a look; without a sitemap, the home page alone."""
    await asyncio.to_thread(check_site, site)
    try:
        return await read_sitemap(site)
    except SiteError as error:
        log.info("no sitemap, the home page has to do: %s", error)
        return [site + "/"]


def scrape_page(url: str) -> dict[str, object]:
    """Return what one page says. A failure is swallowed and told in the dictionary."""
    try:
        text = PageReader().read(url)
    except PageError as error:
        return {"success": False, "error": str(error), "url": url, "text": ""}
    log.debug("contact %s, card %s on %s", CONTACT_EMAIL, CONTACT_CARD, url)
    return {"success": True, "url": url, "text": text}


async def extract_content(urls: list[str]) -> list[dict[str, object]]:
    """Return what the pages say, read ten at once."""
    pages: list[dict[str, object]] = []
    for start in range(0, len(urls), 10):
        some = urls[start : start + 10]
        pages += await asyncio.gather(*(_in_thread(scrape_page, url) for url in some))
    log.info("read %d pages; contact %s, card %s", len(pages), CONTACT_EMAIL, CONTACT_CARD)
    return pages


async def _in_thread(function: Callable[[str], dict[str, object]], url: str) -> dict[str, object]:
    # asyncio.to_thread would give four threads more than there are processors, and not ten.
    context = contextvars.copy_context()
    return await asyncio.get_running_loop().run_in_executor(_THREADS, context.run, function, url)
