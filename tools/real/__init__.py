"""Real weights on real corpora, outside the tests: `make real`."""
