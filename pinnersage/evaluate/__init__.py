"""Evaluate: the paper's experiments (sections 3 and 5.3) on the user's own data.

log      every interest of every user, and the embeddings that they point into
cases    one user on one test day: what was known of her, and what she then did
models   from what is known of users to vectors with weights
policies from vectors to candidates
metrics  from candidates to numbers, one a case
lifts    from numbers to a table with intervals
"""
