from dataclasses import dataclass, field

from choosing import Router


@dataclass
class Fields:
    success: bool
    values: dict = field(default_factory=dict)
    error: str | None = None


def parse_answer(text):
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def distil_fields_sync(company_name, text, sources):
    try:
        return Fields(True, parse_answer(Router().ask(text)))
    except Exception as error:
        return Fields(False, {}, str(error))
