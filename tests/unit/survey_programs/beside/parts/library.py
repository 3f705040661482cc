class Library:
    def __init__(self, index):
        self.index = index

    def search_alike(self, query, limit=10):
        return self.index.query(vector=self._embed(query), top_k=limit)

    def keep_company(self, company, vector):
        self.index.upsert([(company, vector)])

    def _embed(self, text):
        return [float(len(text))]

    def get_display_name(self, match):
        return match["id"].title()
