import asyncio

import aiohttp


async def list_paths(base_url, timeout=10):
    async with aiohttp.ClientSession() as session, session.get(base_url + "/sitemap.xml") as answer:
        return {"success": True, "paths": (await answer.text()).split(), "error": None}


def list_paths_sync(base_url, **options):
    return asyncio.run(list_paths(base_url, **options))


def normalise(url):
    return url.rstrip("/")
