"""Benchmarks: CPU per request of appserver and of other servers, side by side in one run.

`python -m tests.benchmarks` runs them; README.md beside this file says how they measure. Start reading at `measurement`;
`servers` says how each server is started, `workloads` what it has to do, `applications` what it serves, `floor` is the
bare protocol that nothing in Python can undercut.
"""
