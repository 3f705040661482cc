"""The reference of the Python API is made from the docstrings, and holds every public name."""

from __future__ import annotations

from pathlib import Path

from theodore_otel import telemetry
from theodore_otel.render import api


def test_every_public_name_has_an_entry_with_words() -> None:
    entries = {part.partition("\n")[0]: part.partition("\n")[2] for part in api.generate().split("\n### ")[1:]}
    assert set(entries) == set(telemetry.PUBLIC)
    assert [name for name, text in entries.items() if len(text.split()) < 8] == []


def test_methods_show_their_parameters_with_defaults() -> None:
    page = api.generate()
    assert "trace_storage_operation(operation: str, storage_type: str = 'vector_storage'" in page
    assert "max_file_size_mb: int = 100" in page


def test_a_stale_page_is_told(monkeypatch, tmp_path: Path, capsys) -> None:
    monkeypatch.setattr(api, "_FOLDER", tmp_path)
    assert api.main(check=False) == 0
    assert api.main(check=True) == 0
    (tmp_path / "api.md").write_text("old")
    assert api.main(check=True) == 1
    assert "docs/api.md is stale" in capsys.readouterr().err
