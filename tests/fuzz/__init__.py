"""Fuzzing with coverage as the guide (atheris), for a bounded time: `python -m tests.fuzz --seconds 60`.

`targets` says what is called with the octets that the fuzzer makes up, and what must not happen; `__main__` runs each
target in a process of its own (`guided`), because the fuzzer keeps the one in which it runs.
"""
