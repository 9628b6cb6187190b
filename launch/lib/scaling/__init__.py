"""Scaling studies: what launch/scaling-study is made of. Python's standard library, and matplotlib for plots where it is there.

study      what a study file says, and its points
places     how ranks are started: here, on hosts, in an allocation, on hosts in network namespaces
measuring  runs a point
records    what is measured lies in FOLDER/*.jsonl, a line a point
table      rows with speed-up, efficiency and prediction, and what must not be
plots      pictures of a table
report     the whole of a study as a page, and its part of docs/scaling.md
"""
