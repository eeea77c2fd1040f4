def write_tables(*_):
    raise SystemExit("not yet")
