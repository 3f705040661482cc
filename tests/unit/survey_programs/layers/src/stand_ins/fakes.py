from src.domain.ports import TextModel, VectorStore


class FakeModel(TextModel):
    async def generate(self, prompt):
        return "fake"


class FakeStore(VectorStore):
    async def upsert(self, vector):
        return None

    async def find_alike(self, vector, limit):
        return []
