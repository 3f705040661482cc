"""What Elasticsearch is given before the collector writes there, put through its own client."""
