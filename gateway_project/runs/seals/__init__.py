"""Tamper evidence: what is final is sealed with the commit that made it so; `verifyruns` checks the seals."""
