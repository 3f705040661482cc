import asyncio
import re
from urllib.parse import urljoin

import httpx

HREF = re.compile(r'href="([^"#]+)"')


def same_host(base, link):
    return urljoin(base, link).startswith(base)


async def collect_links(website):
    async with httpx.AsyncClient(follow_redirects=True) as client:
        answer = await client.get(website)
    return sorted({urljoin(website, link) for link in HREF.findall(answer.text) if same_host(website, link)})


async def download_page(client, page_url):
    answer = await client.get(page_url, timeout=20)
    answer.raise_for_status()
    return answer.text


async def download_pages(urls):
    async with httpx.AsyncClient() as client:
        return await asyncio.gather(*(download_page(client, url) for url in urls[:8]), return_exceptions=True)
