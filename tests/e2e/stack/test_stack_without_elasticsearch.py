"""What waits while Elasticsearch is away and the collector is killed as well."""

from __future__ import annotations

from collections import Counter

from support.collector import wait_for


def test_what_waits_in_the_collectors_queue_outlives_its_kill(stack, composed, project):
    """Elasticsearch is away meanwhile; when both are back, each record is there, once."""
    texts = {f"outlives {number}" for number in range(10)}
    composed("stop", "elasticsearch")
    try:
        for text in sorted(texts):
            assert stack.client.send_logs([(13, f"{text}.", {})], "globex.1") == 200

        def waiting():
            files = project.files("collector", "/var/lib/theodore-otel")
            return {text for text in texts for content in files.values() if f"{text}.".encode() in content}

        wait_for(lambda: waiting() == texts, 60, waiting)
        project.container("collector").kill()
    finally:
        composed("start", "elasticsearch", "collector")

    def arrived():
        try:
            return Counter(hit["_source"]["body"]["text"] for hit in stack.servers.logs("outlives"))
        except OSError:
            return Counter()

    wait_for(lambda: arrived().keys() >= {f"{text}." for text in texts}, 180, arrived)
    assert arrived() == {f"{text}.": 1 for text in texts}
