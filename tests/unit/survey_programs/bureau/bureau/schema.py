from dataclasses import dataclass, field

from sqlalchemy.orm import DeclarativeBase


class Base(DeclarativeBase):
    pass


class ProfileRow(Base):
    __tablename__ = "profiles"

    def display(self):
        return f"{self.name}".title()


@dataclass
class Profile:
    name: str
    facts: list = field(default_factory=list)
    vector: list = field(default_factory=list)

    def summary(self):
        return "; ".join(self.facts[:3])
