"""Where the time of a run goes: ``python -m ci.performance`` measures one, by phase, claim and program."""
