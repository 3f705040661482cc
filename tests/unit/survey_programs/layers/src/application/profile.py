from src.domain.ports import TextModel, VectorStore
from src.domain.values import CompanyVector, Status, ProfileRequest, ProfileResult


class ProfileCompanyUseCase:
    def __init__(self, model: TextModel, store: VectorStore, pages):
        self.model, self.store, self.pages = model, store, pages

    async def execute(self, request: ProfileRequest) -> ProfileResult:
        try:
            address = await self._do_discovery_phase(request)
            texts = await self._do_reading_phase(address)
            summary = await self._do_analysis_phase(texts)
            await self._do_keeping_phase(request, summary)
        except Exception as error:
            return ProfileResult(Status.FAILED, str(error))
        return ProfileResult(Status.COMPLETED, pages=len(texts))

    async def _do_discovery_phase(self, request):
        return request.website or f"https://{request.firm_name.lower()}.example"

    async def _do_reading_phase(self, address):
        return [await self.pages.fetch(address)]

    async def _do_analysis_phase(self, texts):
        return await self.model.generate("\n".join(texts))

    async def _do_keeping_phase(self, request, summary):
        await self.store.upsert(CompanyVector(request.firm_name, [float(len(summary))]))


class ListAlikeUseCase:
    def __init__(self, store: VectorStore):
        self.store = store

    async def execute(self, request):
        return await self.store.find_alike(request.vector, 10)
