"""The collector binary: where it comes from, what it accepts, and how it runs in the background."""

COLLECTOR_VERSION = "0.142.0"
