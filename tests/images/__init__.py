"""Images for an engine that can pull none: those of the development stack, under the very same names."""
