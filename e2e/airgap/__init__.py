"""Everything from installing to scaling, on nodes that have no route out."""
