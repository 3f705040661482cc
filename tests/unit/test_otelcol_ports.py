"""Addresses are checked before the collector starts, and told by key and holder when they are taken."""

import os
import socket
import subprocess
import sys

import pytest

from theodore_otel.errors import InputError
from theodore_otel.otelcol import ports, process
from theodore_otel.otelcol.ports import Listener, check_free, listener


def test_a_taken_port_is_told_with_key_address_and_holder() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(InputError) as caught:
            check_free([Listener("collector.listen.http", "127.0.0.1", port)], "my.yaml")
    message = str(caught.value)
    assert message.startswith(
        f"my.yaml: collector.listen.http: cannot listen on 127.0.0.1:{port}: port {port} is taken"
    )
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in message


def test_a_free_port_is_left_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    wanted = Listener("collector.listen.http", "127.0.0.1", port)
    check_free([wanted], "f")
    check_free([wanted], "f")
    assert ports.held_by(port) is None


def test_two_keys_with_one_address_are_told_both() -> None:
    both = [Listener("collector.listen.grpc", "127.0.0.1", 4), Listener("collector.listen.http", "127.0.0.1", 4)]
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    both = [Listener(each.key, each.host, port) for each in both]
    with pytest.raises(InputError, match=f"listen.grpc and collector.listen.http both say 127.0.0.1:{port}"):
        check_free(both, "f")


def test_an_address_of_another_machine_is_told() -> None:
    with pytest.raises(InputError, match=r"cannot listen on 192.0.2.1:4317: cannot assign requested address"):
        check_free([Listener("collector.listen.grpc", "192.0.2.1", 4317)], "f")


@pytest.mark.parametrize("port", ["0", "65536", "99999"])
def test_an_impossible_port_is_refused(port: str) -> None:
    with pytest.raises(InputError, match=f"f: k: expected a port from 1 to 65535, got {port}"):
        listener("k", f"127.0.0.1:{port}", "f")


def test_a_listener_on_every_address_is_reached_on_the_loopback_one() -> None:
    assert listener("k", "0.0.0.0:1", "f").reached_at == "127.0.0.1:1"
    assert listener("k", "[::]:1", "f").reached_at == "[::1]:1"
    assert listener("k", "127.0.0.2:1", "f").reached_at == "127.0.0.2:1"


def test_a_process_keeps_its_identity_and_loses_it_at_its_end() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    first = process.identity(child.pid)
    assert first
    assert process.identity(child.pid) == first != process.identity(os.getpid())
    assert child.stdin
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert process.identity(child.pid) is None  # a zombie has ended
    child.stdin.close()
    child.wait()
    assert process.identity(child.pid) is None
