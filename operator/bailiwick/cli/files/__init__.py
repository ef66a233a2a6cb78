"""Files that people give: manifests, where each field of theirs stands, and the chart with its values."""
