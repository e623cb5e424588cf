"""Experiment: which of several ways to recommend does better on live traffic (section 5.2)."""
