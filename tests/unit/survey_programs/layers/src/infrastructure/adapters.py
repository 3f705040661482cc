import asyncio

import boto3
import httpx

from src.domain.ports import TextModel, VectorStore


class BedrockModel(TextModel):
    def __init__(self):
        self.client = boto3.client("bedrock-runtime")

    async def generate(self, prompt):
        return await asyncio.to_thread(self._converse, prompt)

    def _converse(self, prompt):
        answer = self.client.converse(
            modelId="vendor.model", messages=[{"role": "user", "content": [{"text": prompt}]}]
        )
        return answer["output"]["message"]["content"][0]["text"]


class IndexedStore(VectorStore):
    def __init__(self, index):
        self.index = index

    async def upsert(self, vector):
        await asyncio.to_thread(self.index.upsert, [(vector.company_id, vector.values)])

    async def find_alike(self, vector, limit):
        return await asyncio.to_thread(self.index.query, vector=vector, top_k=limit)


class PageReader:
    async def fetch(self, url):
        async with httpx.AsyncClient() as client:
            return (await client.get(url)).text


class Safe:
    def get_credential(self, name):
        return name


class TextTable:
    def format_similar(self, companies):
        return "\n".join(companies)
