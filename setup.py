"""Which packages a wheel holds: all folders of code, and two folders of data from elsewhere.

Everything else of the build stands in pyproject.toml, which can name packages one by one or find
them, but not both.
"""

from setuptools import find_packages, setup

FOUND = find_packages(include=["mimir", "mimir.*", "launch", "launch.*"])

setup(packages=[*FOUND, "mimir.jobs", "launch.measurements"])
