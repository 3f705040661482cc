from dataclasses import dataclass, field
from enum import Enum


class Status(Enum):
    COMPLETED = "completed"
    FAILED = "failed"


@dataclass
class ProfileRequest:
    firm_name: str
    website: str | None = None


@dataclass
class ProfileResult:
    status: Status
    error_message: str | None = None
    pages: int = 0


@dataclass
class CompanyVector:
    company_id: str
    values: list
    tags: list = field(default_factory=list)

    def get_display_name(self):
        return self.company_id

    def add_tag(self, tag):
        self.tags.append(tag)
