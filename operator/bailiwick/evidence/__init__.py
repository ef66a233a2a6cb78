"""Evidence: what is signed, and whether a signature counts. Pure: no cluster, no clock, no files."""
