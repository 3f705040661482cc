"""Loopback stand-ins for services that cannot be run here: each keeps what it accepts and refuses another format."""
