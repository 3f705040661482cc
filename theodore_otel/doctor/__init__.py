"""What `theodore-otel doctor` looks at: one small function for each check, all of them in `checks.CHECKS`."""
