"""`EventBatch` → partials: cumulative counts, sketches and distincts per series and bucket."""
