"""Generated documentation: the chart, commands, metrics and reasons, in Markdown."""
