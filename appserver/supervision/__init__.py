"""Supervision decides and touches nothing."""
