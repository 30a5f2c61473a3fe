"""The cases of the Open Responses project's own compliance suite, one test each, against the model ``judge``.

They are written after its revision 92c12d9 of 2026-07-15, which has 17 cases, 7 of them over a WebSocket. Like it,
they hold every object and every event against the schemas that the project publishes, and read a stream as it does.
"""
