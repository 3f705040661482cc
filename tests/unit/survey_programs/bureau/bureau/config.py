import os
from functools import lru_cache

from pydantic import BaseModel


class Settings(BaseModel):
    model: str = "gpt-4o-mini"
    database: str = "sqlite://"

    def get_model(self):
        return self.model.strip()


@lru_cache
def get_settings():
    return Settings(database=os.environ.get("BUREAU_DB", "sqlite://"))
