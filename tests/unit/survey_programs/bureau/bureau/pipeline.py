import logging

from bureau import llm, web
from bureau.schema import Profile

log = logging.getLogger(__name__)


async def build_profile(organisation: str, website: str, repository) -> Profile:
    links = await web.collect_links(website)
    pages = [page for page in await web.download_pages(links) if isinstance(page, str)]
    facts = await llm.ask_for_facts(organisation, pages)
    profile = Profile(organisation, facts, await llm.embed(" ".join(facts)))
    await repository.save(profile)
    log.info("profile of %s has %d facts", organisation, len(facts))
    return profile


async def build_profiles(organisations, repository):
    return [await build_profile(name, site, repository) for name, site in organisations]
