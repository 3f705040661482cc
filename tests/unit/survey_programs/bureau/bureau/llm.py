import json

from openai import AsyncOpenAI

from bureau.config import get_settings

_client = AsyncOpenAI()
PROMPT = "List the facts that these pages state about {name}."


def build_prompt(name, pages):
    return PROMPT.format(name=name) + "\n\n".join(pages)


async def _complete(prompt):
    answer = await _client.chat.completions.create(
        model=get_settings().get_model(), messages=[{"role": "user", "content": prompt}]
    )
    return answer.choices[0].message.content


async def ask_for_facts(name, pages):
    return json.loads(await _complete(build_prompt(name, pages)))


async def embed(text):
    answer = await _client.embeddings.create(model="text-embedding-3-small", input=text)
    return answer.data[0].embedding
