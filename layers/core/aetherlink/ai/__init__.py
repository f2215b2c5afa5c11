"""AI work routed over providers: who is asked, what it may cost, and what of an answer is believed."""
