"""What must survive the process: the spool of telemetry that was not delivered, and the audit journal."""
