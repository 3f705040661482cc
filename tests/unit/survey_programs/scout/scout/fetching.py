import urllib.request
from html.parser import HTMLParser


class _Texts(HTMLParser):
    def __init__(self):
        super().__init__()
        self.texts = []

    def handle_data(self, data):
        self.texts.append(data)


class Fetcher:
    def __init__(self, agent="scout/1"):
        self.agent = agent

    def page(self, url):
        request = urllib.request.Request(url, headers={"user-agent": self.agent})
        with urllib.request.urlopen(request, timeout=15) as answer:
            return self._text_of(answer.read().decode("utf-8", "replace"))

    def _text_of(self, html):
        parser = _Texts()
        parser.feed(html)
        return " ".join(parser.texts)
