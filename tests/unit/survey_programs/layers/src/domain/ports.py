from abc import ABC, abstractmethod


class TextModel(ABC):
    @abstractmethod
    async def generate(self, prompt): ...


class VectorStore(ABC):
    @abstractmethod
    async def upsert(self, vector): ...

    @abstractmethod
    async def find_alike(self, vector, limit): ...
