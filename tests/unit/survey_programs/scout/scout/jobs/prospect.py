from scout.brain import Brain
from scout.fetching import Fetcher
from scout.model import Prospect, Report, State
from scout.shelf import Shelf


class ProspectJob:
    def __init__(self, fetcher: Fetcher, brain: Brain, shelf: Shelf):
        self.fetcher = fetcher
        self.brain = brain
        self.shelf = shelf

    def run(self, prospect: Prospect) -> Report:
        try:
            pages = self.locate(prospect)
            texts = self.read_site(pages)
            summary = self.summarise(prospect, texts)
            self.file(prospect, summary)
        except Exception as error:
            return Report(State.GAVE_UP, str(error))
        return Report(State.DONE)

    def locate(self, prospect):
        chosen = self.brain.answer(f"Which pages of {prospect.home} tell what {prospect.firm} makes?")
        return chosen.split()

    def read_site(self, pages):
        return [self.fetcher.page(page) for page in pages]

    def summarise(self, prospect, texts):
        return self.brain.answer(f"What does {prospect.firm} make?\n" + "\n".join(texts))

    def file(self, prospect, summary):
        self.shelf.put(prospect.firm, {"summary": summary})
