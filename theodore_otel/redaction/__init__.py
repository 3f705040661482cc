"""What is a secret: presets as data, and one matcher in pure standard library."""
