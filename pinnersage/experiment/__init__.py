"""Experiment: which of several ways to recommend does better on live traffic (section 5.2).

    assign      from a user's id to an arm
    exposures   what was shown to whom, kept in the lake
    running     the two together, for a service or a program that recommends
    statistics  from sums over users to lifts with intervals
    analyse     from the log and the actions that followed to a report
    outcome     the report as a page

The service runs what the settings name (``[experiment]``); ``pinnersage experiment`` analyses it.
"""
