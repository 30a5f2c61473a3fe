"""The tests mirror the packages; `tests/e2e` runs over a real daphne and real sockets."""
