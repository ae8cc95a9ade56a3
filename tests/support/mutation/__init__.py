"""Mutation tests: each module is changed in a thousand small ways, and its fast tests should notice.

`make mutate PATHS=core/bets.py` runs one module, `make mutate` all in the table of `modules`. The outcome is kept, a
module at a time, in docs/reports/mutation.json.
"""
