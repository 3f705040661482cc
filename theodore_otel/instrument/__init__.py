"""What `opentelemetry-instrument` loads into Theodore's process. Importing this package imports nothing else."""
