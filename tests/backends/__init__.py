"""Real servers for the tests: how they are had (recipes, builders) and how they run (servers, fixtures)."""
