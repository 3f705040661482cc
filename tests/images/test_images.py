"""The images run as the official ones do: the same users, entry points, folders and tools."""

from __future__ import annotations

import docker
import pytest

from images import make
from images.obtain import obtain
from images.recipes import images

IMAGES = images()
USERS = {
    "jaeger": "10001",
    "prometheus": "65534",
    "alertmanager": "65534",
    "elasticsearch": "1000",
    "theodore-otel": "10001",
    "theodore-sample": "10001",
}


@pytest.fixture(scope="session")
def client(stack_images):
    return docker.from_env()


@pytest.fixture(scope="session")
def inside(client):
    """Return a function that runs a command in a container of an image, that may write only in its new volumes."""
    containers, volumes = {}, []

    def start(key):
        mounts = {}
        for folder in IMAGES[key].data.get("folders", ()):
            volumes.append(client.volumes.create())
            mounts[volumes[-1].name] = {"bind": folder}
        containers[key] = client.containers.create(
            IMAGES[key].name,
            ["3600"],
            entrypoint=["sleep"],
            init=True,
            network_mode="none",
            read_only=True,
            cap_drop=["ALL"],
            tmpfs={"/tmp": "exec"},
            volumes=mounts,
        )
        containers[key].start()

    def run(key, *command):
        if key not in containers:
            start(key)
        code, said = containers[key].exec_run(list(command))
        assert code == 0, said.decode()
        return said.decode()

    yield run
    for container in containers.values():
        container.remove(force=True)
    for volume in volumes:
        volume.remove()


@pytest.fixture
def made_here(client):
    """Return what looks an image up, and skips where it is the official one, or built from the Dockerfile."""

    def look(key):
        found = client.images.get(IMAGES[key].name)
        if make.LABEL not in found.labels or len(found.attrs["RootFS"]["Layers"]) > 1:
            pytest.skip(f"{IMAGES[key].name} was pulled or built")
        return found

    return look


@pytest.mark.parametrize("key", IMAGES)
def test_an_image_has_the_entry_point_and_user_that_are_said(made_here, key):
    settings = made_here(key).attrs["Config"]
    assert (settings["Entrypoint"] or []) == IMAGES[key].data["entrypoint"]
    assert settings["Cmd"] == IMAGES[key].data["command"]
    assert settings["User"] == IMAGES[key].data["user"]


def test_the_collector_runs_though_nothing_else_is_in_its_image(client):
    said = client.containers.run(
        IMAGES["collector"].name, ["components"], remove=True, read_only=True, cap_drop=["ALL"]
    )
    assert "name: httpcheck" in said.decode()


@pytest.mark.parametrize(
    ("key", "arguments", "said"),
    [
        ("jaeger", "version", "gitVersion"),
        ("prometheus", "--help", "web.enable-otlp-receiver"),
        ("alertmanager", "--help", "--cluster.listen-address"),
        ("theodore-otel", "--version", "collector 0.142.0"),
        ("theodore-sample", "theodore status", "theodore is well"),
        ("theodore-sample", "opentelemetry-instrument --version", "opentelemetry-instrument"),
    ],
)
def test_its_program_runs(client, inside, key, arguments, said):
    entrypoint = client.images.get(IMAGES[key].name).attrs["Config"]["Entrypoint"] or []
    assert said in inside(key, *entrypoint, *arguments.split())


@pytest.mark.parametrize("key", USERS)
def test_it_runs_as_the_user_of_the_official_image(client, inside, key):
    assert inside(key, "id", "-u").strip() == USERS[key]


@pytest.mark.parametrize(
    ("key", "tools"),
    [
        ("jaeger", "wget"),
        ("prometheus", "wget promtool"),
        ("alertmanager", "wget amtool"),
        ("elasticsearch", "curl"),
        ("theodore-otel", "sleep python theodore-otel"),
        ("theodore-sample", "python theodore opentelemetry-instrument"),
    ],
)
def test_what_health_checks_and_people_call_is_there(inside, key, tools):
    found = inside(key, "sh", "-c", f"command -v {tools.replace(' ', ' && command -v ')}")
    assert len(found.split()) == len(tools.split())


@pytest.mark.parametrize("key", USERS)
def test_a_new_volume_belongs_to_the_user_that_writes_there(inside, key):
    folders = [folder for folder in IMAGES[key].data.get("folders", ()) if "/etc" not in folder]
    for folder in folders:
        inside(key, "touch", f"{folder}/written")


def test_elasticsearch_takes_settings_from_variables_with_a_dot(made_here, inside):
    made_here("elasticsearch")
    # Instead of Java: something that tells what it was called with.
    inside("elasticsearch", "sh", "-c", "cd /tmp; printf '#!/bin/sh\necho \"$@\"' >java; chmod +x java")
    settings = ["discovery.type=single-node", "cluster.name=two words", "Not.this=x"]
    path = "PATH=/tmp:/usr/local/bin:/usr/bin"
    options = "ES_JAVA_OPTS=-Xmx99m -Done=1"
    said = inside("elasticsearch", "env", path, options, *settings, "/usr/local/bin/docker-entrypoint.sh", "eswrapper")
    assert " -Xmx99m -Done=1 " in said
    settings = said.partition("9200 9300 ")[2].strip()
    assert settings.startswith("network.host=0.0.0.0 ")
    assert "cluster.name=two words" in settings
    assert "discovery.type=single-node" in settings
    assert "Not.this" not in settings


def test_no_path_of_the_machine_that_made_it_is_in_a_script_or_trace(inside):
    script = "import theodore_otel.entry as e; print(e.main.__code__.co_filename)"
    assert inside("theodore-otel", "python", "-c", script).startswith("/opt/theodore-otel/lib/python3.")
    lines = inside("theodore-otel", "head", "-n", "2", "/opt/theodore-otel/bin/theodore-otel").splitlines()
    assert lines[0] == "#!/opt/theodore-otel/bin/python"
    assert "exec" not in lines[1]


def test_nothing_is_made_again_while_nothing_has_changed(client, engine):
    # Not our own two: somebody may be changing the checkout.
    others = [image for image in IMAGES.values() if not image.own]

    def ids():
        return [client.images.get(image.name).id for image in others]

    before = ids()
    assert {obtain(image, engine, print) for image in others} == {"there"}
    assert ids() == before
