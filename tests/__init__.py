"""Tests of Mimir. They mirror the packages; clouds/, colab/, servers/ and image/ hold stand-ins.

e2e/ and learning/ test the promises across packages.
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
"""The checkout."""
