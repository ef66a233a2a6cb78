"""Weights fetched by Jobs, compared before every start, and changed behind everybody's back, on the real cluster."""
