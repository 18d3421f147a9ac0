"""Whether files decode the same everywhere: streams.py makes them, cell.py decodes them in one setting, __main__.py
goes through all settings and versions of torch, flips.py makes decoders disagree on purpose."""
