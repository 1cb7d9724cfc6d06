"""Execute: from a proposal to a verified outcome, through the gate."""
