"""Single bytes as numbers.

``in`` finds a number in bytes ten times faster than it finds bytes: of those it first asks for a number, and throws
away the error that tells that they are none. What is longer than a byte is better looked for by `find`.
"""

LF = 0x0A
CR = 0x0D
QUOTE = 0x22
BACKSLASH = 0x5C
UNDERSCORE = 0x5F
DEL = 0x7F
