"""The Common Expression Language, as far as the in-tree policies of the chart speak it, for where no API server is."""
