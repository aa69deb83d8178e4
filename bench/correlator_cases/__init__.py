"""The measurements of ``bench_correlate.py``, one subject per file.

Every ``measure(scale, engines)`` returns plain numbers (dicts, lists) that go to JSON as they
are; ``tables.py`` and ``figures.py`` draw them.
"""
