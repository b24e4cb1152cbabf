"""Tests mirror the source tree; parts that several share are in project.py and conftest.py."""
