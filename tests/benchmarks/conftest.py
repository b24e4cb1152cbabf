"""The benchmark's files are programs, not modules to look for doctests in."""

collect_ignore_glob = ["data_engine.py", "engine_*.py", "training*.py", "decoding*.py", "importing.py", "strategies.py"]
