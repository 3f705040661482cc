"""What a built wheel carries, and what importing costs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

START = "instrument/bootstrap/sitecustomize.py"
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    with zipfile.ZipFile(built) as archive:
        yield archive


def test_the_wheel_carries_templates_manifest_and_lock(wheel):
    names = set(wheel.namelist())
    for wanted in (
        "theodore_otel/_data/templates/collector/collector.yaml.j2",
        "theodore_otel/_data/templates/collector/derived.yaml",
        "theodore_otel/_data/collector/manifest.yaml",
        "theodore_otel/_data/collector/go.sum",
        "theodore_otel/_data/collector/releases.yaml",
    ):
        assert wanted in names


def test_the_wheel_is_typed_and_carries_its_data_files(wheel):
    names = set(wheel.namelist())
    for wanted in ("py.typed", "config/profiles/local.yaml", "config/sample.yaml", "conventions/metrics.yaml", START):
        assert f"theodore_otel/{wanted}" in names


def test_the_wheel_carries_no_tests(wheel):
    assert not [name for name in wheel.namelist() if name.startswith("tests/") or "sample_theodore" in name]


def test_the_entry_points_are_found_by_opentelemetry_instrument(wheel):
    (text,) = [wheel.read(name).decode() for name in wheel.namelist() if name.endswith("entry_points.txt")]
    for group in ("opentelemetry_distro", "opentelemetry_configurator", "opentelemetry_propagator", "console_scripts"):
        assert f"[{group}]" in text


@pytest.mark.parametrize(
    "module",
    [
        "theodore_otel.instrument.distro",
        "theodore_otel.instrument.configurator",
        "theodore_otel.instrument.startup",
        "theodore_otel.conventions.names",
        "theodore_otel.telemetry.context",
        "theodore_otel.telemetry.process",
        "theodore_otel.telemetry.logger",
    ],
)
def test_what_runs_inside_theodore_imports_no_heavy_library(module):
    code = (
        f"import sys, {module}; print([m for m in ('pydantic', 'yaml', 'jinja2', 'click', 'rich') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_help_imports_neither_the_model_nor_templates():
    code = (
        "import sys\nfrom theodore_otel.cli import cli\ncli.main(['--help'], standalone_mode=False)\n"
        "print([m for m in ('pydantic', 'yaml', 'jinja2', 'rich', 'opentelemetry') if m in sys.modules])"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.splitlines()[-1] == "[]"


def test_importing_the_package_imports_nothing_else():
    code = (
        "import sys, theodore_otel\n"
        "print([m for m in sys.modules if m.startswith(('theodore_otel.', 'opentelemetry'))])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_every_public_name_is_there():
    import theodore_otel
    from theodore_otel import telemetry

    for name in telemetry.PUBLIC:
        assert getattr(theodore_otel, name).__name__ == name
    with pytest.raises(AttributeError):
        theodore_otel.NoSuchName  # noqa: B018


SHIPPED = ("22.3", "23.2", "24.0", "25.0")
"""The versions of pip that come with Python 3.11, 3.12 and 3.13, early and late."""


@pytest.mark.case("extras_that_do_not_resolve")
def test_the_extras_resolve_with_every_pip_that_python_ships(wheel, tmp_path):
    run = [sys.executable, "-m", "pip"]
    for version in SHIPPED:
        got = subprocess.run(
            [*run, "install", "-q", "--target", tmp_path / version, f"pip=={version}"], capture_output=True, text=True
        )
        if got.returncode:
            pytest.skip(f"no registry that has pip {version}: {got.stderr.strip().splitlines()[-1:]}")
    asked = {
        version: subprocess.Popen(
            [*run, "install", "-q", "--dry-run", "--ignore-installed", f"{wheel.filename}[prometheus,cost,fastapi]"],
            env={**os.environ, "PYTHONPATH": str(tmp_path / version)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for version in SHIPPED
    }
    said = {version: each.communicate()[1] for version, each in asked.items()}
    assert {version: said[version] for version, each in asked.items() if each.returncode} == {}


def test_packages_of_opentelemetry_that_pin_each_other_are_required_in_one_version():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [
        *project["dependencies"],
        *(each for extra in project["optional-dependencies"].values() for each in extra),
    ]
    family = [each for each in required if "opentelemetry" in each and "proto-common" not in each]
    assert len(family) > 10
    assert {each.partition("==")[2] for each in family} == {"1.45.1", "0.66b1"}
