"""Serve: the live release over HTTP, for a ranker, a web server or a person.

``app`` puts the parts together: ``live`` follows the release, ``keys`` says who may ask, ``gate``
what is too much, ``answers`` what an answer looks like, ``routes`` and ``orders`` what can be
asked for and ordered, ``page`` what a person sees, ``metrics`` what is counted. ``run`` starts it.
"""
