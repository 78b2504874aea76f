"""Log lines by signature: a derived column that a rollup can count by."""
