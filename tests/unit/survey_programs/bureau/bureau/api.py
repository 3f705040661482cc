from fastapi import Depends, FastAPI
from pydantic import BaseModel

from bureau.db import ProfileRepository
from bureau.pipeline import build_profile

app = FastAPI()


class Wish(BaseModel):
    organisation: str
    website: str


def repository():
    return ProfileRepository(None)


def as_markdown(profile):
    return f"# {profile.name}\n" + "\n".join(f"- {fact}" for fact in profile.facts)


@app.post("/profiles")
async def create(wish: Wish, store: ProfileRepository = Depends(repository)):
    return as_markdown(await build_profile(wish.organisation, wish.website, store))


@app.get("/profiles/{name}")
async def read(name: str, store: ProfileRepository = Depends(repository)):
    return as_markdown(await store.by_name(name))
