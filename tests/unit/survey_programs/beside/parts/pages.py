import asyncio
from dataclasses import dataclass, field

import aiohttp


@dataclass
class Read:
    text: str = ""
    pages: list = field(default_factory=list)


async def read_one(session, url):
    async with session.get(url) as answer:
        return await answer.text()


async def read_pages(base_url, paths, concurrent=10):
    async with aiohttp.ClientSession() as session:
        texts = await asyncio.gather(*(read_one(session, base_url + path) for path in paths))
    return Read("\n".join(texts), list(paths))


def read_pages_sync(base_url, paths):
    return asyncio.run(read_pages(base_url, paths))
