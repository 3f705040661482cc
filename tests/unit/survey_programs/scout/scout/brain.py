from google import genai


class Brain:
    def __init__(self, key):
        self._genai = genai.Client(api_key=key)

    def answer(self, question):
        return self._genai.models.generate_content(model="gemini-2.5-flash", contents=question).text
