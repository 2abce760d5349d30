"""Stands in for a package that jsonschema imports where it is installed; jsonschema goes on without it.

Its grammar takes two seconds of processor time in each of Ray's processes, and Ray gives them 15 seconds to start.
"""

raise ImportError("left out, so that the processes of Ray start soon")
