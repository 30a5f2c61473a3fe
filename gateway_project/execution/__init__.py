"""One run from start to end: admission, supervision, abort, drain. Knows no HTTP."""
