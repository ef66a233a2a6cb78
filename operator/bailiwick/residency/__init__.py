"""Pure: jurisdictions, facts, policies, rules, verdicts, territories, and the bindings that put them in force."""
