from enum import Enum
from typing import NamedTuple


class State(Enum):
    DONE = "done"
    GAVE_UP = "gave up"


class Prospect(NamedTuple):
    firm: str
    home: str


class Report(NamedTuple):
    state: State
    reason: str = ""

    def line(self):
        return f"{self.state.value}: {self.reason}".strip(": ")
