import json
import sqlite3


class Shelf:
    def __init__(self, file):
        self._db = sqlite3.connect(file)

    def put(self, name, document):
        with self._db:
            self._db.execute("insert or replace into shelf values (?, ?)", (name, json.dumps(document)))

    def nearest(self, words, limit=3):
        rows = self._db.execute("select name, document from shelf").fetchall()
        return sorted(rows, key=lambda row: -len(words & set(row[1].split())))[:limit]
