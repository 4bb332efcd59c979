"""Tests of appserver: `unit` mirrors the package, `simulation`, `integration`, `system`, `conformance`, `benchmarks`."""
