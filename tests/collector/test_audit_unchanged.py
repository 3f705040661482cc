"""The real collector leaves audit records as they are: the hash fits for every secret and every innocent text."""

from __future__ import annotations

import json
import random

import pytest
from support.canaries import INNOCENT, canary, key_canary, key_words, kinds
from support.collector import running, wait_for

from theodore_otel.journal import audit_lazy, audit_process
from theodore_otel.journal.audit_keys import Keys
from theodore_otel.journal.audit_otlp import request
from theodore_otel.journal.audit_read import of_document, of_journal
from theodore_otel.journal.audit_verify import Keyring, delivered
from theodore_otel.telemetry.audit import audit

CANARIES = [canary(preset, example, 1) for preset, example in kinds()]
KEYS = [key_canary(word, 1) for word in key_words()]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("THEODORE_OTEL_HOME", str(tmp_path))
    for name in ("THEODORE_OTEL_CONFIG", "THEODORE_OTEL_AUDIT_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(audit_process, "_journal", None)
    monkeypatch.setattr(audit_lazy, "current", None)
    yield tmp_path
    audit_process._journal.writer.abandon()


def odd() -> list[str]:
    """Return texts that look like cards and are none, and such as steer what masks."""
    dice = random.Random(7)
    made = [
        "4111111111111112",
        "MT53MALT80640T85GOOMFS69B1LMA9H",
        "doc\x02name",
        "a\x1eb\x1fc\x05d\x07",
        "\ud800broken",
    ]
    made += ["u\x00", "é" * 5000, "z" * 200_000, "[REDACTED]", f"[HASH:{'a' * 64}]", "x@y", 'q "quoted" \\ back']
    for prefix in ("4", "51", "2221", "6011", "3530", "37", "3056", "62"):
        digits = prefix + "".join(dice.choices("0123456789", k=(15 if prefix == "37" else 16) - len(prefix)))
        groups = " ".join(digits[at : at + 4] for at in range(0, len(digits), 4))
        made += [
            digits,
            groups,
            groups.replace(" ", "-"),
            f" {digits} ",
            f"order {digits}.",
            f"{digits}\x02",
            f"-{digits}",
        ]
    return made


def write() -> int:
    """Put every text into every field, alone and beside others."""
    count = 0
    for text in (*(each.text for each in CANARIES), *map(str, INNOCENT.values()), *odd()):
        audit(
            text,
            user_id=text,
            resource=text,
            outcome=text,
            plain=text,
            quoted=f'"{text}"',
            inner={"list": [text, text], text: text},
            **{text: 1, "number": int(text) if text.strip().isascii() and text.strip().isdigit() else 0},
        )
        audit(
            "read",
            url=f"https://host/{text}",
            sentence=f"It is {text}, they said.",
            json=json.dumps({"note": text}),
        )
        count += 2
    for word, each in zip(key_words(), KEYS, strict=True):
        audit("read", **{word: each.text, "nested": {word.upper(): each.text}, "number": {word: int(each.text)}})
        count += 1
    audit("read", **INNOCENT)
    return count + 1


@pytest.mark.case("audit_card_like")
def test_every_hash_fits_what_arrives_and_no_secret_does(home, tmp_path_factory):
    count = write()
    records = list(of_journal(home / "audit"))
    assert len(records) == count
    with running(tmp_path_factory.mktemp("collector"), {"profile": "local"}, ["acme"]) as collector:
        for start in range(0, count, 100):
            body = request({"service.name": "theodore-v2"}, records[start : start + 100])
            assert collector.post("logs", body, "acme.1") == 200
        wait_for(lambda: len(collector.logs()) == count, 60, collector.said)
        arrived = collector.received("logs")
    keyring = Keyring(Keys(home / "audit" / "key").all())
    verdict = delivered(of_document(arrived), keyring, partial=False)
    assert (verdict.records, verdict.findings) == (count, [])
    everything = json.dumps(arrived)
    assert [each.core for each in (*CANARIES, *KEYS) if each.core in everything] == []
