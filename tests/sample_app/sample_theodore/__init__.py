"""A small program shaped like Theodore: it researches companies and knows nothing of how it is observed."""

__version__ = "2.0.0"
